//! What happens, told to who hears of everything.
//!
//! Invariant: whatever a snapshot shows and later changes is told behind it: a snapshot and its
//! position in the ring are one turn's. A node's health is told when its status is another one than
//! was told before, and not for other words.

use std::sync::Arc;

use hearth_api::event::{
    AgentEvent, EndEvent, EndReason, HealthEvent, LeaseChange, LeaseEvent, ServiceEvent,
    SessionChange, SessionEvent, SessionFacts,
};
use hearth_api::time::rfc3339;
use hearth_api::{AgentRow, Event, EventSnapshot, HealthStatus};
use hearth_core::{LeaseView, NodeView, ServiceId, State, Time, Want};
use hearth_lifecycle::sessions::Session;
use hyper::body::Bytes;
use tokio::time::{Duration, Instant};

use super::Owner;
use super::why::session_row;
use crate::convert;
use crate::events::{Begin, Events, Subscribe, Subscribed};

/// For so long a snapshot is told again where nothing has happened since: all come at once to the next
/// agent. Files may differ by then, and time has passed.
const SAME: Duration = Duration::from_secs(1);

/// How things were, as it goes over the wire.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// Of whom.
    project: Option<Arc<str>>,
    /// What the core had taken in.
    steps: u64,
    /// The number of the event behind it.
    next: u64,
    at: Instant,
    bytes: Bytes,
}

impl Owner {
    /// What a reader gets first, and from where it goes on.
    pub(super) fn subscribe(&mut self, ask: Subscribe) -> Subscribed {
        let Subscribe { project, begin } = ask;
        let begin = match begin {
            Begin::After(last) => self.events.after(last),
            Begin::Now | Begin::Anew(_) => begin,
        };
        let resync = match begin {
            Begin::After(last) => return Subscribed { next: last + 1, ..Subscribed::default() },
            Begin::Now => None,
            Begin::Anew(reason) => Some(reason),
        };
        // What the registry has told already is no news behind a list that has it.
        self.hear_of_sessions(None);
        if self.events.keep() {
            // What is told from now on differs from this.
            for view in self.world.views(None) {
                self.nodes.entry(view.id.clone()).or_default().health_told = Some(status(&view));
            }
            self.sessions_told = self.sessions.list().into_iter().map(|it| it.id).collect();
        }
        let resync = resync.map(Events::resync).unwrap_or_default();
        let Snapshot { bytes, next, .. } = self.snapshot(project);
        Subscribed { resync, snapshot: bytes, next }
    }

    /// The last one, where nothing has happened since; or a new one.
    fn snapshot(&mut self, project: Option<Arc<str>>) -> Snapshot {
        let (steps, next) = (self.world.steps(), self.events.next());
        let same = |last: &&Snapshot| {
            let is_young = last.at.elapsed() < SAME;
            is_young && (last.steps, last.next, &last.project) == (steps, next, &project)
        };
        if let Some(last) = self.last_snapshot.as_ref().filter(same) {
            return last.clone();
        }
        let event = Event::Snapshot(self.event_snapshot(project.as_ref()));
        let bytes = self.events.snapshot(next, &event);
        let snapshot = Snapshot { project, steps, next, at: Instant::now(), bytes };
        self.last_snapshot = Some(snapshot.clone());
        snapshot
    }

    fn event_snapshot(&mut self, project: Option<&Arc<str>>) -> EventSnapshot {
        EventSnapshot {
            agent: AgentRow {
                state: "up".to_owned(),
                pid: Some(std::process::id()),
                version: Some(self.events.version().to_owned()),
                instance: Some(self.events.instance().to_owned()),
                uptime_s: Some(self.clock.uptime().as_secs_f64()),
            },
            services: self.rows(project),
            sessions: self.session_rows(self.sessions.list()),
        }
    }

    /// A service has changed its state; its health may be another one by that.
    pub(super) fn tell_transition(&mut self, id: &ServiceId, from: State, to: State, words: &str) {
        // It may be large, and is of no use any more.
        self.last_snapshot = None;
        self.is_news = true;
        let at = self.acted_at;
        self.events.tell(Some(&id.project), || {
            Event::Service(ServiceEvent {
                project: convert::project(&id.project),
                service: id.name.to_string(),
                from,
                to,
                at: rfc3339(at),
                message: words.to_owned(),
            })
        });
        self.tell_health(id);
    }

