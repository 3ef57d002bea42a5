//! Who waits for an outcome, and what is told meanwhile.
//!
//! Invariant: a listener is put on the list before the deed that it waits for, so it misses no
//! transition; and it is taken off with its outcome, so it is told nothing after that, unless it has
//! asked to stay: then it is told one outcome, and transitions for as long as it listens.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearth_api::stream::Line;
use hearth_api::{Result as Word, ServiceRow};
use hearth_config::Kind;
use hearth_core::{Goal, Outcome, ServiceId, Wait, Want};
use hyper::body::Bytes;
use tokio::task::spawn_blocking;

use super::ask::Before;
use super::said::Heard;
use super::{Owner, said};
use crate::place::Place;
use crate::upstream::{self, Ending, Item, Lost, Source, Upstream, to_bytes};

/// A verb that waits.
#[derive(Debug)]
pub(super) struct Listener {
    /// Whose transitions it is told.
    pub(super) scope: BTreeSet<ServiceId>,
    /// For what, in each project; with what it remembers between two looks.
    pub(super) waits: Vec<Wait>,
    /// What it waits for.
    pub(super) goal: Goal,
    /// What it is told besides, at its end.
    pub(super) notes: Vec<String>,
    /// What was last said to it of each service; `None`: transitions are enough for it.
    pub(super) heard: Option<Heard>,
    /// It goes on listening after its outcome.
    pub(super) stays: bool,
    /// It has had its outcome.
    pub(super) is_told: bool,
    /// Where it is told.
    pub(super) source: Source,
}

/// What a verb waits for.
pub(super) struct Wanted {
    pub(super) projects: Vec<Arc<str>>,
    pub(super) targets: Vec<Arc<str>>,
    pub(super) goal: Goal,
    pub(super) notes: Vec<String>,
    /// It is told what tests say, too.
    pub(super) words: bool,
    /// It goes on listening after its outcome.
    pub(super) stays: bool,
}

impl Owner {
    /// Puts a listener on the list and gives it its snapshot: how things were before.
    pub(super) fn listen(
        &mut self,
        before: &Before,
        scope: BTreeSet<ServiceId>,
        wait: Wanted,
    ) -> Upstream {
        let Wanted { projects, targets, goal, notes, words, stays } = wait;
        let (source, stream) = upstream::open();
        let mine = |row: &&ServiceRow| {
            let project = row.project.as_deref().unwrap_or_default();
            scope.contains(&ServiceId::new(project, row.name.as_str()))
        };
        let heard = words.then(|| said::heard(before.rows.iter().filter(mine)));
        let services = before.rows.iter().filter(mine).cloned().collect();
        source.put(Item::Line(to_bytes(&Line::Snapshot { services })));
        // Who left while nothing happened was not noticed.
        self.listeners.retain(|listener| !listener.source.is_closed());
        let wait = |project| Wait::new(project, targets.iter().cloned(), goal);
        let waits = projects.into_iter().map(wait).collect();
        let is_told = false;
        self.listeners.push(Listener { scope, waits, goal, notes, heard, stays, is_told, source });
        stream
    }

    pub(super) fn publish(&mut self, id: &ServiceId, message: &str, line: &Bytes) {
        self.listeners.retain_mut(|listener| {
            // By the transition it knows them.
            listener.learns(id, message);
            !listener.scope.contains(id) || listener.source.put(Item::Line(line.clone()))
        });
    }

    /// Everybody whose outcome is decided gets it.
    pub(super) fn tell_outcomes(&mut self) {
        let mut listeners = std::mem::take(&mut self.listeners);
        listeners.retain_mut(|listener| match self.ending(listener) {
            Some(ending) => {
                end(listener.source.clone(), ending);
                listener.is_told = true;
                listener.stays
            }
            None => true,
        });
        self.listeners = listeners;
    }

    /// The agent stops, or another one takes over: what would come is not known any more.
    pub(super) fn end_streams(&mut self, word: Word) {
        for listener in self.listeners.drain(..) {
            listener.source.put(Item::End(Ending::plain(word)));
        }
    }

    fn ending(&self, listener: &mut Listener) -> Option<Ending> {
        if listener.is_told {
            return None;
        }
        let mut all = Ending::plain(match listener.goal {
            Goal::Ready | Goal::Arrive => Word::Ready,
            Goal::Down => Word::Down,
        });
        let mut undecided = false;
        let mut waits = std::mem::take(&mut listener.waits);
        for wait in &mut waits {
            let outcome = self.world.look(wait);
            let project = wait.project();
            match outcome {
                None => undecided = true,
                Some(Outcome::Ready | Outcome::Down) => {}
                Some(Outcome::Failed { failed, not_ready }) => {
                    all.result = match failed.is_empty() && self.is_overtaken(project, listener) {
                        true => Word::Interrupted,
                        false => Word::Failed,
                    };
                    all.failed.extend(failed.iter().filter_map(|name| self.lost(project, name)));
                    all.not_ready.extend(not_ready.iter().map(ToString::to_string));
                }
            }
        }
        listener.waits = waits;
        // Several projects: the first that can't come to it ends the wait, all the others are due.
        let decided = !undecided || matches!(all.result, Word::Failed | Word::Interrupted);
        if !decided {
            return None;
        }
        all.notes.clone_from(&listener.notes);
        Some(all)
    }

    /// Whether a later command wants the reverse.
    fn is_overtaken(&self, project: &Arc<str>, listener: &Listener) -> bool {
        let against = match listener.goal {
            Goal::Ready => Want::Down,
            Goal::Down => Want::Up,
            Goal::Arrive => return false,
        };
        let mut mine = listener.scope.iter().filter(|id| id.project == *project);
        mine.any(|id| self.world.view(id).is_none_or(|view| view.want == against))
    }

    fn lost(&self, project: &Arc<str>, name: &Arc<str>) -> Option<Lost> {
        let id = ServiceId::new(Arc::clone(project), Arc::clone(name));
        let view = self.world.view(&id)?;
        Some(Lost {
            name: name.to_string(),
            exit: view.exit,
            message: view.message,
            life: view.life,
            log: self.place.log(&id),
            tested: self.tested_ports(&id, view.fingerprint),
            record: self.place.record(&Place::shim(&id)),
        })
    }

    /// Where its tests connect to, if it is a process that has no `port`: who has that one is told when
    /// it is started.
    fn tested_ports(&self, id: &ServiceId, fingerprint: u64) -> Vec<u16> {
        match self.service_of(id) {
            Some(service) if service.port.is_none() && service.kind != Kind::Check => {
                self.listens_on(id, fingerprint)
            }
            Some(_) | None => Vec::new(),
        }
    }
}

/// The last word to a listener; where it takes a look at the whole machine, by a thread.
fn end(source: Source, ending: Ending) {
    if !ending.is_to_be_looked_at() {
        source.put(Item::End(ending));
        return;
    }
    tokio::spawn(async move {
        if let Ok(ending) = spawn_blocking(move || ending.looked()).await {
            source.put(Item::End(ending));
        }
    });
}
