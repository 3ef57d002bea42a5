//! What people ask for: `up`, `down`, `restart`, and a lease, which is an `up` by somebody.
//!
//! Invariant: a command changes want (through who holds what) and definitions, never a phase, so it
//! can be repeated, and of two that cross the later one holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    definition::Definition,
    hold::Hold,
    lease::Lease,
    node::{History, Next, Node, Phase},
    nouns::{Kind, Want},
    plan,
    time::Time,
    world::Turn,
};

type Definitions = BTreeMap<Arc<str>, Definition>;

impl Turn<'_> {
    /// `up`, or a lease's taking of services: what they mean for the file is the same.
    pub fn up(&mut self, definitions: Definitions, targets: Vec<Arc<str>>, by: Hold) {
        self.project.edition += 1;
        let targets = expand(&definitions, targets);
        self.lose(&definitions);
        let reached = self.take_all(definitions, &targets);
        for name in &targets {
            self.project.hold(name, by);
        }
        self.weigh(&BTreeSet::new());
        let now = self.now;
        for name in &reached {
            if let Some(node) = self.project.nodes.get_mut(name) {
                node.retry_if_over(now);
            }
        }
        self.look_at_all();
    }

    pub fn down(&mut self, targets: &[Arc<str>]) {
        self.project.edition += 1;
        let names: BTreeSet<Arc<str>> = self.project.falling(targets).into_keys().collect();
        for name in &names {
            self.project.take_from_all(name);
        }
        self.weigh(&names);
        self.look_at_all();
    }

    /// What somebody holds stays his; what nobody holds is held by this.
    pub fn restart(
        &mut self,
        definitions: Definitions,
        targets: Vec<Arc<str>>,
        lease: Option<(u64, Lease)>,
    ) {
        self.project.edition += 1;
        let targets = expand(&definitions, targets);
        let reached = self.take_all(definitions, &targets);
        let free = |name: &&Arc<str>| !self.project.nodes.get(*name).is_some_and(Node::is_kept);
        let free: Vec<&Arc<str>> = targets.iter().filter(free).collect();
        let by = match lease {
            Some((number, lease)) if !free.is_empty() => {
                self.project.note_lease(number, lease);
                Hold::Lease(number)
            }
            Some(_) | None => Hold::Up,
        };
        for name in free {
            self.project.hold(name, by);
        }
        self.weigh(&BTreeSet::new());
        let now = self.now;
        for name in &reached {
            if let Some(node) = self.project.nodes.get_mut(name) {
                if targets.contains(name) {
                    node.start_anew();
                } else {
                    node.retry_if_over(now);
                }
            }
        }
        self.look_at_all();
    }

    /// What the file has no more is held by nobody: it stays for as long as something that is
    /// wanted needs it.
    fn lose(&mut self, definitions: &Definitions) {
        let mut lost = Vec::new();
        for (name, node) in &mut self.project.nodes {
            if !definitions.contains_key(name) {
                node.gone = true;
                lost.push(name.clone());
            }
        }
        for name in &lost {
            self.project.take_from_all(name);
        }
    }

    /// Takes in the file: what the targets reach is brought to it, the rest only as far as it is
    /// down. Returns what they reach.
    fn take_all(
        &mut self,
        definitions: Definitions,
        targets: &BTreeSet<Arc<str>>,
    ) -> BTreeSet<Arc<str>> {
        let mut faults = plan::faults(&definitions);
        let reached = plan::reach(targets.iter().cloned(), |name| {
            let needs = definitions.get(name).into_iter().flat_map(|d| &d.needs);
            needs.map(|need| need.service.clone()).collect::<Vec<_>>()
        });
        for (name, definition) in definitions {
            let fault = faults.remove(&name);
            self.take(&name, definition, fault, reached.contains(&name));
            self.project.link(&name);
        }
        reached
    }

    fn take(&mut self, name: &Arc<str>, new: Definition, fault: Option<String>, reached: bool) {
        let mut new = new;
        if fault.is_some() {
            // The graph that decisions go by has no cycle; it is never started anyway.
            new.needs.clear();
        }
        let Some(node) = self.project.nodes.get_mut(name) else {
            let id = self.id(name);
            let number = self.numbers.remove(&id).unwrap_or(0);
            let mut node = Node::new(id, new, number, self.now);
            node.fault = fault;
            self.project.nodes.insert(name.clone(), node);
            return;
        };
        node.gone = false;
        // These two are of the file and not of a life: what `up` means, and the order of rows.
        node.definition.enabled = new.enabled;
        node.definition.order = new.order;
        let changed = node.definition.fingerprint != new.fingerprint;
        if node.is_living() {
            if fault.is_some() {
                return;
            }
            if !changed {
                node.pending = None;
            } else if reached {
                node.pending = Some(Box::new(new));
            }
        } else if reached || node.want == Want::Down {
            let mended = node.fault != fault;
            node.definition = new;
            node.fault = fault;
            if changed || mended {
                node.start_anew();
            }
        }
    }
}

/// The names that are meant.
fn expand(definitions: &Definitions, targets: Vec<Arc<str>>) -> BTreeSet<Arc<str>> {
    if targets.is_empty() {
        let enabled = definitions.iter().filter(|(_, definition)| definition.enabled);
        return enabled.map(|(name, _)| name.clone()).collect();
    }
    targets.into_iter().filter(|name| definitions.contains_key(name)).collect()
}

impl Node {
    pub fn set_want(&mut self, want: Want) {
        self.want = want;
        match want {
            Want::Up => self.history = History::default(),
            Want::Down => self.again = false,
        }
    }

    /// A new life, whatever there is now; what went wrong before no longer counts.
    fn start_anew(&mut self) {
        self.again = self.want == Want::Up;
        self.forgive();
    }

    /// `up` of what has failed, or of a service that ended by itself, tries it again. A oneshot
    /// that has succeeded stays done; a check that was not ready in time has its time once more.
    fn retry_if_over(&mut self, now: Time) {
        if self.is_overdue() {
            self.life.overdue = false;
            self.life.overdue_at = self.definition.start_timeout.map(|limit| now.after(limit));
        }
        let over = match self.phase {
            Phase::Failed | Phase::Ended(Next::Failed) => true,
            Phase::Done | Phase::Ended(Next::Done) => self.definition.kind == Kind::Service,
            Phase::Down
            | Phase::Waiting
            | Phase::Backoff { .. }
            | Phase::Spawning
            | Phase::Starting
            | Phase::Ready
            | Phase::Unhealthy
            | Phase::Stopping(_)
            | Phase::Ended(Next::Down | Next::Backoff { .. }) => false,
        };
        if over {
            self.start_anew();
        }
    }

    fn forgive(&mut self) {
        self.history = History { restarts: self.history.restarts, ..History::default() };
    }
}