    /// Whose health may be another one by this, although no state is. None where nobody hears of it.
    pub(super) fn touched(&self, event: &hearth_core::Event, now: Time) -> Vec<ServiceId> {
        use hearth_core::Event::{
            Adopted, Down, Emptied, Exited, Lease, Missing, Mute, Probed, Release, Restart,
            Settled, ShimLost, StartFailed, Started, Tick, Unstartable, Up,
        };
        if !self.events.is_kept() {
            return Vec::new();
        }
        match event {
            Started { id, .. }
            | StartFailed { id, .. }
            | Exited { id, .. }
            | Emptied { id, .. }
            | ShimLost { id, .. }
            | Unstartable { id, .. }
            | Missing { id, .. }
            | Mute { id, .. }
            | Probed { id, .. }
            | Adopted { id, .. } => vec![id.clone()],
            // A grace may be over.
            Tick => self.world.due(now),
            Settled => self.nodes.keys().cloned().collect(),
            // What they change has another state, too.
            Up { .. } | Lease { .. } | Release { .. } | Down { .. } | Restart { .. } => Vec::new(),
        }
    }

    /// Tells a node's health where that is not what was told last.
    pub(super) fn tell_health(&mut self, id: &ServiceId) {
        if !self.events.is_kept() {
            return;
        }
        let Some(view) = self.world.view(id) else { return };
        let Some(node) = self.nodes.get_mut(id) else { return };
        let status = status(&view);
        // What nobody has seen yet was shown as not started, if at all.
        let before = node.health_told.replace(status).unwrap_or(HealthStatus::Disabled);
        if before == status || view.display.is_none() {
            return;
        }
        let at = self.acted_at;
        self.events.tell(Some(&id.project), || {
            Event::Health(HealthEvent {
                project: convert::project(&id.project),
                name: id.name.to_string(),
                status,
                message: view.health.message,
                at: rfc3339(at),
            })
        });
    }

    /// A session has begun. That more is said of one is no event.
    pub(super) fn tell_session_began(&mut self, session: &Session) {
        // What is said of it may be in no event.
        self.last_snapshot = None;
        self.is_news = true;
        if self.events.is_kept() && self.sessions_told.insert(session.id.clone()) {
            self.tell_session(SessionChange::Started, session);
        }
    }

    /// A session has ended.
    pub(super) fn tell_session_ended(&mut self, session: &Session) {
        self.is_news = true;
        if self.sessions_told.remove(&session.id) {
            self.tell_session(SessionChange::Ended, session);
        }
    }

    fn tell_session(&self, what: SessionChange, session: &Session) {
        self.events.tell(None, || {
            let session = SessionFacts::from(session_row(session, Vec::new()));
            Event::Session(SessionEvent { what, session })
        });
    }

    /// A lease holds something, or does not any more.
    pub(super) fn tell_lease(&self, what: LeaseChange, view: &LeaseView) {
        self.events.tell(Some(&view.project), || {
            Event::Lease(LeaseEvent {
                what,
                id: view.lease.id.to_string(),
                session: view.lease.session.to_string(),
                project: convert::project(&view.project),
                services: view.services.iter().map(ToString::to_string).collect(),
            })
        });
    }

    /// All leases, where somebody may hear of what becomes of them.
    pub(super) fn leases_to_tell(&self) -> Vec<LeaseView> {
        if self.events.is_kept() { self.world.leases() } else { Vec::new() }
    }

    /// What leases have lost, although they are not given back: what they held `before`.
    pub(super) fn tell_lost(&self, before: Vec<LeaseView>) {
        for mut view in before {
            let now = self.world.lease(&view.lease.id).map_or_else(Vec::new, |now| now.services);
            view.services.retain(|name| !now.contains(name));
            if !view.services.is_empty() {
                self.tell_lease(LeaseChange::Returned, &view);
            }
        }
    }

    /// What becomes of the agent itself.
    pub(super) fn tell_agent(&self, state: &str) {
        self.events.tell(None, || {
            Event::Agent(AgentEvent {
                state: state.to_owned(),
                pid: std::process::id(),
                version: self.events.version().to_owned(),
                instance: self.events.instance().to_owned(),
            })
        });
    }

    /// The last word to everybody who listens now.
    pub(super) fn end_events(&self, reason: EndReason) {
        self.tell_agent(match reason {
            EndReason::Stopping => "stopping",
            EndReason::Replaced => "replaced",
        });
        self.events.tell(None, || Event::End(EndEvent { reason }));
    }
}

/// As `/v1/health` has it.
fn status(view: &NodeView) -> HealthStatus {
    match (view.want, view.state) {
        (Want::Down, State::Down) => HealthStatus::Disabled,
        (_, _) => view.health.status,
    }
}
