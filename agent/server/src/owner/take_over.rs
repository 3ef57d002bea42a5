//! Shims that this agent did not start become its own.
//!
//! Invariant: the core hears of such a life before anything that it says, and of what the life
//! stands on before that. A start that is refused because another shim has the service is no
//! failure until that one has been asked: an agent that died in the middle of a start leaves a shim
//! that nobody has seen yet.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use hearth_api::time::parse_rfc3339;
use hearth_config::Service;
use hearth_core::{Definition, Event, ServiceId, Want};
use hearth_process::locked::{self, LockedFile};
use hearth_shim::Record;
use hearth_shim::frames::{State, ToShim};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

use super::nodes::{Node, Running};
use super::{ADOPTION, Owner};
use crate::bundle::{Bundle, Held};
use crate::execute::link::{Link, Told};
use crate::execute::spawn;
use crate::keep::{Finished, Keep};
use crate::place::Place;
use crate::{adopt, convert};

impl Owner {
    /// A shim of an earlier agent has answered: ours from here on.
    pub(super) fn answered(
        &mut self,
        state: State,
        link: Link,
        bundle: Option<Box<(Bundle, Held)>>,
    ) {
        let id = ServiceId::new(state.project.as_str(), state.service.as_str());
        let (project, service, life) = (&state.project, &state.service, state.life);
        if let Some(bundle) = bundle {
            self.take_bundle(&id.project, bundle.0, bundle.1);
        }
        if self.nodes.get(&id).is_some_and(Node::has_shim) {
            // It is ours already, or a start that it will refuse is on its way.
            return;
        }
        self.ours.insert(Place::shim(&id));
        if self.is_past(&id, &state) {
            // The last agent had saved its end, and did not come to say so.
            link.tell(ToShim::Acknowledge);
            self.nodes.entry(id).or_default().closing.push((life, link));
            return;
        }
        info!(project, service, life, pid = state.shim.pid, "took over a shim");
        let keep = match Keep::from_text(&state.keep) {
            Ok(keep) => Some(keep),
            Err(reason) => {
                warn!(project, service, reason, "goes by what was saved, or by the file");
                None
            }
        };
        let mut unwanted = state.stopping;
        if let Some(refused) = self.nodes.get_mut(&id).and_then(|node| node.running.take()) {
            let view = self.world.view(&id);
            unwanted |= view.is_some_and(|view| view.want == Want::Down);
            self.put_off(&id, &refused);
        }
        let (definition, service) = self.what_runs(&id, keep.as_ref());
        if let Some(service) = &service {
            link.ends_by(spawn::ending(service));
        }
        let (want, restarts) = keep.as_ref().map_or((Want::Up, 0), |k| (k.want, k.restarts));
        if let Some(keep) = keep {
            self.take_notes(&id, keep);
        }
        let resolved = service.as_ref().and_then(|service| self.resolve_anew(&id, service));
        let want = if unwanted { Want::Down } else { want };
        let before = self.world.view(&id).map(|view| view.state);
        if let Some(service) = &service {
            self.ports.learn(&id, service);
        }
        let mut running = Running::new(life, link, service, resolved);
        running.told.started = state.leader.is_some();
        running.told.exited = state.exit.is_some();
        running.holds = state.held;
        self.nodes.entry(id.clone()).or_default().running = Some(running);
        self.step(Event::Adopted {
            id: id.clone(),
            definition,
            life,
            pid: state.leader.as_ref().filter(|_| state.exit.is_none()).map(|leader| leader.pid),
            exit: state.exit.as_ref().map(convert::exit),
            ready: state.ready,
            want,
            restarts,
            stopping: state.stopping,
        });
        // The last change of state that anybody knows of.
        let began = state.ready_at.or(state.started_at).map(Duration::from_millis);
        let began = began.and_then(|began| SystemTime::UNIX_EPOCH.checked_add(began));
        let changed = self.world.view(&id).map(|view| view.state) != before;
        if let Some(node) = self.nodes.get_mut(&id).filter(|node| changed || node.since.is_none()) {
            node.since = began.or(node.since);
        }
        let project = Arc::clone(&id.project);
        self.catch_up(id.clone(), life, state);
        self.watch_files(&id, life);
        if self.answers_late.load(Ordering::Relaxed) {
            self.hold_all();
            self.begin_all_next(&project);
        }
    }

