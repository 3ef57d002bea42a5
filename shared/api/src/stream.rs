//! The JSON lines that `up`, `restart`, `run`, `wait` and `down` answer with: a snapshot, every
//! transition in order, and one outcome.
//!
//! The outcome is the last line, and nothing but these three comes, unless the request asked for
//! more in its query: `words=true` (of all but `down`) for [`Line::Message`], and `stay=true` (of
//! `wait` alone) for a stream that goes on after its outcome until the client leaves. The outcome
//! of an agent that ends or is replaced is the last line of such a stream too.

use hearth_core::nouns::{Exit, State};
use serde::{Deserialize, Serialize};

use crate::reply::{AgentRow, ServiceRow};

/// One line of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Line {
    /// How things were at the first line.
    Snapshot {
        /// Every service that the request is about.
        services: Vec<ServiceRow>,
    },
    /// One change of state.
    Transition {
        /// Canonical path of its project.
        project: Option<String>,
        /// Name of the service.
        service: String,
        /// State before.
        from: State,
        /// State after.
        to: State,
        /// When: RFC 3339.
        at: String,
        /// Why, in words.
        message: String,
    },
    /// What is said of a service meanwhile, where that changes and its state does not: what its tests
    /// answer. Told to who asks for it, and once in a tenth of a second at most.
    Message {
        /// Canonical path of its project.
        project: Option<String>,
        /// Name of the service.
        service: String,
        /// The words.
        message: String,
    },
    /// How it ended.
    Outcome(Outcome),
}

/// In one word, how a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Result {
    /// Everything asked for is ready.
    Ready,
    /// Everything asked for is down, its trees empty.
    Down,
    /// A service failed for good.
    Failed,
    /// `--timeout` was over first (said by the CLI: deadlines are the client's).
    Timeout,
    /// Ctrl-C (said by the CLI), or another request took it down meanwhile.
    Interrupted,
    /// The agent was replaced.
    Replaced,
}

/// A service that failed for good, with what helps to find out why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// Name of the service.
    pub name: String,
    /// How its last life ended.
    pub exit: Option<Exit>,
    /// Its last lines, oldest first.
    pub log_tail: Vec<String>,
    /// What happened, in words.
    #[serde(default)]
    pub message: String,
}

/// The last line of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// In one word.
    pub result: Result,
    /// Services that failed for good.
    pub failed: Vec<Failed>,
    /// Services that were asked for and are not ready.
    pub not_ready: Vec<String>,
    /// What the caller should know besides, a sentence each; left out where there is nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How the verb got its agent; filled in by the CLI.
    pub agent: Option<OutcomeAgent>,
}

/// How a verb got its agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutcomeAgent {
    /// `up` or `started`, or why there is none.
    pub state: String,
    /// How long that took, in milliseconds.
    pub duration_ms: f64,
    /// Why it is not up.
    pub reason: Option<String>,
}

/// What `status --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The agent.
    pub agent: AgentRow,
    /// The services.
    pub services: Vec<ServiceRow>,
}
