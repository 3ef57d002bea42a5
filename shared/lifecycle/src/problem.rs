//! Refusals that belong to the pair itself, as `application/problem+json` (RFC 9457).

use serde::{Deserialize, Serialize};

/// One refusal on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Always `about:blank`: the code tells the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened and why.
    pub detail: String,
    /// Stable code: `stopping`, `version`, `bad-request`.
    pub code: String,
    /// What to do next; may be empty.
    #[serde(default)]
    pub hint: String,
}

impl Problem {
    /// The content type of a refusal.
    pub const CONTENT_TYPE: &str = "application/problem+json";

    /// A refusal of that status and code.
    pub fn new(
        status: u16,
        code: &str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            kind: "about:blank".into(),
            title: code.replace('-', " "),
            status,
            detail: detail.into(),
            code: code.into(),
            hint: hint.into(),
        }
    }
}
