//! Refusals that belong to the pair itself, as `application/problem+json` (RFC 9457).

use serde::{Deserialize, Serialize};

/// Code of the refusal of an agent that is shutting down: who is told so comes again.
pub(crate) const STOPPING: &str = "stopping";

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
    /// Stable code. Of the pair itself: `stopping`, `version`, `bad-request`, `forbidden`, `internal`,
    /// and where a manager listens for an agent that may not serve, `spawn-failed` and `already-running`.
    /// Others are the app's.
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