    /// Whether its end was taken by the last agent already.
    fn is_past(&self, id: &ServiceId, state: &State) -> bool {
        let known = self.world.view(id).is_some_and(|view| view.life >= state.life);
        let over = state.emptied || state.failed.is_some();
        known && over && !self.world.lives(id, state.life)
    }

    /// What a life was started with: as its notes, the project's bundle or the file have it. The
    /// definition is `None` where only what was saved tells.
    fn what_runs(
        &mut self,
        id: &ServiceId,
        keep: Option<&Keep>,
    ) -> (Option<Definition>, Option<Arc<Service>>) {
        let saved = self.world.definition(id).map(|definition| definition.fingerprint);
        let print = keep.map(|keep| keep.fingerprint).or(saved);
        let inline = keep.and_then(|keep| keep.inline.as_ref()).map(|(service, _)| service.clone());
        let node = self.nodes.entry(id.clone()).or_default();
        let known = inline.map(|service| node.offer(service));
        let known = known.or_else(|| node.version(print?).cloned());
        let order = keep.map(|keep| keep.order);
        if let Some(service) = known {
            let order = order.or_else(|| self.world.definition(id).map(|known| known.order));
            let definition = convert::definition(&service, order.unwrap_or(u32::MAX));
            return (Some(definition), Some(service));
        }
        let (by_file, in_file) = self.by_file(id);
        let same = in_file.filter(|service| print.is_none_or(|print| print == service.fingerprint));
        match same {
            Some(service) => {
                let service = self.nodes.entry(id.clone()).or_default().offer(service);
                let definition = convert::definition(&service, order.unwrap_or(by_file.order));
                (Some(definition), Some(service))
            }
            None => (saved.is_none().then_some(by_file), None),
        }
    }

    /// What the file says of it now; where it says nothing, what can be said of any service.
    pub(super) fn by_file(&mut self, id: &ServiceId) -> (Definition, Option<Arc<Service>>) {
        let file = self.files.read(&id.project);
        let mut numbered = file.iter().flat_map(|file| file.services.iter().zip(0u32..));
        match numbered.find(|(service, _)| *service.name == *id.name) {
            Some((service, order)) => {
                (convert::definition(service, order), Some(Arc::new(service.clone())))
            }
            None => (convert::unknown(&id.name), None),
        }
    }

    fn take_notes(&mut self, id: &ServiceId, keep: Keep) {
        if let Some((_, capture)) = keep.inline {
            let capture = self.share(id, capture);
            self.nodes.entry(id.clone()).or_default().capture = Some(capture);
        }
        for done in keep.done {
            self.finished_before(id, done);
        }
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
    fn finished_before(&mut self, dependent: &ServiceId, done: Finished) {
        let id = ServiceId::new(dependent.project.clone(), done.name.as_str());
        if self.world.view(&id).is_some() {
            return;
        }
        let capture = self.nodes.get(dependent).and_then(|node| node.capture.clone());
        let node = self.nodes.entry(id.clone()).or_default();
        if node.capture.is_none() {
            node.capture = capture;
        }
        let known = done.inline.map(|service| node.offer(service));
        let Some(service) = known.or_else(|| node.version(done.fingerprint).cloned()) else {
            return;
        };
        let definition = Some(convert::definition(&service, done.order));
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
            self.mute(record);
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
        adopt::settle(record, &self.place, &self.tell, &self.answers_late, &mut found);
        if found.dead.is_empty() && found.asked.is_empty() {
            // It went with its record: somebody had let it go.
            self.miss(|path| path == record);
        }
        self.bury_all(found.dead);
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
            adopt::ask(record, &self.place, &self.tell, &self.answers_late);
        }
    }

    /// A shim was refused: another one has the service, begun by an agent in its last moment.
    pub(super) fn ask_who_has_it(&mut self, id: ServiceId, life: u64) {
        let record = self.place.record(&Place::shim(&id));
        adopt::ask(&record, &self.place, &self.tell, &self.answers_late);
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
