//! What sessions hold: taken, given back, and given back for those whose session has ended.
//!
//! Invariant: no lease outlives its session. The registry tells of an end after the session is in no
//! list of it any more, and a lease is decided here, by asking that list in the moment in which it is
//! taken; so either the request is refused, or the end is still to be heard of and finds the lease.
//! What an agent's death comes between is found by the next one: a lease whose session is unknown.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use hearth_core::{Action, Definition, Event, Lease, LeaseView, ServiceId, Want, World};
use hearth_lifecycle::sessions::{Session, Sessions};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::{Owner, REPEATABLE};
use crate::command::{LeaseAsk, Up};
use crate::refuse::{self, Refusal};

type Definitions = BTreeMap<Arc<str>, Definition>;

/// What the registry tells.
#[derive(Debug)]
pub(super) enum Happened {
    /// One is new, or more was said of it.
    Began(Session),
    /// One is over.
    Ended(Session),
}

/// Where the registry tells it. Unbounded, for its hooks may not wait; each session is in it twice at
/// most, but for what is said of it anew.
pub(super) fn hear_of(sessions: &Sessions) -> mpsc::UnboundedReceiver<Happened> {
    let (tell, heard) = mpsc::unbounded_channel();
    let began = tell.clone();
    let gone = |_| "the agent is leaving".to_owned();
    sessions.on_start("leases", move |session| {
        began.send(Happened::Began(session.clone())).map_err(gone)
    });
    sessions
        .on_end("leases", move |session| tell.send(Happened::Ended(session.clone())).map_err(gone));
    heard
}

/// Whose leases there are. The core has them; this tells, without a look at each, which are those of
/// one session.
#[derive(Debug, Default)]
pub(super) struct Leases {
    of: HashMap<Arc<str>, HashSet<Arc<str>>>,
    whose: HashMap<Arc<str>, Arc<str>>,
    /// Ids of requests, each with the lease that it was answered with, oldest first.
    granted: VecDeque<(String, Arc<str>)>,
}

impl Leases {
    /// As an earlier agent had them.
    pub(super) fn put_back(&mut self, world: &World, granted: Vec<(String, Arc<str>)>) {
        world.leases().into_iter().for_each(|view| self.add(&view.lease));
        self.granted = granted.into();
    }

    /// For the next agent.
    pub(super) fn granted(&self) -> Vec<(String, Arc<str>)> {
        self.granted.iter().cloned().collect()
    }

    /// Whether this session has one.
    pub(super) fn has_any(&self, session: &str) -> bool {
        self.of.contains_key(session)
    }

    fn add(&mut self, lease: &Lease) {
        self.whose.insert(lease.id.clone(), lease.session.clone());
        self.of.entry(lease.session.clone()).or_default().insert(lease.id.clone());
    }

    fn remove(&mut self, id: &Arc<str>) -> Option<Arc<str>> {
        let session = self.whose.remove(id)?;
        if let Some(of) = self.of.get_mut(&session) {
            of.remove(id);
            if of.is_empty() {
                self.of.remove(&session);
            }
        }
        Some(session)
    }

    fn remove_all_of(&mut self, session: &str) -> Vec<Arc<str>> {
        let ids: Vec<_> = self.of.remove(session).into_iter().flatten().collect();
        ids.iter().for_each(|id| drop(self.whose.remove(id)));
        ids
    }

    /// A name that no lease has.
    fn new_id(&self) -> Arc<str> {
        loop {
            let id: Arc<str> = random_id().into();
            if !self.whose.contains_key(&id) {
                return id;
            }
        }
    }

    fn grant(&mut self, request: Option<String>, id: &Arc<str>) {
        let Some(request) = request else { return };
        if self.granted.len() >= REPEATABLE {
            self.granted.pop_front();
        }
        self.granted.push_back((request, id.clone()));
    }
}

/// `l-` and six of 32 letters and digits.
fn random_id() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; 6];
    // Refused only where a sandbox forbids the call: what is known already is tried again.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    let letters = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    std::iter::once('l').chain(['-']).chain(letters).collect()
}

