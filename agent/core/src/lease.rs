//! What sessions hold.
//!
//! Invariant: a lease is noted in two places, here by its name and its session, and in its project
//! with what it holds (`hold.rs`); both know it from the event that took it to the one that gives it
//! back. A lease that only one of them knew would hold a service for ever, or be given back in vain.
//!
//! Leases are numbered as they are taken, so that the oldest is named first everywhere. The core
//! knows nothing of a session but its name: who has ended, the driver says by giving back its leases.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{World, action::Action, hold::Held, project::Project, time::Time, world::Turn};

/// Whose lease it is. Both are names that the driver gives; a lease's is never given twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease {
    /// Its name.
    pub id: Arc<str>,
    /// Who holds it.
    pub session: Arc<str>,
}

/// One lease as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// Which, and whose.
    pub lease: Lease,
    /// The project's path.
    pub project: Arc<str>,
    /// What it holds, in file order. It may be empty: a `down` or an edited file has taken it all.
    pub services: Vec<Arc<str>>,
}

/// One lease for the agent that follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLease {
    id: Arc<str>,
    session: Arc<str>,
    project: Arc<str>,
    #[serde(default)]
    services: Vec<Arc<str>>,
}

impl SavedLease {
    /// Who holds it.
    #[must_use]
    pub fn session(&self) -> &Arc<str> {
        &self.session
    }
}

/// Where each lease is.
#[derive(Debug, Default)]
pub(crate) struct Register {
    by_id: BTreeMap<Arc<str>, Place>,
    /// By session and number, so each session's oldest first: the project's path. One map, for most
    /// sessions have one lease, and a map of one costs as much as a map of ten.
    by_session: BTreeMap<(Arc<str>, u64), Arc<str>>,
    last: u64,
}

#[derive(Debug)]
struct Place {
    number: u64,
    session: Arc<str>,
    project: Arc<str>,
}

impl Register {
    /// Its number, a new one where it is not known. `None`: it is known as another session's, or
    /// in another project.
    pub fn number(&mut self, lease: &Lease, project: &Arc<str>) -> Option<u64> {
        if let Some(known) = self.by_id.get(&lease.id) {
            let same = known.session == lease.session && known.project == *project;
            return same.then_some(known.number);
        }
        self.last += 1;
        let (number, session, project) = (self.last, lease.session.clone(), project.clone());
        self.by_session.insert((session.clone(), number), project.clone());
        self.by_id.insert(lease.id.clone(), Place { number, session, project });
        Some(number)
    }

    /// Forgets it.
    fn remove(&mut self, id: &str) -> Option<Place> {
        let place = self.by_id.remove(id)?;
        self.by_session.remove(&(place.session.clone(), place.number));
        Some(place)
    }

    /// Numbers and projects of what this session holds.
    fn of(&self, session: &str) -> impl Iterator<Item = (u64, &Arc<str>)> {
        let session: Arc<str> = session.into();
        let mine = self.by_session.range((session.clone(), 0)..=(session, u64::MAX));
        mine.map(|((_, number), path)| (*number, path))
    }
}

impl World {
    /// All leases, oldest first.
    #[must_use]
    pub fn leases(&self) -> Vec<LeaseView> {
        let mut numbered: Vec<(u64, LeaseView)> = self
            .by_path()
            .flat_map(|(path, project)| {
                project.leases().map(|(number, held)| (number, shown(path, project, held)))
            })
            .collect();
        numbered.sort_by_key(|(number, _)| *number);
        numbered.into_iter().map(|(_, view)| view).collect()
    }

    /// One lease; `None`: there is none of that name.
    #[must_use]
    pub fn lease(&self, id: &str) -> Option<LeaseView> {
        let Place { number, project: path, .. } = self.register().by_id.get(id)?;
        let project = self.project(path)?;
        Some(shown(path, project, project.lease(*number)?))
    }

    /// The leases of one session, oldest first.
    #[must_use]
    pub fn leases_of(&self, session: &str) -> Vec<LeaseView> {
        let view = |(number, path): (u64, &Arc<str>)| {
            let project = self.project(path)?;
            Some(shown(path, project, project.lease(number)?))
        };
        self.register().of(session).filter_map(view).collect()
    }

    /// All leases, for [`World::restore_leases`].
    #[must_use]
    pub fn saved_leases(&self) -> Vec<SavedLease> {
        let saved = |view: LeaseView| SavedLease {
            id: view.lease.id,
            session: view.lease.session,
            project: view.project,
            services: view.services,
        };
        self.leases().into_iter().map(saved).collect()
    }

    /// Puts back what an earlier agent of this boot has saved: after [`World::restore`], before any
    /// event. What was not restored, or is not wanted, is left out; saved twice counts once.
    pub fn restore_leases(&mut self, saved: Vec<SavedLease>) {
        for one in saved {
            let lease = Lease { id: one.id, session: one.session };
            if self.register().by_id.contains_key(&lease.id) {
                continue;
            }
            let Some(number) = self.register_mut().number(&lease, &one.project) else { continue };
            self.found(&one.project);
            if let Some(project) = self.project_mut(&one.project) {
                project.put_back_lease(number, lease, &one.services);
            }
        }
    }

    /// These leases are over.
    pub(crate) fn release(&mut self, leases: &[Arc<str>], actions: &mut Vec<Action>, now: Time) {
        let mut over: BTreeMap<Arc<str>, Vec<u64>> = BTreeMap::new();
        for place in leases.iter().filter_map(|id| self.register_mut().remove(id)) {
            over.entry(place.project).or_default().push(place.number);
        }
        for (project, numbers) in over {
            self.turn(&project, actions, now, |turn| turn.give_back(&numbers));
        }
    }

    /// Does `work` on the project for a lease, by its number. Nothing where it is known as another
    /// one; forgotten where it is new and the work had no use for it.
    pub(crate) fn for_lease(
        &mut self,
        lease: Lease,
        path: &Arc<str>,
        actions: &mut Vec<Action>,
        now: Time,
        work: impl FnOnce(&mut Turn<'_>, u64, Lease),
    ) {
        let id = lease.id.clone();
        let Some(number) = self.register_mut().number(&lease, path) else { return };
        self.found(path);
        self.turn(path, actions, now, |turn| work(turn, number, lease));
        if self.project(path).is_none_or(|project| project.lease(number).is_none()) {
            self.register_mut().remove(&id);
        }
    }
}

fn shown(path: &Arc<str>, project: &Project, held: &Held) -> LeaseView {
    let mut services: Vec<Arc<str>> = held.services.iter().cloned().collect();
    project.sort(&mut services);
    LeaseView { lease: held.lease.clone(), project: path.clone(), services }
}
