//! The closed list of codes by which hearth refuses, each with its exit code and HTTP status.

use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, exit $exit:literal, http $http:literal;)*) => {
        /// Why something was refused or did not work. Closed: tools may match on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// As it stands on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            /// The exit code of a verb that ends with it.
            pub fn exit(self) -> u8 {
                match self { $(Code::$variant => $exit,)* }
            }

            /// The HTTP status of a reply that carries it.
            pub fn status(self) -> u16 {
                match self { $(Code::$variant => $http,)* }
            }

            /// The code that is written so.
            pub fn parse(text: &str) -> Option<Code> {
                match text { $($text => Some(Code::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// A service failed, or ended before it was ready.
    ServiceFailed = "service-failed", exit 1, http 500;
    /// A health check does not hold.
    HealthFailed = "health-failed", exit 1, http 503;
    /// Sessions hold leases on it.
    Leased = "leased", exit 1, http 409;
    /// An agent lives in this home already.
    AlreadyRunning = "already-running", exit 1, http 409;
    /// The request needs a running service.
    NotRunning = "not-running", exit 1, http 409;
    /// A fault of hearth's own.
    Internal = "internal", exit 1, http 500;
    /// The command line is wrong.
    Usage = "usage", exit 2, http 400;
    /// `hearth.toml` or `agent.toml` is faulty.
    BadConfig = "bad-config", exit 2, http 422;
    /// The request could not be understood.
    BadRequest = "bad-request", exit 2, http 400;
    /// The file or the caller may not do this.
    Forbidden = "forbidden", exit 2, http 403;
    /// No agent, and starting one is forbidden.
    Down = "down", exit 3, http 503;
    /// The agent was started and died or refused.
    SpawnFailed = "spawn-failed", exit 3, http 503;
    /// A recent failure to start is on record.
    SpawnSuppressed = "spawn-suppressed", exit 3, http 503;
    /// The agent lives and is not ready in time.
    StillStarting = "still-starting", exit 3, http 503;
    /// The agent is shutting down.
    Stopping = "stopping", exit 3, http 503;
    /// The agent lives and does not answer.
    Unresponsive = "unresponsive", exit 3, http 503;
    /// The service manager did not bring the agent up.
    ServiceNotReady = "service-not-ready", exit 3, http 503;
    /// The home or the socket may not be used.
    Blocked = "blocked", exit 3, http 503;
    /// The API ranges of the two sides do not meet.
    Version = "version", exit 3, http 426;
    /// Not done within `--timeout`.
    Timeout = "timeout", exit 4, http 504;
    /// The agent did not end within its shutdown timeout.
    ShutdownTimeout = "shutdown-timeout", exit 4, http 504;
    /// No such project, service, session or route.
    NotFound = "not-found", exit 5, http 404;
}

/// A refusal as the agent sends it: `application/problem+json` (RFC 9457) with our `code` and
/// `hint`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// Always `about:blank`: the code tells the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status once more.
    pub status: u16,
    /// What happened and why.
    pub detail: String,
    /// Which of the closed list.
    pub code: Code,
    /// What to type next; may be empty.
    #[serde(default)]
    pub hint: String,
    /// Facts for tools.
    #[serde(default)]
    pub details: Value,
}

impl Problem {
    /// A refusal with no facts beyond its words.
    pub fn new(code: Code, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".into(),
            title: code.as_str().replace('-', " "),
            status: code.status(),
            detail: detail.into(),
            code,
            hint: hint.into(),
            details: Value::Object(Default::default()),
        }
    }

    /// The same with facts for tools.
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_as_itself() {
        for &code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
