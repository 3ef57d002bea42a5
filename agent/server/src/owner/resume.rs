//! Going on where the last agent was: what it saved, the shims that live, the records of those that
//! died, in this order.
//!
//! Invariant: what was saved is put back before any shim is heard, and nothing is decided on the
//! ground of it before every shim that answers was. An exit is saved before the record that tells
//! of it goes; so no agent's death, at whatever moment, loses one or counts it twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use hearth_api::time::rfc3339;
use hearth_config::Service;
use hearth_core::{Event, ServiceId, Want};
use hearth_shim::Record;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use super::act::milliseconds;
use super::{ADOPTION, Owner};
use crate::adopt;
use crate::convert;
use crate::execute::link::{Ending, Told};
use crate::execute::orphans::Remains;
use crate::execute::{orphans, spawn};
use crate::place::Place;
use crate::ports::Chosen;
use crate::store::{Entry, Left};

/// After so long it is looked whether those who have not answered were stopped.
const SHORT: Duration = Duration::from_millis(100);

impl Owner {
    /// Takes over the services of this home. Who has not answered in time is heard later. Only a
    /// predecessor that died may have left a shim that is still on its way: without, there is no
    /// watch and no timer.
    pub(crate) async fn adopt(&mut self, predecessor_died: bool) {
        self.put_back();
        // Subscribe, then look.
        let watched = if predecessor_died { adopt::watch(&self.place, &self.tell) } else { Ok(()) };
        let looked =
            watched.and_then(|()| adopt::look(&self.place, &self.tell, &self.answers_late));
        let found = looked.unwrap_or_else(|error| {
            warn!(%error, "cannot look for shims");
            adopt::Found::default()
        });
        let mut silent = found.asked.clone();
        let told = self.hear_out(&mut silent).await;
        self.answers_late.store(true, Ordering::Relaxed);
        self.fetch_bundles(&told).await;
        told.into_iter().for_each(|told| self.hear(told));
        self.bury_all(found.dead);
        silent.iter().for_each(|record| self.mute(record));
        let asked: BTreeSet<PathBuf> = found.asked.into_iter().collect();
        self.miss(|record| !asked.contains(record));
        self.step(Event::Settled);
        self.give_back_for_the_dead();
        self.begin_everywhere();
        self.hold_all();
        self.bring_up_enabled().await;
        self.save();
        self.settle();
        self.note_busy();
        self.tell_manager();
    }

    /// What an earlier agent of this home has saved.
    fn put_back(&mut self) {
        let Left { services, ports, leases, granted, requests, at_boot, other_world } =
            self.store.read();
        let logged_out = at_boot.due && !other_world;
        self.boot.put_back(at_boot, other_world);
        ports.into_iter().for_each(|Chosen { id, port }| self.ports.put_back(id, port));
        if services.is_empty() {
            return;
        }
        info!(services = services.len(), other_world, "goes on where the last agent was");
        let mut saved = Vec::with_capacity(services.len());
        for Entry { state, since, loose } in services {
            let since = since.map(Duration::from_millis);
            let since = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
            let node = self.nodes.entry(state.id().clone()).or_default();
            (node.since, node.loose) = (since, loose);
            saved.push(if other_world { state.after_reboot() } else { state });
        }
        self.world.restore(saved, self.clock.now());
        // What held them is over with the machine, as their processes are, or with the user's session.
        if !other_world && !logged_out {
            self.world.restore_leases(leases);
            self.granted.put_back(granted);
            self.done_before(requests);
        }
    }

    /// Waits until all of `asked` have answered, and not for those that were stopped. What was told
    /// is kept in its order: what a shim says comes behind its answer. `asked` keeps the silent ones.
    async fn hear_out(&mut self, asked: &mut Vec<PathBuf>) -> Vec<Told> {
        let mut told = Vec::new();
        if timeout(SHORT, self.answers(asked, &mut told)).await.is_ok() {
            return told;
        }
        let (stopped, mut others): (Vec<_>, Vec<_>) =
            asked.drain(..).partition(|record| adopt::is_stopped(record));
        let _ = timeout(ADOPTION, self.answers(&mut others, &mut told)).await;
        asked.extend(stopped.into_iter().chain(others));
        told
    }

