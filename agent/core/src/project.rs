//! The nodes of one project and who needs whom.
//!
//! Invariant: `dependents` is the reverse of every node's needs, of its definition and of its
//! pending one; a node that is changed is linked again at once.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::Bound,
    sync::Arc,
};

use crate::{
    health,
    hold::Leases,
    node::{Node, Phase},
    nouns::{Kind, State},
    plan,
    view::Holder,
};

/// So many of what a node waits for are named in its message.
const NAMED: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Project {
    pub nodes: BTreeMap<Arc<str>, Node>,
    dependents: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Another one whenever something has changed that could end a wait, a node's coming to its
    /// goal left out.
    pub edition: u64,
    /// Names of those that are shown as done.
    done: BTreeSet<Arc<str>>,
    /// What sessions hold of it.
    pub leases: Leases,
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
        self.edition += 1;
        self.done.remove(name);
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

    /// A node is shown in this state from now on.
    pub fn shows(&mut self, name: &Arc<str>, state: State) {
        if state == State::Done {
            self.done.insert(name.clone());
        } else {
            self.done.remove(name);
        }
    }

    /// The oneshots that are done among what it needs, itself or through others, by name. Most
    /// often there is none, and nothing is walked through.
    pub fn done_below(&self, name: &str) -> Vec<&Node> {
        let (mut found, mut seen) = (BTreeMap::new(), HashSet::new());
        let mut todo: Vec<&Node> = self.nodes.get(name).into_iter().collect();
        while found.len() < self.done.len()
            && let Some(node) = todo.pop()
        {
            let needs = node.definition.needs.iter().map(|need| &*need.service);
            for need in needs.filter_map(|need| self.nodes.get(need)) {
                if seen.insert(&*need.id.name) {
                    todo.push(need);
                    if self.done.contains(&need.id.name) {
                        found.insert(&need.id.name, need);
                    }
                }
            }
        }
        found.into_values().filter(|node| node.definition.kind == Kind::Oneshot).collect()
    }

    /// Whether a need on `need` would let `name` need itself.
    pub fn closes_cycle(&self, name: &str, need: &str) -> bool {
        if name == need {
            return true;
        }
        // Whom nobody needs no way leads back to.
        let is_needed = self.dependents(name).next().is_some();
        is_needed && plan::reach([Arc::from(need)], |at| self.needs_of(at)).contains(name)
    }

    /// What is wanted: what `up` named or a lease holds, and all that they need.
    pub fn wanted(&self) -> BTreeSet<Arc<str>> {
        let held = self.nodes.iter().filter(|(_, node)| node.is_held_itself());
        plan::reach(held.map(|(name, _)| name.clone()), |name| self.needs_of(name))
    }

    /// Who holds it. What lingers holds nobody: it is on its way out.
    pub fn holders(&self, node: &Node) -> Vec<Holder> {
        let up = node.named.then_some(Holder::Up);
        let leases = self.leases_on(node).cloned().map(Holder::Lease);
        let dependents = self.dependents_that_stay(node).cloned().map(Holder::Dependent);
        up.into_iter().chain(leases).chain(dependents).collect()
    }

    /// Whether anybody holds it.
    pub fn is_held(&self, node: &Node) -> bool {
        node.is_held_itself() || self.dependents_that_stay(node).next().is_some()
    }

    fn dependents_that_stay(&self, node: &Node) -> impl Iterator<Item = &Arc<str>> {
        let stays = |name: &&Arc<str>| self.nodes.get(*name).is_some_and(Node::is_kept);
        self.dependents(&node.id.name).filter(stays)
    }

    /// What must go before it: what stands on it, itself or through a check or a oneshot, which are
    /// gone the moment they are not wanted while what stood on them may still run. `last`: what it was when
    /// this was last asked. Of many that go one by one each is then looked at once.
    pub fn held_back_by(&self, name: &str, last: Option<&Arc<str>>) -> Option<Arc<str>> {
        if let Some(last) = last {
            let after = (Bound::Included(&**last), Bound::Unbounded);
            let mut rest =
                self.dependents.get(name).into_iter().flat_map(|d| d.range::<str, _>(after));
            if let Some(found) = rest.find(|dependent| self.holds_back(dependent, name, true)) {
                return Some(found.clone());
            }
        }
        let mut passed: BTreeSet<&str> = BTreeSet::new();
        let mut todo = vec![name];
        while let Some(at) = todo.pop() {
            // A oneshot that is done stays so, whatever becomes of what it needed.
            let goes = at == name || !self.has(at);
            for dependent in self.dependents(at) {
                if self.holds_back(dependent, at, goes)
                    && (at == name || !self.closes_cycle(dependent, name))
                {
                    return Some(dependent.clone());
                }
                let through = self.nodes.get(dependent).filter(|n| n.may_bear() && !n.is_living());
                if through.is_some_and(|node| node.needs(at)) && passed.insert(dependent) {
                    todo.push(dependent);
                }
            }
        }
        None
    }

    /// `goes`: whether `name` is no longer there for who stands on it, or soon will not be.
    fn holds_back(&self, dependent: &str, name: &str, goes: bool) -> bool {
        let gives_way = |other: &Node| other.gives_way(if goes { Some(name) } else { None });
        self.nodes.get(dependent).is_some_and(|other| other.needs(name) && gives_way(other))
    }

    /// Which of what it needs is not there, by its place; looked for from `last` on, which was the
    /// answer when this was last asked.
    pub fn missing(&self, node: &Node, last: usize) -> Option<usize> {
        let needs = &node.definition.needs;
        let last = last.min(needs.len());
        let mut places = (last..needs.len()).chain(0..last);
        places.find(|place| !self.has(&needs[*place].service))
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
        let mut missing = needs.filter(|name| !self.has(name));
        let mut words: Vec<String> =
            missing.by_ref().take(NAMED).map(|name| self.missing_words(name)).collect();
        match missing.count() {
            0 => {}
            more => words.push(format!("and {more} more")),
        }
        format!("waits for {}", words.join(", "))
    }

    fn missing_words(&self, name: &str) -> String {
        let Some(need) = self.nodes.get(name) else { return format!("{name} (unknown)") };
        if need.unheard {
            return format!("{name} ({})", need.message);
        }
        match need.state() {
            State::Failed | State::Backoff | State::Done => {
                format!("{name} ({}: {})", need.state().in_word(), need.message)
            }
            State::Unhealthy => format!("{name} (unhealthy: {})", health::failing_words(need)),
            // Ready ones are waited for only while they are about to go.
            State::Ready => format!("{name} (about to stop)"),
            State::Down | State::Waiting | State::Starting | State::Stopping | State::Unknown => {
                format!("{name} ({})", need.state().in_word())
            }
        }
    }

    /// What there is to say of it: of one that waits, how things are with what it waits for now.
    pub fn said(&self, node: &Node) -> String {
        match (node.linger, node.phase) {
            (Some(linger), _) => linger.words(),
            (None, Phase::Waiting) => self.waiting_words(node),
            (None, _) => node.message.clone(),
        }
    }

    /// Puts names in file order.
    pub fn sort(&self, names: &mut [Arc<str>]) {
        names.sort_by_key(|name| self.nodes.get(name).map(|node| node.definition.order));
    }
}
