//! Shims that this agent did not start become its own.
//!
//! Invariant: the core hears of such a life before anything that it says, and of what the life
//! stands on before that. A start that is refused because another shim has the service is no
//! failure until that one has been asked: an agent that died in the middle of a start leaves a shim
//! that nobody has seen yet.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hearth_api::time::parse_rfc3339;
use hearth_core::{Event, ServiceId, Want};
use hearth_process::locked::{self, LockedFile};
use hearth_shim::Record;
use hearth_shim::frames::State;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

use super::nodes::{Node, Running};
use super::{ADOPTION, Owner};
use crate::capture::Capture;
use crate::execute::link::{Link, Told};
use crate::keep::{Finished, Keep};
use crate::place::Place;
use crate::{adopt, convert};

impl Owner {
    /// A shim of an earlier agent has answered: ours from here on.
    pub(super) fn answered(&mut self, state: State, link: Link) {
        let id = ServiceId::new(state.project.as_str(), state.service.as_str());
        let (project, service) = (&state.project, &state.service);
        let keep = match Keep::from_text(&state.keep) {
            Ok(keep) => keep,
            Err(reason) => {
                warn!(project, service, reason, "a shim is left alone");
                return;
            }
        };
        if self.nodes.get(&id).is_some_and(Node::has_shim) {
            // It is ours already, or a start that it will refuse is on its way.
            return;
        }
        info!(project, service, life = state.life, pid = state.shim.pid, "took over a shim");
        let mut unwanted = state.stopping;
        if let Some(refused) = self.nodes.get_mut(&id).and_then(|node| node.running.take()) {
            let view = self.world.view(&id);
            unwanted |= view.is_some_and(|view| view.want == Want::Down);
            self.put_off(&id, &refused);
        }
        for done in keep.done {
            self.finished_before(&id, done, &keep.capture);
        }
        let want = if unwanted { Want::Down } else { keep.want };
        let definition = convert::definition(&keep.service, keep.order);
        let capture = self.share(&id, keep.capture.into_owned());
        let life = state.life;
        self.ours.insert(Place::shim(&id));
        let node = self.nodes.entry(id.clone()).or_default();
        node.capture = Some(capture);
        let mut running = Running::new(life, link, node.offer(keep.service.into_owned()));
        running.told.started = state.leader.is_some();
        running.told.exited = state.exit.is_some();
        node.running = Some(running);
        self.step(Event::Adopted {
            id: id.clone(),
            definition,
            life,
            pid: state.leader.as_ref().filter(|_| state.exit.is_none()).map(|leader| leader.pid),
            exit: state.exit.as_ref().map(convert::exit),
            ready: state.ready,
            want,
            restarts: keep.restarts,
            stopping: state.stopping,
        });
        // The last change of state that anybody knows of.
        let began = state.ready_at.or(state.started_at).map(Duration::from_millis);
        let began = began.and_then(|began| SystemTime::UNIX_EPOCH.checked_add(began));
        if let Some(node) = self.nodes.get_mut(&id) {
            node.since = began.or(node.since);
        }
        self.catch_up(id, life, state);
    }

    /// The start that was refused is over, without an outcome for those who wait: what it was to
    /// start runs already.
    fn put_off(&mut self, id: &ServiceId, refused: &Running) {
        let reason = refused.refused.clone().unwrap_or_default();
        let event = Event::StartFailed { id: id.clone(), life: refused.life, reason };
        let actions = self.world.step(event, self.clock.now());
        self.acted_at = SystemTime::now();
        actions.into_iter().for_each(|action| self.act(action));
    }

