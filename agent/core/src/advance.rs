//! What follows for a node from what is wanted of it, what it is, and what its neighbours are.
//!
//! Invariant: a node is started only while all that it needs satisfies, and told to stop only when
//! nothing that gives way to it lives any more. Both are judged here and nowhere else, from the
//! present facts; a node whose facts change has its neighbours looked at again. It ends because
//! within one step facts only move one way: going nodes wait for their dependents, coming ones
//! for their needs, and the graph has no cycle.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    action::{Action, Transition},
    node::{Facts, Next, Node, Phase, Why},
    nouns::Want,
    words,
    world::Turn,
};

impl Turn<'_> {
    /// Looks at nodes until there is nothing left that could change.
    pub fn finish(&mut self) {
        while let Some(name) = self.queue.pop_front() {
            self.advance(&name);
        }
    }

    fn advance(&mut self, name: &Arc<str>) {
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        node.queued = false;
        // Who was looked at before it in this step may have gone by this.
        let seen = node.facts();
        self.drop_linger_if_bad(name);
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        match node.phase {
            Phase::Down | Phase::Waiting | Phase::Backoff { .. } | Phase::Done | Phase::Failed => {
                self.rest(name)
            }
            Phase::Spawning | Phase::Starting | Phase::Ready | Phase::Unhealthy => {
                self.run(name);
                // A check that has ended left nothing to wait for.
                if self.project.nodes.get(name).is_some_and(|node| !node.is_living()) {
                    self.rest(name);
                }
            }
            Phase::Stopping(_) => {}
            Phase::Ended(_) => leave(node),
        }
        // It may have been told to end just now.
        self.drop_linger_if_bad(name);
        self.tell(name, seen);
        self.arm(name);
        self.drop_if_gone(name);
    }

    /// A node without a process.
    fn rest(&mut self, name: &Arc<str>) {
        let now = self.now;
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        if node.unheard {
            return;
        }
        if node.want == Want::Down {
            node.again = false;
            if node.phase != Phase::Down {
                node.phase = Phase::Down;
                node.message = "not wanted any more".into();
            }
            return;
        }
        if let Some(fault) = &node.fault {
            node.again = false;
            node.phase = Phase::Failed;
            node.message.clone_from(fault);
            return;
        }
        let due = match node.phase {
            Phase::Down | Phase::Waiting => true,
            Phase::Backoff { until } => node.again || until <= now,
            Phase::Done | Phase::Failed => node.again,
            Phase::Spawning
            | Phase::Starting
            | Phase::Ready
            | Phase::Unhealthy
            | Phase::Stopping(_)
            | Phase::Ended(_) => false,
        };
        if due {
            self.start_or_wait(name);
        }
    }

    fn start_or_wait(&mut self, name: &Arc<str>) {
        let Some(node) = self.project.nodes.get(name) else { return };
        let missing = self.project.missing(node, node.missing);
        // What it waits for later is said when somebody asks.
        let begins = missing.is_some() && node.phase != Phase::Waiting;
        let words = begins.then(|| self.project.waiting_words(node));
        let now = self.now;
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        node.missing = missing.unwrap_or(0);
        if missing.is_some() {
            node.phase = Phase::Waiting;
            if let Some(words) = words {
                node.message = words;
            }
            return;
        }
        if node.is_check() {
            return self.begin_check(name);
        }
        node.begin(now);
        node.phase = Phase::Spawning;
        node.message = "starting".into();
        self.actions.push(Action::Spawn { id: node.id.clone(), life: node.life.number });
    }

    /// A node whose process runs: does it have to go?
    fn run(&mut self, name: &Arc<str>) {
        let Some(node) = self.project.nodes.get(name) else { return };
        if node.life.held_until.is_some() || node.unheard {
            return;
        }
        let mut lost = None;
        let (why, words) = if node.want == Want::Down {
            (Why::Down, "not wanted any more")
        } else if node.pending.is_some() {
            (Why::Restart, "its definition changed")
        } else if node.again {
            (Why::Restart, "restart was asked for")
        } else if let Some(need) = self.project.lost_need(node) {
            lost = Some(need);
            (Why::Lost, " is no longer ready")
        } else {
            let now = self.now;
            if let Some(node) = self.project.nodes.get_mut(name)
                && node.leaving.take().is_some()
            {
                // It stays after all, and has its time to get ready once more.
                node.life.overdue_at = node.definition.start_timeout.map(|limit| now.after(limit));
            }
            return;
        };
        // It is looked at often before it may go: the words are made when it does.
        let message = || format!("{}{words}", lost.as_deref().unwrap_or_default());
        if node.is_check() {
            self.end_check(name, message());
            return;
        }
        let held_back_by = self.project.held_back_by(name, node.held_back_by.as_ref());
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        match held_back_by {
            Some(other) => {
                node.leaving = Some(why);
                node.held_back_by = Some(other);
            }
            None => self.stop(name, why, message()),
        }
    }

    /// Tells a running node to end.
    pub fn stop(&mut self, name: &str, why: Why, message: String) {
        self.cancel_probes(name);
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        node.phase = Phase::Stopping(why);
        node.message = message;
        node.again = false;
        node.leaving = None;
        node.held_back_by = None;
        node.life.kill_at = Some(self.now.after(node.definition.stop_timeout));
        self.actions.push(Action::Stop { id: node.id.clone(), life: node.life.number });
    }

    /// Says a change of state to everybody, and a change of facts to the neighbours.
    fn tell(&mut self, name: &Arc<str>, seen: Facts) {
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        let (from, to) = (node.shown, node.state());
        if from != to {
            node.shown = to;
            node.since = self.now;
            let (id, message) = (node.id.clone(), node.message.clone());
            self.actions.push(Action::Changed(Transition { id, from, to, message }));
            self.project.shows(name, to);
        }
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        let (marks, facts) = (node.marks(), node.facts());
        if marks.may_end_a_wait(node.marks) {
            self.project.edition += 1;
        }
        node.marks = marks;
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        if node.told != facts || seen != facts {
            node.told = facts;
            self.look_at_neighbours(name);
        }
    }

    fn look_at_neighbours(&mut self, name: &Arc<str>) {
        let dependents: Vec<Arc<str>> = self.project.dependents(name).cloned().collect();
        for dependent in &dependents {
            self.look_at(dependent);
        }
        let needs = self.project.nodes.get(name).map(|node| node.linked.clone());
        self.look_at_needs(needs.unwrap_or_default());
    }

    /// Looks at what is needed, also through what may bear others without a process: what stands on that
    /// holds back what it needs.
    pub fn look_at_needs(&mut self, mut needs: Vec<Arc<str>>) {
        // What old and new definitions need together may go in a circle.
        let mut passed: BTreeSet<Arc<str>> = BTreeSet::new();
        while let Some(need) = needs.pop() {
            let node = self.project.nodes.get(&need);
            let through = node.filter(|node| node.may_bear());
            if let Some(through) = through.filter(|_| passed.insert(need.clone())) {
                needs.extend(through.linked.iter().cloned());
            }
            self.look_at(&need);
        }
    }

    /// Forgets a service that the file no longer has, once it is down. Its number is kept: a
    /// service of that name may come back, and its lives count on.
    fn drop_if_gone(&mut self, name: &Arc<str>) {
        // One that is unheard is shown as it was yet.
        let droppable = |n: &Node| n.gone && n.is_down() && n.phase == Phase::Down;
        let droppable = self.project.nodes.get(name).is_some_and(droppable);
        // What it needs waits through it for what stands on it.
        let living = |name| self.project.nodes.get(name).is_some_and(Node::is_living);
        let droppable = droppable && !self.project.dependents(name).any(living);
        if droppable && let Some(node) = self.project.remove(name) {
            self.numbers.insert(node.id, node.life.number);
        }
    }

    /// Sets want anew on every node, from what is named. What nobody holds any more lingers, unless
    /// it is to go `at_once`.
    pub fn weigh(&mut self, at_once: &BTreeSet<Arc<str>>) {
        let wanted = self.project.wanted();
        let lingering = self.project.lingering(&wanted, at_once, self.now);
        let mut changed = Vec::new();
        for (name, node) in &mut self.project.nodes {
            let linger = lingering.get(name).copied();
            let stays = linger.is_some() || wanted.contains(name);
            let want = if stays { Want::Up } else { Want::Down };
            if node.want != want {
                node.set_want(want);
                changed.push(name.clone());
            } else if node.linger != linger {
                changed.push(name.clone());
            }
            node.linger = linger;
        }
        for name in &changed {
            self.look_at(name);
        }
    }
}

/// A node whose leader is gone: has something else been asked for than what was to follow?
fn leave(node: &mut Node) {
    if node.want == Want::Down || node.again || node.pending.is_some() {
        node.phase = Phase::Ended(Next::Down);
    }
}

/// Words for the end of a life that was told to stop.
pub(crate) fn stopped_words(node: &Node, exit: &crate::Exit) -> String {
    if node.life.killed {
        format!("killed after {}", words::duration(node.definition.stop_timeout))
    } else {
        words::exit(exit)
    }
}
