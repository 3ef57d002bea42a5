//! What sessions hold: taken, given back, and given back for those whose session has ended.
//!
//! Invariant: no lease outlives its session. The registry tells of an end after the session is in no
//! list of it any more, and a lease is decided here, by asking that list in the moment in which it is
//! taken; so either the request is refused, or the end is still to be heard of and finds the lease.
//! What an agent's death comes between is found by the next one: a lease whose session is unknown.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hearth_api::event::LeaseChange;
use hearth_core::{Action, Event, Lease, LeaseView, ServiceId};
use hearth_lifecycle::sessions::{Session, Sessions, random_name};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::{Owner, REPEATABLE};
use crate::command::{LeaseAsk, Up};
use crate::refuse::{self, Refusal};

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

/// Requests that were answered with a lease, each with that, oldest first: who asks again gets the same.
/// A request is known by its session and its own name: what another session calls so is another one,
/// and that lease would not be its own.
#[derive(Debug, Default)]
pub(super) struct Granted(VecDeque<(String, Arc<str>)>);

impl Granted {
    /// As an earlier agent had them.
    pub(super) fn put_back(&mut self, granted: Vec<(String, Arc<str>)>) {
        self.0 = granted.into();
    }

    /// For the next agent.
    pub(super) fn all(&self) -> Vec<(String, Arc<str>)> {
        self.0.iter().cloned().collect()
    }

    fn lease(&self, session: &str, request: Option<&str>) -> Option<&Arc<str>> {
        let name = name(session, request?);
        let granted = self.0.iter().find(|(known, _)| *known == name);
        granted.map(|(_, id)| id)
    }

    fn note(&mut self, session: &str, request: Option<&str>, id: &Arc<str>) {
        let Some(request) = request else { return };
        if self.0.len() >= REPEATABLE {
            self.0.pop_front();
        }
        self.0.push_back((name(session, request), id.clone()));
    }
}

/// No session's name has a space in it.
fn name(session: &str, request: &str) -> String {
    format!("{session} {request}")
}

impl Owner {
    /// `POST /v1/leases`. Errors: no such session, or what `up` refuses.
    pub(super) fn lease(&mut self, ask: LeaseAsk) -> Result<Arc<str>, Refusal> {
        let LeaseAsk { session, project, file, names, taken, request } = ask;
        self.must_live(&session)?;
        if let Some(id) = self.granted.lease(&session, request.as_deref()) {
            return Ok(id.clone());
        }
        let lease = self.new_lease(&session);
        let id = lease.id.clone();
        let up = Up {
            project: project.clone(),
            file,
            names,
            taken,
            restart: false,
            session: Some(session.clone()),
            request: None,
            words: false,
        };
        let brought = self.bring_up(up, Some(lease))?;
        self.granted.note(&session, request.as_deref(), &id);
        self.save();
        self.carry_out_and_tell(brought.actions);
        self.begin_all_next(&project);
        Ok(id)
    }

    /// `DELETE /v1/leases/ID`; false: there is none such.
    pub(super) fn give_back(&mut self, id: &Arc<str>) -> bool {
        let Some(view) = self.world.lease(id) else { return false };
        self.is_given_back(&view);
        let event = Event::Release { leases: vec![view.lease.id] };
        let actions = self.world.step(event, self.clock.now());
        self.save();
        self.carry_out_and_tell(actions);
        true
    }

    /// The event by which something is held for a session, and all that is told of it.
    pub(super) fn step_for(&mut self, lease: &Lease, event: Event) -> Vec<Action> {
        let before = self.world.lease(&lease.id);
        let actions = self.world.step(event, self.clock.now());
        let now = self.world.lease(&lease.id);
        if let Some(view) = now.filter(|view| Some(view) != before.as_ref()) {
            self.is_taken(&view);
        }
        actions
    }

    /// What the registry has told; what has come together is done together.
    pub(super) fn hear_of_sessions(&mut self, first: Option<Happened>) {
        let mut leases = Vec::new();
        let mut next = first.or_else(|| self.heard_of.try_recv().ok());
        while let Some(happened) = next {
            match happened {
                Happened::Began(session) => self.has_begun(&session),
                Happened::Ended(session) => {
                    self.has_ended(&session);
                    leases.extend(self.left_by(&session.id));
                }
            }
            next = self.heard_of.try_recv().ok();
        }
        if !leases.is_empty() {
            self.step(Event::Release { leases });
        }
    }

