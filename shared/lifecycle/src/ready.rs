//! What a verb learns when it asks for an agent: one of ten states, each with its reason.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// How it stands with the agent. The words are part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// An agent answered.
    Up,
    /// None lived; our child became the agent and answered.
    Started,
    /// None lives, and starting one is forbidden.
    Down,
    /// We started one, and it died or refused.
    SpawnFailed,
    /// A recent failure is on record: no try was made.
    SpawnSuppressed,
    /// Alive, and not ready in time.
    StillStarting,
    /// Alive, and shutting down beyond the deadline.
    Stopping,
    /// Alive and past starting, and it does not answer.
    Unresponsive,
    /// A service manager is in charge and did not bring it up.
    ServiceNotReady,
    /// The home or the socket may not be used.
    Blocked,
}

impl State {
    /// As it stands in JSON and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Started => "started",
            State::Down => "down",
            State::SpawnFailed => "spawn-failed",
            State::SpawnSuppressed => "spawn-suppressed",
            State::StillStarting => "still-starting",
            State::Stopping => "stopping",
            State::Unresponsive => "unresponsive",
            State::ServiceNotReady => "service-not-ready",
            State::Blocked => "blocked",
        }
    }

    /// Whether the agent may be used.
    pub fn is_ready(self) -> bool {
        matches!(self, State::Up | State::Started)
    }
}

/// What the agent says of itself (`GET /v1/version`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The app's name.
    pub name: String,
    /// Version of its build.
    pub version: String,
    /// Which versions of the API it speaks.
    pub api: ApiRange,
    /// Another one for each start.
    pub instance: String,
    /// Its pid.
    pub pid: u32,
    /// When it started: RFC 3339.
    pub started_at: String,
    /// The file that it executes, which the head of the answer tells; `None` where it does not.
    #[serde(skip)]
    pub executable: Option<PathBuf>,
}

/// Versions of the API, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiRange {
    /// Oldest.
    pub min: u32,
    /// Newest.
    pub max: u32,
}

impl ApiRange {
    /// Whether the two sides have a version in common.
    pub fn meets(self, other: ApiRange) -> bool {
        self.min <= other.max && other.min <= self.max
    }
}

/// The answer to "is there an agent?".
#[derive(Clone, Debug)]
pub struct Ready {
    /// How it stands.
    pub state: State,
    /// How long it took to find out.
    pub duration: Duration,
    /// Why it is not ready; `None` for up and started.
    pub reason: Option<String>,
    /// What to type next; `None` where there is nothing to do.
    pub hint: Option<String>,
    /// Spawn-suppressed: when the next try is due.
    pub retry_at: Option<SystemTime>,
    /// Who answered.
    pub version: Option<Version>,
    /// The agent's log.
    pub log: PathBuf,
}
