//! Sessions, their leases, and who holds a service: requests and replies.
//!
//! A session is a process that needs services: a shell, an editor, a coding agent. It ends when that
//! process ends, however it does, and its leases end with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::reply::{AgentRow, HeldBy, ServiceRow};
use crate::request::Limit;

/// Body of `POST /v1/sessions`. Answered by a [`SessionRow`]: 201, or 200 where that process was a
/// session already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest {
    /// Whose session it is: the process at the other end of the connection, or an ancestor of it of
    /// the same user, else `forbidden` (403). Absent: the process at the other end. What is no pid
    /// (0, -1, 2^31) is `bad-request`.
    #[serde(default)]
    pub pid: Option<i64>,
    /// What it is, in one word: `shell`, `editor`, `agent`, `command`; absent: `process`.
    #[serde(default)]
    pub kind: Option<String>,
    /// Its name for people; absent: the name of its command.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it works; absent: the process's current directory.
    #[serde(default)]
    pub cwd: Option<String>,
}

/// One session. `DELETE /v1/sessions/ID` is answered by what it was, when its leases are given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// `s-` and a few letters and digits; never given twice.
    pub id: String,
    /// Its process.
    pub pid: u32,
    /// When it was registered: RFC 3339.
    pub started_at: String,
    /// What it is.
    pub kind: String,
    /// For people.
    pub name: String,
    /// Where it works; null where nobody knows.
    pub cwd: Option<String>,
    /// What it holds, oldest first.
    pub leases: Vec<LeaseRow>,
}

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRow {
    /// `l-` and a few letters and digits.
    pub id: String,
    /// Canonical path of its project; null: services of no project.
    pub project: Option<String>,
    /// What it holds, by name; what those need is held through them.
    pub services: Vec<String>,
}

/// Reply of `GET /v1/sessions`. With `?mine=true` only those that the caller is in: its own process
/// and its ancestors, the nearest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// Oldest first.
    pub sessions: Vec<SessionRow>,
}

/// Body of `POST /v1/leases`: these services are brought up, and stay for as long as the lease or
/// its session lasts. Answered (201) by [`LeaseReply`] at once: `GET /v1/wait` tells when they are
/// ready.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRequest {
    /// Whose; `not-found` where there is no such session.
    pub session: String,
    /// Canonical path of the project's directory. Empty: services of no project, which `run` began.
    pub project: String,
    /// Names of services, checks and groups; none means all that are enabled.
    #[serde(default)]
    pub services: Vec<String>,
    /// The environment for what is not up yet.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The umask for what is not up yet; absent: 022.
    #[serde(default)]
    pub umask: Option<u32>,
    /// Limits by name (`nofile`); absent ones are the agent's, open files as it was
    /// started with.
    #[serde(default)]
    pub limits: BTreeMap<String, Limit>,
}

/// Reply of `POST /v1/leases`, and of `DELETE /v1/leases/ID`, after which it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReply {
    /// Its name for `DELETE /v1/leases/ID`.
    pub id: String,
}

/// Reply of `GET /v1/why?project=P&service=S`: everybody because of whom a service is wanted, those
/// who hold it through others too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// Canonical path of its project; null: of none.
    pub project: Option<String>,
    /// Its name.
    pub service: String,
    /// Who holds it; empty: nobody. Never of type `dependent`: those are in `through`.
    pub held_by: Vec<Reason>,
    /// How it is, in words: what it waits for, for how long it lingers.
    pub message: String,
}

/// One who holds a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// Who.
    #[serde(flatten)]
    pub holder: HeldBy,
    /// When a session was registered: RFC 3339; null of `up`.
    pub since: Option<String>,
    /// The services between, from that which is held by name to that which needs this one; empty:
    /// this one itself is held.
    pub through: Vec<String>,
}

/// Data of the event `snapshot`, the first of `GET /v1/events`, and of what follows a `resync`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventSnapshot {
    /// The agent.
    pub agent: AgentRow,
    /// Every service that is known.
    pub services: Vec<ServiceRow>,
    /// Every session.
    pub sessions: Vec<SessionRow>,
}
