//! Why a request got no reply, or none that is of use: one enum, mapped nowhere else.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::http::Answer;
use crate::ready::{ApiRange, Ready, Version};
use crate::{Home, Problem, Record};

/// Why a request got no reply, or none that is of use.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no agent to be had: its state tells why.
    #[error("{}", in_words(.0))]
    NotReady(Box<Ready>),
    /// The two sides have no version of the API in common. Nothing was done.
    #[error(
        "the agent (version {}, API {}-{}) speaks no version of the API that we speak ({}-{})",
        agent.version, agent.api.min, agent.api.max, ours.min, ours.max
    )]
    Version {
        /// The agent.
        agent: Box<Version>,
        /// What we speak.
        ours: ApiRange,
    },
    /// The agent is newer than this command, and is not replaced by an older one. Nothing was done.
    #[error(
        "the agent (pid {}, version {}) is newer than this command ({ours}), and is not replaced by an \
         older one",
        agent.process.pid, agent.version
    )]
    Newer {
        /// Its record.
        agent: Box<Record>,
        /// Our version.
        ours: &'static str,
    },
    /// It is none that could be sent. Nothing was done.
    #[error("the request can't be sent: {why}")]
    BadRequest {
        /// What is wrong with it.
        why: String,
    },
    /// It was answered with a status that is no success, and without words of the agent's own.
    #[error("the agent answered with status {status}{}", colon(said))]
    Status {
        /// HTTP status.
        status: u16,
        /// What it said, its beginning.
        said: String,
    },
    /// An agent lives and is not replaced: none may be started from here. Nothing was done.
    #[error("the agent that lives is not replaced: {why}")]
    Forbidden {
        /// By what.
        why: String,
    },
    /// It was refused: the agent says why, and what to do.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// No whole reply within the request's own time. The agent may have done what it was asked.
    #[error("no whole reply from {} within {} ms", path.display(), after.as_millis())]
    Timeout {
        /// The socket.
        path: PathBuf,
        /// The request's time.
        after: Duration,
    },
    /// Whoever answers says what can't be understood.
    #[error("what {} answers can't be understood: {why}", path.display())]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The connection broke before the reply, and the request may not be sent again: the agent had read it,
    /// and may have done what it was asked. `ConnectionReset` and `BrokenPipe`: it had not, and nothing was
    /// done; the blocking client then asks the next agent instead, for as long as there is time.
    #[error("the connection to the agent broke before its reply: {0}")]
    Broken(#[source] io::Error),
}

impl CallError {
    /// Stable, for programs: the state's word (`down`, `spawn-failed`, ...), `version`, the code of
    /// the agent's refusal, `status` or `not-found` (404) where it gave no words, `bad-request`,
    /// `forbidden`, `timeout`, `protocol`, `broken`.
    pub fn code(&self) -> &str {
        match self {
            CallError::NotReady(ready) => ready.state.as_str(),
            CallError::Version { .. } | CallError::Newer { .. } => "version",
            CallError::BadRequest { .. } => "bad-request",
            CallError::Status { status: 404, .. } => "not-found",
            CallError::Status { .. } => "status",
            CallError::Forbidden { .. } => "forbidden",
            CallError::Refused(problem) => &problem.code,
            CallError::Timeout { .. } => "timeout",
            CallError::Protocol { .. } => "protocol",
            CallError::Broken(_) => "broken",
        }
    }

    /// What to type next; empty where there is nothing to do.
    pub fn hint(&self) -> &str {
        match self {
            CallError::NotReady(ready) => ready.hint.as_deref().unwrap_or_default(),
            CallError::Refused(problem) => &problem.hint,
            CallError::Newer { .. } => "use the newer one, or end the agent first",
            CallError::Broken(error) if was_unread(error) => "nothing was done: try again",
            CallError::Broken(_) => "it may have been done: look before you ask for it again",
            CallError::Version { .. }
            | CallError::BadRequest { .. }
            | CallError::Status { .. }
            | CallError::Forbidden { .. }
            | CallError::Timeout { .. }
            | CallError::Protocol { .. } => "",
        }
    }
}

fn colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

fn in_words(ready: &Ready) -> String {
    let state = ready.state.as_str();
    match &ready.reason {
        Some(reason) => format!("{state}: {reason}"),
        None => state.to_owned(),
    }
}

/// Whether a connection that failed with this was given up with bytes in it that its reader had not taken
/// (unix(7)): who accepts a connection that is killed, or never accepts it, resets it. A service is called with
/// whole requests alone, so that what was asked on this connection has not been done, and may be asked again.
pub(crate) fn was_unread(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// What a reply whose reading failed comes to.
pub(crate) fn unread(home: &Home, within: Option<Duration>, error: io::Error) -> CallError {
    let path = home.socket();
    match (error.kind(), within) {
        (io::ErrorKind::TimedOut, Some(after)) => CallError::Timeout { path, after },
        (io::ErrorKind::InvalidData, _) => CallError::Protocol { path, why: error.to_string() },
        (_, _) => CallError::Broken(error),
    }
}

/// Understands a whole reply. A refusal is an error with the agent's own words; what is none of its
/// own is told as the text that came.
pub(crate) fn understood<T: DeserializeOwned>(
    home: &Home,
    answer: &Answer,
) -> Result<T, CallError> {
    let protocol = |why: String| CallError::Protocol { path: home.socket(), why };
    if answer.is_success() {
        return answer.json().map_err(|error| protocol(error.to_string()));
    }
    match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) => Err(CallError::Refused(Box::new(problem))),
        Err(_) => {
            let said: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
            Err(CallError::Status { status: answer.status, said: said.trim().to_owned() })
        }
    }
}
