//! What people ask for: `up`, `down`, `restart`.
//!
//! Invariant: a command changes want (through what is named) and definitions, never a phase, so it
//! can be repeated, and of two that cross the later one holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    definition::Definition,
    node::{History, Next, Node, Phase},
    nouns::{Kind, Want},
    plan,
    time::Time,
    world::Turn,
};

type Definitions = BTreeMap<Arc<str>, Definition>;

impl Turn<'_> {
    pub fn up(&mut self, definitions: Definitions, targets: Vec<Arc<str>>) {
        self.project.edition += 1;
        let targets = expand(&definitions, targets);
        for (name, node) in &mut self.project.nodes {
            if !definitions.contains_key(name) {
                // It stays for as long as something that is wanted needs it.
                node.gone = true;
                node.named = false;
            }
        }
        let reached = self.take_all(definitions, &targets);
        for name in &targets {
            if let Some(node) = self.project.nodes.get_mut(name) {
                node.named = true;
            }
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
        let names: BTreeSet<Arc<str>> = if targets.is_empty() {
            self.project.nodes.keys().cloned().collect()
        } else {
            let direct = |name: &str| self.project.dependents(name).cloned().collect::<Vec<_>>();
            plan::reach(targets.iter().cloned(), direct)
        };
        for name in &names {
            if let Some(node) = self.project.nodes.get_mut(name) {
                node.named = false;
            }
        }
        self.weigh(&names);
        self.look_at_all();
    }

    pub fn restart(&mut self, definitions: Definitions, targets: Vec<Arc<str>>) {
        self.project.edition += 1;
        let targets = expand(&definitions, targets);
        let reached = self.take_all(definitions, &targets);
        for name in &targets {
            if let Some(node) = self.project.nodes.get_mut(name) {
                // What somebody's need holds up stays his; what nobody holds is named by this.
                node.named |= node.want == Want::Down || node.linger.is_some();
            }
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
