//! Events in words, a line each.
//!
//! Kept true here: whatever a service says of itself, it is one line and steers no terminal.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use hearth_api::event::{EndReason, LeaseChange, ResyncReason, SessionChange};
use hearth_api::{AgentRow, Event, EventSnapshot};

use crate::sse::Raw;
use crate::table::{self, harmless};
use crate::{clock, drawing};

const PLAIN: &str = "\x1b[0m";

/// How events are told.
#[derive(Clone, Copy, Debug)]
pub struct Teller {
    /// In colours.
    pub color: bool,
    /// With whole paths.
    pub verbose: bool,
}

impl Teller {
    /// A line, with its newline. One of a later version that is not known is told as it is.
    pub fn line(self, raw: &Raw, event: Option<&Event>, now: SystemTime) -> String {
        let at = match event {
            Some(Event::Service(of)) => hearth_api::time::parse_rfc3339(&of.at),
            Some(Event::Health(of)) => hearth_api::time::parse_rfc3339(&of.at),
            Some(_) | None => None,
        };
        let words = match event {
            Some(event) => self.words(event),
            None => harmless(&format!("{} {}", raw.name, raw.data)),
        };
        let at = clock::time(at.unwrap_or(now)).unwrap_or_default();
        format!("{at}  {}\n", words.trim_end())
    }

    fn words(self, event: &Event) -> String {
        match event {
            Event::Snapshot(snapshot) => snapshot_in_words(snapshot),
            Event::Service(of) => {
                let name = self.name(of.project.as_deref(), &of.service);
                let to = match self.color {
                    true => format!("{}{}{PLAIN}", drawing::paint(of.to), of.to.in_word()),
                    false => of.to.in_word().to_owned(),
                };
                let words = match of.message.as_str() {
                    // `ready: ready` says nothing twice.
                    same if same == of.to.in_word() => String::new(),
                    more => harmless(more),
                };
                format!("{name}  {} -> {to}  {words}", of.from.in_word())
            }
            Event::Session(of) => {
                let session = &of.session;
                let what = match of.what {
                    SessionChange::Started => "started",
                    SessionChange::Ended => "ended",
                };
                let (name, pid) = (harmless(&session.name), session.pid);
                format!("session {} {what}: {name} (pid {pid})", session.id)
            }
            Event::Lease(of) => {
                let what = match of.what {
                    LeaseChange::Taken => "leased to",
                    LeaseChange::Returned => "given back by",
                };
                let names = of.services.iter().map(|name| self.name(of.project.as_deref(), name));
                let names = names.collect::<Vec<_>>().join(", ");
                let names = if names.is_empty() { "nothing".to_owned() } else { names };
                format!("{names}  {what} {} ({})", of.session, of.id)
            }
            Event::Health(of) => {
                let name = self.name(of.project.as_deref(), &of.name);
                let status = table::health_in_word(of.status);
                let status = match (self.color, table::paint(of.status)) {
                    (true, paint) if !paint.is_empty() => format!("{paint}{status}{PLAIN}"),
                    (_, _) => status.to_owned(),
                };
                format!("{name}  health: {status}  {}", harmless(&of.message))
            }
            Event::Agent(of) => format!("agent {} (pid {})", harmless(&of.state), of.pid),
            Event::Resync(of) => format!(
                "some events may be missing: {}",
                match of.reason {
                    ResyncReason::TooSlow => "they came faster than they were read",
                    ResyncReason::TooOld => "they are too long ago",
                    ResyncReason::OtherAgent => "another agent has come",
                    ResyncReason::Unknown => "the agent does not know the last one",
                }
            ),
            Event::End(of) => match of.reason {
                EndReason::Stopping => "the end: the agent stops".to_owned(),
                EndReason::Replaced => "the agent is replaced by another one".to_owned(),
            },
        }
    }

    /// `app/db`; of no project `db`.
    fn name(self, project: Option<&str>, name: &str) -> String {
        let project = project.map(|path| match Path::new(path).file_name() {
            Some(base) if !self.verbose => harmless(&base.to_string_lossy()),
            Some(_) | None => harmless(path),
        });
        project.map_or_else(|| harmless(name), |project| format!("{project}/{}", harmless(name)))
    }
}

/// `agent up (pid 7): 3 services (2 ready, 1 down), 1 session`.
fn snapshot_in_words(snapshot: &EventSnapshot) -> String {
    let EventSnapshot { agent: AgentRow { state, pid, .. }, services, sessions } = snapshot;
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for row in services {
        *states.entry(row.state.in_word()).or_default() += 1;
    }
    let states: Vec<String> =
        states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let states =
        if states.is_empty() { String::new() } else { format!(" ({})", states.join(", ")) };
    let pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let (services, sessions) = (count(services.len(), "service"), count(sessions.len(), "session"));
    format!("agent {}{pid}: {services}{states}, {sessions}", harmless(state))
}

fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        more => format!("{more} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        let raw = Raw { name: "x".into(), id: None, data: text.into() };
        let event = serde_json::from_str(text).ok();
        let teller = Teller { color: false, verbose: false };
        let line = teller.line(&raw, event.as_ref(), SystemTime::now());
        assert_eq!((&line[2..3], &line[5..6], &line[8..10]), (":", ":", "  "), "{line:?}");
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        line[10..].trim_end().to_owned()
    }

    #[test]
    fn each_is_one_line_in_words() {
        let service = |to: &str, message: &str| {
            format!(
                r#"{{"event":"service","data":{{"project":"/src/app","service":"db","from":"starting",
                "to":"{to}","at":"2026-01-01T10:00:00.000Z","message":"{message}"}}}}"#
            )
        };
        assert_eq!(line(&service("ready", "ready")), "app/db  starting -> ready");
        let failed = line(&service("failed", "exited\\nwith 3\\u001b[2J"));
        assert_eq!(failed, "app/db  starting -> failed  exitedwith 3");
        assert_eq!(
            line(
                r#"{"event":"session","data":{"what":"started","session":{"id":"s-1","pid":7,
                "started_at":"","kind":"shell","name":"zsh","cwd":null}}}"#
            ),
            "session s-1 started: zsh (pid 7)"
        );
        assert_eq!(
            line(
                r#"{"event":"lease","data":{"what":"returned","id":"l-1","session":"s-1",
                "project":null,"services":["a","b"]}}"#
            ),
            "a, b  given back by s-1 (l-1)"
        );
        assert_eq!(
            line(
                r#"{"event":"health","data":{"project":"/src/app","name":"db","status":"failure",
                "message":"refused","at":"2026-01-01T10:00:00.000Z"}}"#
            ),
            "app/db  health: failure  refused"
        );
        assert_eq!(
            line(
                r#"{"event":"snapshot","data":{"agent":{"state":"up","pid":7,"version":null,
                "instance":null,"uptime_s":null},"services":[],"sessions":[]}}"#
            ),
            "agent up (pid 7): no services, no sessions"
        );
        let resync = r#"{"event":"resync","data":{"reason":"other-agent"}}"#;
        assert_eq!(line(resync), "some events may be missing: another agent has come");
        assert_eq!(line("{\"a\":\"\u{9b}2J\"}"), r#"x {"a":"2J"}"#);
    }
}