    /// A oneshot on which an adopted service stands, unless something else is known of it.
    fn finished_before(&mut self, dependent: &ServiceId, done: Finished, capture: &Capture) {
        let id = ServiceId::new(dependent.project.clone(), done.service.name.as_str());
        if self.world.view(&id).is_some() {
            return;
        }
        let capture = self.share(&id, capture.clone());
        let node = self.nodes.entry(id.clone()).or_default();
        let definition = convert::definition(&done.service, done.order);
        node.offer(done.service);
        node.capture = Some(capture);
        let since = parse_rfc3339(&done.exit.at);
        let life = done.life;
        self.step(Event::Adopted {
            id: id.clone(),
            definition,
            life,
            pid: None,
            exit: Some(done.exit),
            ready: false,
            want: Want::Up,
            restarts: 0,
            stopping: false,
        });
        self.step(Event::Emptied { id: id.clone(), life });
        if let Some(node) = self.nodes.get_mut(&id) {
            node.since = since.or(node.since);
        }
    }

    /// It ended while it was asked, or does not speak. Its record tells: free, it has ended; held,
    /// it is about to (a dying shim loses its socket before its lock), or is mute.
    pub(super) fn unanswered(&mut self, record: &Path) {
        if locked::is_held(record).unwrap_or(false) {
            self.await_release(record);
            return;
        }
        // One of our own has the service by now: what becomes of its record is told by itself.
        let last = Record::read(record).ok().flatten();
        let id = last.map(|last| ServiceId::new(last.project.as_str(), last.service.as_str()));
        let node = id.as_ref().and_then(|id| self.nodes.get(id));
        if node.is_some_and(|node| node.has_shim() || !node.closing.is_empty()) {
            return;
        }
        let mut found = adopt::Found::default();
        adopt::settle(record, &self.place, &self.tell, &mut found);
        for (record, clearing) in found.dead {
            let id = ServiceId::new(record.project.as_str(), record.service.as_str());
            self.world.set_last_life(&id, record.life);
            self.nodes.entry(id).or_default().clearing = clearing;
        }
    }

    /// Looks again when the shim that does not answer has ended: a thread blocks in flock(2), which
    /// is the only way to be told.
    fn await_release(&mut self, record: &Path) {
        if !self.awaited.insert(record.to_owned()) {
            return;
        }
        let (record, tell) = (record.to_owned(), self.tell.clone());
        tokio::spawn(async move {
            let path = record.clone();
            let released = spawn_blocking(move || {
                locked::open(&path, false).and_then(LockedFile::exclusive).map(drop)
            });
            match released.await {
                Ok(Err(error)) if error.kind() != ErrorKind::NotFound => {
                    warn!(record = %record.display(), %error, "cannot wait for a shim's end");
                    return;
                }
                Ok(_) | Err(_) => {}
            }
            let _ = tell.send(Told::Released(record)).await;
        });
    }

    /// The wait is over: the record is looked at like any other.
    pub(super) fn released(&mut self, record: &Path) {
        self.awaited.remove(record);
        self.unanswered(record);
    }

    /// A record that is not of one of our shims is that of an agent that is no more.
    pub(super) fn appeared(&mut self, record: &Path) {
        let ours = record.file_stem().and_then(|stem| stem.to_str());
        if ours.is_none_or(|shim| !self.ours.contains(shim)) {
            adopt::ask(record, &self.place, &self.tell);
        }
    }

    /// A shim was refused: another one has the service, begun by an agent in its last moment.
    pub(super) fn ask_who_has_it(&mut self, id: ServiceId, life: u64) {
        adopt::ask(&self.place.record(&Place::shim(&id)), &self.place, &self.tell);
        let tell = self.tell.clone();
        tokio::spawn(async move {
            sleep(ADOPTION).await;
            let _ = tell.send(Told::Overdue { id, life }).await;
        });
    }

    /// Nobody has answered: now it is a failure.
    pub(super) fn overdue(&mut self, id: ServiceId, life: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let refused =
            node.running.take_if(|running| running.life == life && running.refused.is_some());
        let Some(refused) = refused else { return };
        let words = refused.refused.unwrap_or_default();
        let reason =
            format!("an earlier agent has started it, and its shim does not answer: {words}");
        self.step(Event::StartFailed { id: id.clone(), life, reason });
        self.begin_next(id);
    }
}