impl Owner {
    /// `POST /v1/leases`. Errors: no such session, or what `up` refuses.
    pub(super) fn lease(&mut self, ask: LeaseAsk) -> Result<Arc<str>, Refusal> {
        let LeaseAsk { session, project, file, names, taken, request } = ask;
        self.must_live(&session)?;
        let granted = self.leases.granted.iter().find(|(known, _)| Some(known) == request.as_ref());
        if let Some((_, id)) = granted {
            return Ok(id.clone());
        }
        let id = self.leases.new_id();
        let lease = Lease { id: id.clone(), session: session.clone() };
        let up = Up {
            project: project.clone(),
            file,
            names,
            taken,
            restart: false,
            session: Some(session),
            request: None,
            words: false,
        };
        let brought = self.bring_up(up, Some(lease))?;
        self.leases.grant(request, &id);
        self.save();
        self.carry_out_and_tell(brought.actions);
        self.begin_all_next(&project);
        Ok(id)
    }

    /// `DELETE /v1/leases/ID`; false: there is none such.
    pub(super) fn give_back(&mut self, id: &Arc<str>) -> bool {
        let Some(session) = self.leases.remove(id) else { return false };
        let lease = Lease { id: id.clone(), session };
        self.was_given_back(&lease);
        let event = Event::Release { leases: vec![lease.id] };
        let actions = self.world.step(event, self.clock.now());
        self.save();
        self.carry_out_and_tell(actions);
        true
    }

    /// Takes a lease: the one way.
    pub(super) fn lease_out(
        &mut self,
        lease: Lease,
        project: Arc<str>,
        definitions: Definitions,
        targets: Vec<Arc<str>>,
    ) -> Vec<Action> {
        let event = Event::Lease { lease: lease.clone(), project, definitions, targets };
        let actions = self.world.step(event, self.clock.now());
        self.leases.add(&lease);
        self.was_taken(&lease);
        actions
    }

    /// `restart` for a session: what is down is leased to it, what runs begins a new life and is held
    /// by whom it was.
    pub(super) fn restart_for(
        &mut self,
        session: &Arc<str>,
        project: Arc<str>,
        definitions: Definitions,
        chosen: &BTreeSet<ServiceId>,
    ) -> Vec<Action> {
        let (mut down, mut anew) = (BTreeSet::new(), Vec::new());
        for id in chosen {
            let view = self.world.view(id);
            let wanted = view.as_ref().is_some_and(|view| view.want == Want::Up);
            // What lingers runs, and is held by nobody.
            if view.is_none_or(|view| !wanted || view.lingers_until.is_some()) {
                down.insert(id.clone());
            }
            if wanted {
                anew.push(id.name.clone());
            }
        }
        let mut actions = Vec::new();
        if !down.is_empty() {
            let lease = self.lease_for(session, &down);
            let targets = down.into_iter().map(|id| id.name).collect();
            actions = self.lease_out(lease, project.clone(), definitions.clone(), targets);
        }
        // No names would mean all.
        if !anew.is_empty() {
            let event = Event::Restart { project, definitions, targets: anew };
            actions.extend(self.world.step(event, self.clock.now()));
        }
        actions
    }

    /// A lease was taken, or got more: the one place for what is told of that.
    fn was_taken(&mut self, lease: &Lease) {
        self.store.touch();
        debug!(lease = %lease.id, session = %lease.session, "a lease is taken");
    }

    /// A lease is about to be given back: the one place for what is told of that.
    fn was_given_back(&mut self, lease: &Lease) {
        self.store.touch();
        debug!(lease = %lease.id, session = %lease.session, "a lease is given back");
    }

    /// What the registry has told; what has come together is done together.
    pub(super) fn hear_of_sessions(&mut self, first: Option<Happened>) {
        let mut leases = Vec::new();
        let mut next = first.or_else(|| self.heard_of.try_recv().ok());
        while let Some(happened) = next {
            match happened {
                Happened::Began(session) => self.session_began(&session),
                Happened::Ended(session) => leases.extend(self.session_ended(&session)),
            }
            next = self.heard_of.try_recv().ok();
        }
        if !leases.is_empty() {
            self.step(Event::Release { leases });
        }
    }

    fn session_began(&mut self, session: &Session) {
        debug!(session = %session.id, pid = session.process.pid, name = %session.name, "a session");
    }

