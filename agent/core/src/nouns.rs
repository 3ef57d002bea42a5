//! The nouns that the wire and the decisions share: what a service is asked for and seen as.
//!
//! They stand here, and not in `hearth-api`, because the decisions are made of them; the wire only
//! repeats them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A service's identity: its project (the canonical path of its directory) and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceId {
    /// Canonical path of the directory that holds the `hearth.toml`.
    pub project: Arc<str>,
    /// Name within the project, `[a-z0-9][a-z0-9_-]{0,62}`.
    pub name: Arc<str>,
}

impl ServiceId {
    /// Puts the two halves together.
    pub fn new(project: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { project: project.into(), name: name.into() }
    }
}

/// What was asked for. Kept apart from [`State`], which is what is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    /// It shall run.
    Up,
    /// It shall not.
    Down,
}

/// What is seen of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No process, none wanted.
    Down,
    /// Wanted, but something that it needs is not ready.
    Waiting,
    /// Its process runs (a check: it is asked) and its readiness test has not passed yet.
    Starting,
    /// It may be used.
    Ready,
    /// It was ready and its readiness test fails now. A check: it does not hold.
    Unhealthy,
    /// It ended and is started again after a pause.
    Backoff,
    /// It was told to end, and its tree is not empty yet.
    Stopping,
    /// It ended with success and is not started again (a oneshot that has run).
    Done,
    /// It will not be started again without being asked.
    Failed,
    /// Nobody can tell (cold path only; the agent never says so).
    Unknown,
}

impl State {
    /// As it is written everywhere.
    #[must_use]
    pub const fn in_word(self) -> &'static str {
        match self {
            State::Down => "down",
            State::Waiting => "waiting",
            State::Starting => "starting",
            State::Ready => "ready",
            State::Unhealthy => "unhealthy",
            State::Backoff => "backoff",
            State::Stopping => "stopping",
            State::Done => "done",
            State::Failed => "failed",
            State::Unknown => "unknown",
        }
    }
}

/// What kind of node a process makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Runs until it is stopped.
    Service,
    /// Runs once; ready when it has exited with success.
    Oneshot,
    /// Has no process: it is its readiness tests alone.
    Check,
}

/// How a life ended. Exactly one of the two is set, or neither when the shim was killed and nobody
/// saw the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code, where it exited by itself.
    pub code: Option<i32>,
    /// Name of the signal that ended it (`SIGKILL`).
    pub signal: Option<String>,
    /// When: RFC 3339 with milliseconds, UTC.
    pub at: String,
}

/// Health of a node, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It may be used.
    Success,
    /// It says itself that it is still at work.
    Loading,
    /// Not ready, inside its grace.
    Starting,
    /// It waits for what it needs.
    Waiting,
    /// It is not what it should be.
    Failure,
    /// Not wanted, or switched off.
    Disabled,
}
