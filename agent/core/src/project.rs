//! The nodes of one project and who needs whom.
//!
//! Invariant: `dependents` is the reverse of every node's needs, of its definition and of its
//! pending one; a node that is changed is linked again at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    health,
    node::Node,
    nouns::{Kind, State, Want},
    plan,
    view::Holder,
    words,
};

#[derive(Debug, Default)]
pub(crate) struct Project {
    pub nodes: BTreeMap<Arc<str>, Node>,
    dependents: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Project {
    /// Names of what needs it, now or in its next life.
    pub fn dependents(&self, name: &str) -> impl Iterator<Item = &Arc<str>> {
        self.dependents.get(name).into_iter().flatten()
    }

    /// What it needs, now and in its next life.
    pub fn needs_of(&self, name: &str) -> Vec<Arc<str>> {
        let Some(node) = self.nodes.get(name) else { return Vec::new() };
        let next = node.pending.iter().flat_map(|pending| &pending.needs);
        node.definition.needs.iter().chain(next).map(|need| need.service.clone()).collect()
    }

    /// What its next life will need, where the file changed; else what it needs.
    pub fn next_needs_of(&self, name: &str) -> Vec<Arc<str>> {
        let Some(node) = self.nodes.get(name) else { return Vec::new() };
        let definition = node.pending.as_deref().unwrap_or(&node.definition);
        definition.needs.iter().map(|need| need.service.clone()).collect()
    }

    /// Lists the node anew with those that it needs.
    pub fn link(&mut self, name: &Arc<str>) {
        let needs = self.needs_of(name);
        let Some(node) = self.nodes.get_mut(name) else { return };
        if node.linked == needs {
            return;
        }
        for old in std::mem::replace(&mut node.linked, needs.clone()) {
            self.unlist(name, &old);
        }
        for need in needs {
            self.dependents.entry(need).or_default().insert(name.clone());
        }
    }

    /// Takes the node out.
    pub fn remove(&mut self, name: &Arc<str>) -> Option<Node> {
        let node = self.nodes.remove(name)?;
        for need in &node.linked {
            self.unlist(name, need);
        }
        Some(node)
    }

    fn unlist(&mut self, name: &Arc<str>, need: &Arc<str>) {
        if let Some(list) = self.dependents.get_mut(need) {
            list.remove(name);
            if list.is_empty() {
                self.dependents.remove(need);
            }
        }
    }

    /// Whether a need on `need` would let `name` need itself.
    pub fn closes_cycle(&self, name: &str, need: &str) -> bool {
        plan::reach([Arc::from(need)], |at| self.needs_of(at)).contains(name)
    }

    /// What is wanted: the named, and all that they need.
    pub fn wanted(&self) -> BTreeSet<Arc<str>> {
        let named = self.nodes.iter().filter(|(_, node)| node.named).map(|(name, _)| name.clone());
        plan::reach(named, |name| self.needs_of(name))
    }

    /// Who holds it.
    pub fn holders(&self, node: &Node) -> Vec<Holder> {
        let up = node.named.then_some(Holder::Up);
        let wanted = self.dependents(&node.id.name).filter(|name| {
            self.nodes.get(*name).is_some_and(|dependent| dependent.want == Want::Up)
        });
        up.into_iter().chain(wanted.cloned().map(Holder::Dependent)).collect()
    }

    /// Whether something must go before it: what stands on it, itself or through a check. A check
    /// is gone the moment it is not wanted, and what stood on it may still run.
    pub fn is_held_back(&self, name: &str) -> bool {
        let mut checks: Vec<&str> = Vec::new();
        let (mut at, mut next) = (name, 0);
        loop {
            for dependent in self.dependents(at) {
                let Some(other) = self.nodes.get(dependent) else { continue };
                if !other.definition.needs.iter().any(|need| *need.service == *at) {
                    continue;
                }
                if other.gives_way(at) {
                    return true;
                }
                if other.is_check() && !other.is_living() && !checks.contains(&&**dependent) {
                    checks.push(dependent);
                }
            }
            let Some(check) = checks.get(next) else { return false };
            at = check;
            next += 1;
        }
    }

    /// Whether all that it needs is there.
    pub fn is_free(&self, node: &Node) -> bool {
        node.definition.needs.iter().all(|need| self.has(&need.service))
    }

    fn has(&self, name: &str) -> bool {
        self.nodes.get(name).is_some_and(Node::satisfies)
    }

    /// The need that went bad and takes it along. One that is unknown, or unheard, takes nobody:
    /// its shim may be adopted a moment later.
    pub fn lost_need(&self, node: &Node) -> Option<Arc<str>> {
        let mut needs = node.definition.needs.iter();
        let lost = needs.find(|need| {
            let known = self.nodes.get(&need.service);
            need.lost == crate::Lost::Stop
                && known.is_some_and(|other| !other.unheard && !other.satisfies())
        });
        lost.map(|need| need.service.clone())
    }

    /// What it needs that is not there, while it waits.
    pub fn waits_for(&self, node: &Node) -> Vec<Arc<str>> {
        if node.state() != State::Waiting {
            return Vec::new();
        }
        let needs = node.definition.needs.iter().map(|need| &need.service);
        needs.filter(|name| !self.has(name)).cloned().collect()
    }

    /// Whether it waits for a service that ended with success and so is never ready again.
    pub fn waits_for_ended(&self, node: &Node) -> bool {
        self.waits_for(node).iter().filter_map(|name| self.nodes.get(name)).any(|need| {
            need.definition.kind == Kind::Service && need.state() == State::Done && !need.again
        })
    }

    /// `waits for db (starting), migrate (failed: exited with code 1)`.
    pub fn waiting_words(&self, node: &Node) -> String {
        let needs = node.definition.needs.iter().map(|need| &need.service);
        let words: Vec<String> = needs
            .filter(|name| !self.has(name))
            .map(|name| match self.nodes.get(name) {
                None => format!("{name} (unknown)"),
                Some(need) if need.unheard => format!("{name} ({})", need.message),
                Some(need) => match need.state() {
                    State::Failed | State::Backoff | State::Done => {
                        format!("{name} ({}: {})", words::state(need.state()), need.message)
                    }
                    State::Unhealthy => {
                        format!("{name} (unhealthy: {})", health::failing_words(need))
                    }
                    // Ready and done ones are waited for only while they are about to go.
                    State::Ready => format!("{name} (about to stop)"),
                    State::Down
                    | State::Waiting
                    | State::Starting
                    | State::Stopping
                    | State::Unknown => format!("{name} ({})", words::state(need.state())),
                },
            })
            .collect();
        format!("waits for {}", words.join(", "))
    }

    /// Puts names in file order.
    pub fn sort(&self, names: &mut [Arc<str>]) {
        names.sort_by_key(|name| self.nodes.get(name).map(|node| node.definition.order));
    }
}
