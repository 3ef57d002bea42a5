//! Because of whom a service stays, and from whom a `down` would take it.
//!
//! Invariant: both go by the same edges as want does, of the present definition and of the next
//! one: who is named here is who would have to give something up, and nobody else is.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use crate::{World, lease::Lease, node::Node, nouns::ServiceId, project::Project};

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
    /// The target that it needs, itself or through others; `None`: it is one.
    pub needs: Option<Arc<str>>,
}

impl World {
    /// What a `down` of these would take from sessions other than `but`; `targets` as in
    /// [`crate::Event::Down`]. By project, then in file order, then oldest first.
    #[must_use]
    pub fn leased(
        &self,
        project: Option<&str>,
        targets: &[Arc<str>],
        but: Option<&str>,
    ) -> Vec<Leased> {
        let mut rows = Vec::new();
        for project in self.projects(project).filter(|project| project.has_leases()) {
            let falling = project.falling(targets);
            let nodes = falling.keys().filter_map(|name| project.nodes.get(name));
            let mut nodes: Vec<&Node> = nodes.filter(|node| !node.leases.is_empty()).collect();
            nodes.sort_by_key(|node| node.definition.order);
            for node in nodes {
                let theirs = project.leases_on(node);
                rows.extend(theirs.filter(|lease| Some(&*lease.session) != but).map(|lease| {
                    let needs = falling.get(&node.id.name).cloned().flatten();
                    Leased { id: node.id.clone(), lease: lease.clone(), needs }
                }));
            }
        }
        rows
    }

    /// Everybody because of whom a service is wanted, each with one of his shortest ways: `up`
    /// first, then leases, oldest first. Empty where it is unknown, not wanted, or lingers.
    #[must_use]
    pub fn why(&self, id: &ServiceId) -> Vec<Reason> {
        let Some(project) = self.project(&id.project) else { return Vec::new() };
        match project.nodes.get(&id.name) {
            Some(node) if node.is_kept() => reasons(project, node),
            Some(_) | None => Vec::new(),
        }
    }
}

/// Walks from the service to what needs it, nearest first.
fn reasons(project: &Project, node: &Node) -> Vec<Reason> {
    // What each was come to from.
    let mut below: HashMap<&str, &Node> = HashMap::new();
    let mut up: Option<&Node> = None;
    let mut leases: BTreeMap<u64, &Node> = BTreeMap::new();
    let mut todo = VecDeque::from([node]);
    while let Some(at) = todo.pop_front() {
        if at.named {
            up = up.or(Some(at));
        }
        for number in &at.leases {
            leases.entry(*number).or_insert(at);
        }
        let dependents = project.dependents(&at.id.name).filter_map(|name| project.nodes.get(name));
        for dependent in dependents.filter(|dependent| dependent.is_kept()) {
            let name = &*dependent.id.name;
            if *name != *node.id.name && !below.contains_key(name) {
                below.insert(name, at);
                todo.push_back(dependent);
            }
        }
    }
    let way = |root: &Node| {
        let ways = std::iter::successors(Some(root), |at| below.get(&*at.id.name).copied());
        ways.map(|at| at.id.name.clone()).filter(|name| *name != node.id.name).collect()
    };
    let by_up = up.map(|root| Reason { lease: None, through: way(root) });
    let by_lease = leases.into_iter().filter_map(|(number, root)| {
        Some(Reason { lease: Some(project.lease(number)?.lease.clone()), through: way(root) })
    });
    by_up.into_iter().chain(by_lease).collect()
}

impl Project {
    /// What goes by a `down` of these, each with the target that it needs; `None`: it is one.
    pub fn falling(&self, targets: &[Arc<str>]) -> BTreeMap<Arc<str>, Option<Arc<str>>> {
        if targets.is_empty() {
            return self.nodes.keys().map(|name| (name.clone(), None)).collect();
        }
        let mut falling: BTreeMap<_, _> = targets.iter().map(|name| (name.clone(), None)).collect();
        let mut todo: VecDeque<(&Arc<str>, &Arc<str>)> =
            targets.iter().map(|name| (name, name)).collect();
        while let Some((name, target)) = todo.pop_front() {
            for dependent in self.dependents(name) {
                if !falling.contains_key(dependent) {
                    falling.insert(dependent.clone(), Some(target.clone()));
                    todo.push_back((dependent, target));
                }
            }
        }
        falling
    }
}
