//! Who holds a service himself: `up` by naming it, and leases.
//!
//! Invariant: a node's list of leases and each lease's list of services say the same, so that what
//! is given back, taken by a `down` or lost with the file is gone from both. All changes of who holds
//! what are here; what follows from them for want is `weigh`'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{lease::Lease, node::Node, nouns::Want, project::Project, world::Turn};

/// By what a service is held.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    /// `up` names it.
    Up,
    /// The lease of this number.
    Lease(u64),
}

/// What a lease holds. It may be nothing any more.
#[derive(Debug)]
pub(crate) struct Held {
    pub lease: Lease,
    pub services: BTreeSet<Arc<str>>,
}

/// The leases of a project by their numbers: oldest first.
#[derive(Debug, Default)]
pub(crate) struct Leases(BTreeMap<u64, Held>);

impl Node {
    /// Whether it stays without anybody who needs it.
    pub fn is_held_itself(&self) -> bool {
        self.named || !self.leases.is_empty()
    }

    /// Whether it is wanted by somebody who stays.
    pub fn is_kept(&self) -> bool {
        self.want == Want::Up && self.linger.is_none()
    }
}

impl Project {
    pub fn has_leases(&self) -> bool {
        !self.leases.0.is_empty()
    }

    pub fn leases(&self) -> impl Iterator<Item = (u64, &Held)> {
        self.leases.0.iter().map(|(number, held)| (*number, held))
    }

    pub fn lease(&self, number: u64) -> Option<&Held> {
        self.leases.0.get(&number)
    }

    /// Those that hold it, oldest first.
    pub fn leases_on(&self, node: &Node) -> impl Iterator<Item = &Lease> {
        node.leases.iter().filter_map(|number| Some(&self.leases.0.get(number)?.lease))
    }

    /// From now on the lease is known, whether it holds anything or not.
    pub fn note_lease(&mut self, number: u64, lease: Lease) {
        let services = BTreeSet::new();
        self.leases.0.entry(number).or_insert(Held { lease, services });
    }

    pub fn hold(&mut self, name: &Arc<str>, by: Hold) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        match by {
            Hold::Up => node.named = true,
            Hold::Lease(number) => {
                if let Some(held) = self.leases.0.get_mut(&number) {
                    held.services.insert(name.clone());
                    node.leases.insert(number);
                }
            }
        }
    }

    /// Nobody holds it himself any more.
    pub fn take_from_all(&mut self, name: &str) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.named = false;
        for number in std::mem::take(&mut node.leases) {
            if let Some(held) = self.leases.0.get_mut(&number) {
                held.services.remove(name);
            }
        }
    }

    /// A lease as it was saved. What was saved beside it says what it can hold: a damaged file must
    /// not hold what is down, or on its way there.
    pub fn put_back_lease(&mut self, number: u64, lease: Lease, services: &[Arc<str>]) {
        self.note_lease(number, lease);
        for name in services {
            if self.nodes.get(name).is_some_and(|node| node.is_kept() && !node.gone) {
                self.hold(name, Hold::Lease(number));
            }
        }
    }
}

impl Turn<'_> {
    /// These leases are over. What others hold is not looked at: ten thousand sessions that end are
    /// ten thousand small deeds, and one weighing.
    pub fn give_back(&mut self, numbers: &[u64]) {
        let mut free = false;
        for number in numbers {
            let Some(held) = self.project.leases.0.remove(number) else { continue };
            for name in &held.services {
                if let Some(node) = self.project.nodes.get_mut(name) {
                    node.leases.remove(number);
                    free |= !node.is_held_itself();
                }
            }
        }
        if free {
            self.project.edition += 1;
            self.weigh(&BTreeSet::new());
        }
    }
}