    /// What it leaves.
    fn session_ended(&mut self, session: &Session) -> Vec<Arc<str>> {
        debug!(session = %session.id, pid = session.process.pid, "a session has ended");
        let ids = self.leases.remove_all_of(&session.id);
        for id in &ids {
            let lease = Lease { id: id.clone(), session: session.id.clone() };
            self.was_given_back(&lease);
        }
        ids
    }

    /// Leases that the last agent has left, of sessions that ended while there was none, or whose end
    /// it had no time to hear of. To be called when the dead are buried: what goes by it runs then.
    pub(super) fn give_back_for_the_dead(&mut self) {
        let unknown = self.leases.of.keys().filter(|session| self.sessions.get(session).is_none());
        let unknown: Vec<Arc<str>> = unknown.cloned().collect();
        let mut leases = Vec::new();
        for session in unknown {
            for id in self.leases.remove_all_of(&session) {
                let lease = Lease { id: id.clone(), session: session.clone() };
                self.was_given_back(&lease);
                leases.push(id);
            }
        }
        if !leases.is_empty() {
            info!(leases = leases.len(), "sessions have ended meanwhile: their leases are over");
            self.step(Event::Release { leases });
        }
    }

    /// From now on ends are heard of.
    pub(super) fn watch_sessions(&mut self) {
        let sessions = self.sessions.clone();
        self.watching = Some(tokio::spawn(async move { sessions.watch().await }));
    }

    /// Until [`Owner::watch_sessions`] is called again nothing is written about them: a successor may.
    pub(super) async fn leave_sessions_alone(&mut self) {
        if let Some(watching) = self.watching.take() {
            watching.abort();
            if let Err(error) = watching.await
                && error.is_panic()
            {
                warn!(%error, "the watch over sessions was lost");
            }
        }
    }

    /// Errors: `not-found`.
    pub(super) fn must_live(&self, session: &str) -> Result<(), Refusal> {
        match self.sessions.get(session) {
            Some(_) => Ok(()),
            None => Err(refuse::no_such_session(session)),
        }
    }

    /// The lease that an `up` goes by: one of this session with exactly these services, so that it can
    /// be repeated, or a new one.
    pub(super) fn lease_for(&self, session: &Arc<str>, services: &BTreeSet<ServiceId>) -> Lease {
        let known = self.leases_of(session).into_iter().find(|view| {
            view.services.len() == services.len()
                && services
                    .iter()
                    .all(|id| id.project == view.project && view.services.contains(&id.name))
        });
        match known {
            Some(view) if !services.is_empty() => view.lease,
            Some(_) | None => Lease { id: self.leases.new_id(), session: session.clone() },
        }
    }

    fn leases_of(&self, session: &Arc<str>) -> Vec<LeaseView> {
        if !self.leases.has_any(session) {
            return Vec::new();
        }
        let mut all = self.world.leases();
        all.retain(|view| view.lease.session == *session);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(id: &str, session: &str) -> Lease {
        Lease { id: id.into(), session: session.into() }
    }

    #[test]
    fn a_session_s_end_gives_back_its_own_and_nobody_else_s() {
        let mut leases = Leases::default();
        for (id, session) in [("l-1", "a"), ("l-2", "b"), ("l-3", "a")] {
            leases.add(&lease(id, session));
        }
        assert_eq!(leases.remove(&"l-3".into()).as_deref(), Some("a"));
        assert_eq!(leases.remove(&"l-3".into()), None);
        assert_eq!(leases.remove_all_of("a"), ["l-1".into()]);
        assert!(leases.remove_all_of("a").is_empty());
        assert_eq!(leases.remove(&"l-2".into()).as_deref(), Some("b"));
        assert!(leases.of.is_empty() && leases.whose.is_empty(), "{leases:?}");
    }

    #[test]
    fn names_are_of_six_and_requests_are_forgotten_oldest_first() {
        let mut leases = Leases::default();
        let id = leases.new_id();
        assert_eq!(id.len(), 8);
        let of_the_alphabet = |c: char| c.is_ascii_lowercase() || ('2'..='7').contains(&c);
        assert!(id.strip_prefix("l-").unwrap().chars().all(of_the_alphabet), "{id}");
        for number in 0..=REPEATABLE {
            leases.grant(Some(number.to_string()), &id);
        }
        leases.grant(None, &id);
        let granted = leases.granted();
        assert_eq!((granted.len(), granted[0].0.as_str()), (REPEATABLE, "1"));
    }
}