    /// Leases that the last agent has left, of sessions that ended while there was none, or whose end
    /// it had no time to hear of. To be called when the dead are buried: what goes by it runs then.
    pub(super) fn give_back_for_the_dead(&mut self) {
        let sessions = self.world.leases().into_iter().map(|view| view.lease.session);
        let mut sessions: BTreeSet<Arc<str>> = sessions.collect();
        sessions.retain(|session| self.sessions.get(session).is_none());
        let leases: Vec<_> = sessions.iter().flat_map(|session| self.left_by(session)).collect();
        if !leases.is_empty() {
            info!(leases = leases.len(), "sessions have ended meanwhile: their leases are over");
            self.step(Event::Release { leases });
        }
    }

    /// The leases of a session that has ended; they are about to be given back.
    fn left_by(&mut self, session: &str) -> Vec<Arc<str>> {
        let views = self.world.leases_of(session);
        views.iter().for_each(|view| self.is_given_back(view));
        views.into_iter().map(|view| view.lease.id).collect()
    }

    /// A session has begun, or was said more of: the one place for what is told of that.
    fn has_begun(&mut self, session: &Session) {
        debug!(session = %session.id, pid = session.process.pid, name = %session.name, "a session");
        self.tell_session_began(session);
    }

    /// A session has ended: the one place for what is told of that.
    fn has_ended(&mut self, session: &Session) {
        debug!(session = %session.id, pid = session.process.pid, "a session has ended");
        self.tell_session_ended(session);
    }

    /// A lease is taken, or has got more: the one place for what is told of that.
    fn is_taken(&mut self, view: &LeaseView) {
        self.store.touch();
        debug!(lease = %view.lease.id, session = %view.lease.session, "a lease is taken");
        self.tell_lease(LeaseChange::Taken, view);
    }

    /// A lease is about to be given back: the one place for what is told of that.
    fn is_given_back(&mut self, view: &LeaseView) {
        self.store.touch();
        debug!(lease = %view.lease.id, session = %view.lease.session, "a lease is given back");
        self.tell_lease(LeaseChange::Returned, view);
    }

    /// From now on ends are heard of.
    pub(super) fn watch_sessions(&mut self) {
        let sessions = self.sessions.clone();
        self.watching = Some(tokio::spawn(async move { sessions.watch().await }));
    }

    /// Until [`Owner::watch_sessions`] is called again nothing is written about them: a successor may.
    pub(super) async fn leave_sessions_alone(&mut self) {
        let Some(watching) = self.watching.take() else { return };
        watching.abort();
        if let Err(error) = watching.await
            && error.is_panic()
        {
            warn!(%error, "the watch over sessions was lost");
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
    pub(super) fn lease_for(
        &self,
        session: &Arc<str>,
        project: &Arc<str>,
        services: &BTreeSet<ServiceId>,
    ) -> Lease {
        let is_it = |view: &LeaseView| {
            view.project == *project
                && view.services.len() == services.len()
                && services.iter().all(|id| view.services.contains(&id.name))
        };
        let known = self.world.leases_of(session).into_iter().find(is_it);
        known.map_or_else(|| self.new_lease(session), |view| view.lease)
    }

    /// One with a name that no lease has.
    fn new_lease(&self, session: &Arc<str>) -> Lease {
        loop {
            let id = random_name('l');
            if self.world.lease(&id).is_none() {
                return Lease { id, session: session.clone() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_gets_its_lease_again_and_the_oldest_is_forgotten_first() {
        let mut granted = Granted::default();
        for number in 0..=REPEATABLE {
            granted.note("s", Some(&number.to_string()), &format!("l-{number}").into());
        }
        granted.note("s", None, &"l-x".into());
        assert_eq!(granted.all().len(), REPEATABLE);
        assert_eq!(granted.lease("s", Some("1")).map(|id| &**id), Some("l-1"));
        assert_eq!((granted.lease("s", Some("0")), granted.lease("s", None)), (None, None));
    }

    #[test]
    fn a_request_of_another_session_is_another_one() {
        let mut granted = Granted::default();
        granted.note("s-a", Some("1"), &"l-a".into());
        assert_eq!(granted.lease("s-b", Some("1")), None);
        granted.note("s-b", Some("1"), &"l-b".into());
        assert_eq!(granted.lease("s-a", Some("1")).map(|id| &**id), Some("l-a"));
        assert_eq!(granted.lease("s-b", Some("1")).map(|id| &**id), Some("l-b"));
    }
}
