//! Events: what `GET /v1/events` tells, as server-sent events (the HTML standard, 9.2).
//!
//! The first is a [`Event::Snapshot`], then every change comes in order. Each has an `id`,
//! `INSTANCE:SEQ`; who comes back with `Last-Event-ID` goes on behind it. Where that can't be (it is
//! of another agent, or too long ago) comes [`Event::Resync`], the one event without an id, and then a
//! snapshot. The last word is [`Event::End`]; a stream that ends without it was cut off.

use hearth_core::nouns::{HealthStatus, State};
use serde::{Deserialize, Serialize};

use crate::session::{EventSnapshot, SessionRow};

/// One event: its name and its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "lowercase")]
pub enum Event {
    /// How everything is.
    Snapshot(EventSnapshot),
    /// A service changed its state.
    Service(ServiceEvent),
    /// A session began or ended.
    Session(SessionEvent),
    /// A lease was taken or given back.
    Lease(LeaseEvent),
    /// The health of a node is another one.
    Health(HealthEvent),
    /// The agent goes, or stays after all.
    Agent(AgentEvent),
    /// What came after the last event can't be told any more; a snapshot follows.
    Resync(ResyncEvent),
    /// The last word.
    End(EndEvent),
}

/// Data of `service`: the same as a line of type `transition`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceEvent {
    /// Canonical path of its project; null: of none.
    pub project: Option<String>,
    /// Its name.
    pub service: String,
    /// State before.
    pub from: State,
    /// State after.
    pub to: State,
    /// When: RFC 3339.
    pub at: String,
    /// Why, in words.
    pub message: String,
}

/// Data of `session`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionEvent {
    /// What became of it.
    pub what: SessionChange,
    /// Which.
    pub session: SessionFacts,
}

/// What becomes of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionChange {
    /// It was registered.
    Started,
    /// Its process has ended, or it was ended by request.
    Ended,
}

/// A session as events tell it: its leases have events of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFacts {
    /// Its id.
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
}

impl From<SessionRow> for SessionFacts {
    fn from(row: SessionRow) -> Self {
        let SessionRow { id, pid, started_at, kind, name, cwd, leases: _ } = row;
        Self { id, pid, started_at, kind, name, cwd }
    }
}

/// Data of `lease`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeaseEvent {
    /// What became of it.
    pub what: LeaseChange,
    /// The lease's id.
    pub id: String,
    /// Whose it is, or was: the session's id.
    pub session: String,
    /// Canonical path of its project; null: services of none.
    pub project: Option<String>,
    /// Taken: all that it holds now. Returned: what it does not hold any more; it may go on with
    /// others that it holds.
    pub services: Vec<String>,
}

/// What becomes of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseChange {
    /// It holds these.
    Taken,
    /// It does not hold these any more.
    Returned,
}

/// Data of `health`: of a node, service or check, that is shown in health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthEvent {
    /// Canonical path of its project; null: of none.
    pub project: Option<String>,
    /// Its name.
    pub name: String,
    /// How it is now.
    pub status: HealthStatus,
    /// In words.
    pub message: String,
    /// When: RFC 3339.
    pub at: String,
}

/// Data of `agent`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentEvent {
    /// `stopping`; `replaced`; or `up`, where another one was to take its place and could not.
    pub state: String,
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Which agent, as in the ids of its events.
    pub instance: String,
}

/// Data of `resync`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResyncEvent {
    /// Why.
    pub reason: ResyncReason,
}

/// Why what is missing can't be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResyncReason {
    /// The reader was so slow that what it has not read yet is not kept any more.
    TooSlow,
    /// `Last-Event-ID` is so long ago that what followed is not kept any more.
    TooOld,
    /// `Last-Event-ID` is of another agent: the one before this one, perhaps.
    OtherAgent,
    /// `Last-Event-ID` is none that this agent has ever given.
    Unknown,
}

/// Data of `end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndEvent {
    /// Why.
    pub reason: EndReason,
}

/// Why a stream of events ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// The agent stops.
    Stopping,
    /// Another agent takes its place: who connects again finds that one.
    Replaced,
}

impl Event {
    /// Its name: the field `event`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Snapshot(_) => "snapshot",
            Self::Service(_) => "service",
            Self::Session(_) => "session",
            Self::Lease(_) => "lease",
            Self::Health(_) => "health",
            Self::Agent(_) => "agent",
            Self::Resync(_) => "resync",
            Self::End(_) => "end",
        }
    }

    /// Its data, as JSON on one line: the field `data`.
    ///
    /// Errors: none that is known; what it consists of can be written.
    pub fn data(&self) -> serde_json::Result<String> {
        match self {
            Self::Snapshot(data) => serde_json::to_string(data),
            Self::Service(data) => serde_json::to_string(data),
            Self::Session(data) => serde_json::to_string(data),
            Self::Lease(data) => serde_json::to_string(data),
            Self::Health(data) => serde_json::to_string(data),
            Self::Agent(data) => serde_json::to_string(data),
            Self::Resync(data) => serde_json::to_string(data),
            Self::End(data) => serde_json::to_string(data),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_data_are_what_one_line_of_json_has() {
        let event = Event::Resync(ResyncEvent { reason: ResyncReason::TooSlow });
        let data = event.data().unwrap();
        assert_eq!(data, r#"{"reason":"too-slow"}"#);
        let line = format!(r#"{{"event":"{}","id":"x:1","data":{data}}}"#, event.name());
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }

    #[test]
    fn a_newline_in_words_is_none_in_the_data() {
        let event = Event::Health(HealthEvent {
            project: None,
            name: "db".into(),
            status: HealthStatus::Failure,
            message: "one\r\ntwo".into(),
            at: String::new(),
        });
        let data = event.data().unwrap();
        assert!(!data.contains(['\n', '\r']), "{data}");
    }
}