    async fn answers(&mut self, asked: &mut Vec<PathBuf>, all: &mut Vec<Told>) {
        while !asked.is_empty() {
            let Some(told) = self.news.recv().await else { return };
            match &told {
                Told::Answered { state, .. } => {
                    let id = ServiceId::new(state.project.as_str(), state.service.as_str());
                    let path = self.place.record(&Place::shim(&id));
                    asked.retain(|known| *known != path);
                }
                Told::Unanswered(path) => asked.retain(|known| known != path),
                Told::Appeared(_)
                | Told::Released(_)
                | Told::Frame { .. }
                | Told::Gone { .. }
                | Told::Overdue { .. }
                | Told::Cleared { .. }
                | Told::Probed { .. } => {}
            }
            all.push(told);
        }
    }

    /// Asks one shim of each project for what it holds: one with the newest, and the next one where
    /// that does not give it.
    async fn fetch_bundles(&mut self, told: &[Told]) {
        let mut holders: BTreeMap<&str, Vec<(u64, PathBuf)>> = BTreeMap::new();
        for told in told {
            if let Told::Answered { state, .. } = told
                && let Some(generation) = state.held
            {
                let id = ServiceId::new(state.project.as_str(), state.service.as_str());
                let socket = self.place.socket(&Place::shim(&id));
                holders.entry(&state.project).or_default().push((generation, socket));
            }
        }
        let mut fetching = JoinSet::new();
        for (project, mut sockets) in holders {
            sockets.sort_by(|one, other| other.cmp(one));
            let project = project.to_owned();
            fetching.spawn(async move {
                for (_, socket) in sockets {
                    if let Some(found) = adopt::fetch(&socket).await {
                        return Some((project, found));
                    }
                }
                None
            });
        }
        while let Some(fetched) = fetching.join_next().await {
            if let Ok(Some((project, (bundle, held)))) = fetched {
                self.take_bundle(&project.into(), bundle, held);
            }
        }
    }

    /// A shim that lives and does not speak.
    pub(super) fn mute(&mut self, path: &Path) {
        let Some(record) = Record::read(path).ok().flatten() else {
            warn!(record = %path.display(), "a shim lives and does not answer: left alone");
            return;
        };
        let (project, service, pid) = (&record.project, &record.service, record.shim.pid);
        warn!(
            project,
            service,
            pid,
            "a shim lives and does not answer: its service is left alone \
            until it does; `kill -CONT` lets one go on that was stopped"
        );
        let id = ServiceId::new(project.as_str(), service.as_str());
        let (definition, service) = self.by_file(&id);
        if let Some(service) = service {
            self.nodes.entry(id.clone()).or_default().offer(service);
        }
        let message = format!("its shim (pid {pid}) does not answer");
        let leader = record.leader.map(|leader| leader.pid).filter(|_| record.exit.is_none());
        let life = record.life;
        self.step(Event::Mute { id, definition, life, pid: leader, message });
    }

    /// What was saved as living, and of which nothing at all is left. `gone`: whether this is so of
    /// the shim with this record.
    pub(super) fn miss(&mut self, gone: impl Fn(&Path) -> bool) {
        for (id, life) in self.world.unheard() {
            let waits = self.nodes.get(&id).is_some_and(|node| node.clearing);
            if !waits && gone(&self.place.record(&Place::shim(&id))) {
                warn!(project = %id.project, service = %id.name, life, "neither shim nor record is left");
                let at = rfc3339(SystemTime::now());
                self.step(Event::Missing { id, life, at });
            }
        }
    }

    /// Records whose shims died: what they tell is learned and saved, and then they go.
    pub(super) fn bury_all(&mut self, dead: Vec<(PathBuf, Record)>) {
        if dead.is_empty() {
            return;
        }
        let mut over = Vec::new();
        for (path, record) in dead {
            adopt::tell_death(&record);
            over.extend(self.bury(path, record));
        }
        self.save();
        for (path, id) in over {
            self.buried(&path, id);
        }
        self.unpark(false);
    }

