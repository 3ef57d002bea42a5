//! What sessions hold.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{World, nouns::ServiceId, time::Time};

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
    /// What it holds, in file order.
    pub services: Vec<Arc<str>>,
}

/// One lease for the agent that follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLease {
    id: Arc<str>,
    session: Arc<str>,
    project: Arc<str>,
    services: Vec<Arc<str>>,
}

impl SavedLease {
    /// Who holds it.
    #[must_use]
    pub fn session(&self) -> &Arc<str> {
        &self.session
    }
}

/// Who holds a service in the end, and through whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The lease; `None`: `up` named it.
    pub lease: Option<Lease>,
    /// From what is held to what needs the service, by the shortest way; empty: it is held itself.
    pub through: Vec<Arc<str>>,
}

/// A service that a lease holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// Which one.
    pub id: ServiceId,
    /// By what.
    pub lease: Lease,
}

impl World {
    /// All leases, oldest first.
    #[must_use]
    pub fn leases(&self) -> Vec<LeaseView> {
        Vec::new()
    }

    /// What a `down` of these would take from sessions other than `session`; `targets` as in
    /// [`crate::Event::Down`].
    #[must_use]
    pub fn leased(
        &self,
        _project: Option<&str>,
        _targets: &[Arc<str>],
        _but: Option<&str>,
    ) -> Vec<Leased> {
        Vec::new()
    }

    /// Everybody because of whom a service is wanted: `up` first, then leases, oldest first. Empty
    /// where it is unknown, not wanted, or lingers.
    #[must_use]
    pub fn why(&self, _id: &ServiceId) -> Vec<Reason> {
        Vec::new()
    }

    /// All leases, for [`World::restore_leases`].
    #[must_use]
    pub fn saved_leases(&self) -> Vec<SavedLease> {
        Vec::new()
    }

    /// Puts back what an earlier agent has saved: after [`World::restore`], before any event.
    pub fn restore_leases(&mut self, _saved: Vec<SavedLease>, _now: Time) {}
}
