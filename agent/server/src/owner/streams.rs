//! Who waits for an outcome, and what is told meanwhile.
//!
//! Invariant: a listener is put on the list before the deed that it waits for, so it misses no
//! transition; and it is taken off with its outcome, so it is told nothing after that.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearth_api::Result as Word;
use hearth_config::Kind;
use hearth_core::{Goal, Outcome, ServiceId, Wait, Want};
use hyper::body::Bytes;
use tokio::task::spawn_blocking;

use super::Owner;
use crate::place::Place;
use crate::upstream::{Ending, Item, Lost, Source};

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
    /// Where it is told.
    pub(super) source: Source,
}

impl Owner {
    pub(super) fn publish(&mut self, id: &ServiceId, line: &Bytes) {
        self.listeners.retain(|listener| {
            !listener.scope.contains(id) || listener.source.put(Item::Line(line.clone()))
        });
    }

    /// Everybody whose outcome is decided gets it.
    pub(super) fn tell_outcomes(&mut self) {
        let mut listeners = std::mem::take(&mut self.listeners);
        listeners.retain_mut(|listener| match self.ending(listener) {
            Some(ending) => {
                end(listener.source.clone(), ending);
                false
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
        all.notes.clone_from(&listener.notes);
        decided.then_some(all)
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