    /// Nothing is left of a life, and that is saved: whoever waited for it goes on.
    fn buried(&mut self, record: &Path, id: ServiceId) {
        adopt::remove(record, &self.place);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.clearing = false;
        }
        let project = Arc::clone(&id.project);
        self.begin_next(id);
        self.begin_all_next(&project);
    }

    /// One record; given back where nothing is left to be waited for.
    fn bury(&mut self, path: PathBuf, record: Record) -> Option<(PathBuf, ServiceId)> {
        let id = ServiceId::new(record.project.as_str(), record.service.as_str());
        let life = record.life;
        // Until its record is gone no shim takes its place.
        self.nodes.entry(id.clone()).or_default().clearing = true;
        let ours = record.shim.same_world();
        if ours && self.world.view(&id).is_some_and(|view| view.life < life) {
            // It began after the last agent had saved.
            let pid = record.leader.as_ref().filter(|_| record.exit.is_none());
            self.step(Event::Adopted {
                id: id.clone(),
                definition: None,
                life,
                pid: pid.map(|leader| leader.pid),
                exit: None,
                ready: false,
                want: Want::Up,
                restarts: 0,
                stopping: false,
            });
        }
        self.world.set_last_life(&id, life);
        if let Some(exit) = record.exit.as_ref().filter(|_| ours) {
            self.step(Event::Exited { id: id.clone(), life, exit: convert::exit(exit) });
        }
        let gone = record.emptied || record.failed.is_some() || !ours;
        if !gone {
            let remains = Remains { leader: record.leader, pipes: record.pipes };
            let ending = self.ending_of(&id);
            let (tell, id) = (self.tell.clone(), id);
            tokio::spawn(async move {
                let left = orphans::end(&remains, ending.signal, ending.patience).await;
                let _ = tell.send(Told::Cleared { id, life, record: path, left }).await;
            });
            return None;
        }
        if ours {
            let (id, at) = (id.clone(), rfc3339(SystemTime::now()));
            self.step(match (record.failed, record.exit) {
                (Some(reason), _) => Event::StartFailed { id, life, reason },
                (None, Some(_)) => Event::Emptied { id, life },
                (None, None) => Event::ShimLost { id, life, at, left: Vec::new() },
            });
        }
        Some((path, id))
    }

    /// What a dead shim had left is gone, or can't be ended.
    pub(super) fn cleared(&mut self, id: ServiceId, life: u64, record: &Path, left: Vec<u32>) {
        self.output_lost(&id, life);
        let at = rfc3339(SystemTime::now());
        self.step(Event::ShimLost { id: id.clone(), life, at, left });
        self.save();
        self.buried(record, id);
        self.unpark(false);
    }

    /// A shim was killed: what it had not read of its service's output is lost with it. To be called
    /// when its tree has ended, and before the next life.
    pub(super) fn output_lost(&self, id: &ServiceId, life: u64) {
        let log = self.service_of(id).map(|service| service.log).unwrap_or_default();
        let limits = hearth_logs::Limits { max_size: log.max_size, keep: log.keep };
        let text = "the shim was killed: output that it had not read yet is lost";
        if let Err(error) = hearth_logs::note(self.place.log(id), limits, life, text) {
            warn!(project = %id.project, service = %id.name, %error, "cannot write into its log");
        }
        warn!(project = %id.project, service = %id.name, life, "its shim was killed: what that had \
            not read of its output is lost");
    }

    fn ending_of(&mut self, id: &ServiceId) -> Ending {
        if let Some(service) = self.service_of(id) {
            return spawn::ending(service);
        }
        if let (_, Some(service)) = self.by_file(id) {
            return spawn::ending(&service);
        }
        // What was saved has no command and no signal, but the time.
        let saved = self.world.definition(id).map(|definition| definition.stop_timeout);
        let usual = Ending::default();
        Ending { patience: saved.unwrap_or(usual.patience), ..usual }
    }

    /// What it runs with, or would.
    pub(super) fn service_of(&self, id: &ServiceId) -> Option<&Arc<Service>> {
        let definition = self.world.definition(id)?;
        self.nodes.get(id)?.version(definition.fingerprint)
    }

    /// Everything is on disk that must be before something is forgotten elsewhere; then shims may go.
    pub(super) fn settle(&mut self) {
        let owed = std::mem::take(&mut self.owed);
        let due = self.store.due().is_some_and(|due| due <= tokio::time::Instant::now());
        if !owed.is_empty() || due {
            self.save();
        }
        for (id, life) in owed {
            let Some(node) = self.nodes.get(&id) else { continue };
            if let Some((_, link)) = node.closing.iter().find(|(closing, _)| *closing == life) {
                link.tell(hearth_shim::frames::ToShim::Acknowledge);
            }
        }
    }

    /// Now, if anything has changed.
    pub(super) fn save(&mut self) {
        let nodes = &self.nodes;
        let entry = |state: hearth_core::Saved| {
            let node = nodes.get(state.id());
            let since = node.and_then(|node| node.since).map(milliseconds);
            Entry { loose: node.is_some_and(|node| node.loose), state, since }
        };
        let entries = self.world.saved().into_iter().map(entry).collect();
        let (leases, granted) = (self.world.saved_leases(), self.granted.all());
        let requests = self.done.iter().cloned().collect();
        self.store.write(entries, self.ports.all(), leases, granted, requests, self.boot.to_save());
    }
}
