//! What the agent answers to a question about how things are. Unknown figures are null, never
//! invented.

use std::collections::BTreeMap;

use hearth_core::nouns::{Exit, HealthStatus, Kind, State, Want};
use serde::{Deserialize, Serialize};

/// The agent's own row in `status --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentRow {
    /// State of the agent: `up`, `started`, or why there is none.
    pub state: String,
    /// Its pid, where one lives.
    pub pid: Option<u32>,
    /// Its version.
    pub version: Option<String>,
    /// Its instance: another one for each start.
    pub instance: Option<String>,
    /// Seconds since it started.
    pub uptime_s: Option<f64>,
}

/// Who holds a service up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum HeldBy {
    /// Somebody typed `up`.
    Up,
    /// A session leased it.
    Lease {
        /// The session's id.
        session: String,
        /// Its process.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// A service that is up needs it.
    Dependent {
        /// Its name.
        service: String,
    },
}

/// Health of a node in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Which of the six.
    pub status: HealthStatus,
    /// In words; may be empty.
    pub message: String,
}

/// One service, as `GET /v1/services` and `status --json` show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceRow {
    /// Canonical path of its project.
    pub project: Option<String>,
    /// Its name.
    pub name: String,
    /// Service or oneshot.
    pub kind: Kind,
    /// What was asked for; null on the cold path.
    pub want: Option<Want>,
    /// What is seen.
    pub state: State,
    /// The leader's pid, while it runs.
    pub pid: Option<u32>,
    /// When the state last changed: RFC 3339.
    pub since: Option<String>,
    /// Automatic restarts since want went up; null on the cold path.
    pub restarts: Option<u32>,
    /// How the last finished life ended.
    pub exit: Option<Exit>,
    /// For people; null on the cold path.
    pub health: Option<Health>,
    /// Where it listens, as far as the file tells.
    pub ports: Vec<u16>,
    /// Of the whole tree, mean since it was last asked.
    pub cpu_percent: Option<f64>,
    /// Of the whole tree.
    pub memory_bytes: Option<u64>,
    /// The file differs from what runs; null where nobody can tell.
    pub changed: Option<bool>,
    /// It is up again when an agent starts after a boot; null where nobody can tell.
    #[serde(default)]
    pub boot: Option<bool>,
    /// Who holds it up.
    pub held_by: Vec<HeldBy>,
}

/// Reply of `GET /v1/services`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Services {
    /// In the order of the file, project by project.
    pub services: Vec<ServiceRow>,
}

/// Reply of `POST /v1/enable`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enabled {
    /// Those that are enabled, or disabled, by this; groups taken apart.
    pub services: Vec<String>,
    /// How many services of the home are enabled now, whatever their project.
    pub left: usize,
}

/// One health check of `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Which of the six.
    pub status: HealthStatus,
    /// Success or disabled.
    pub healthy: bool,
    /// In words.
    pub message: String,
    /// When it was found so: RFC 3339.
    pub at: String,
}

/// Reply of `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthReport {
    /// Every check is healthy.
    pub healthy: bool,
    /// Seconds since the agent started.
    pub uptime_s: f64,
    /// By name: `agent`, `boot` and `home`, the agent's own, and the display names of the nodes.
    pub checks: BTreeMap<String, Check>,
}

/// One line of `GET /v1/logs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written: RFC 3339; null where the index does not tell.
    pub at: Option<String>,
    /// Canonical path of the project.
    pub project: Option<String>,
    /// The service.
    pub service: String,
    /// Which run of it.
    pub life: Option<u64>,
    /// `stdout` or `stderr`.
    pub stream: Option<String>,
    /// Without its newline; bad UTF-8 as U+FFFD.
    pub line: String,
}
