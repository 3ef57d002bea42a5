//! Taking over shims of an agent that is no more.
//!
//! Invariant: what lives is never started a second time, and nothing that runs is stopped because
//! an agent died. So an adopted service counts as named by `up`, and its definition is the one that
//! it was started with until a command brings the file. Shims are found one by one: none is told to
//! stop before the next tick (which is due at once), when those that must go first are known too.

use std::sync::Arc;

use crate::{
    definition::Definition,
    node::{Life, Node, Phase, Why},
    nouns::{Exit, Kind, Want},
    tick,
    time::Time,
    world::Turn,
};

/// A shim as it was found; see [`crate::Event::Adopted`].
pub(crate) struct Found {
    pub definition: Option<Definition>,
    pub life: u64,
    pub pid: Option<u32>,
    pub exit: Option<Exit>,
    pub ready: bool,
    pub want: Want,
    pub restarts: u32,
    pub stopping: bool,
}

impl Turn<'_> {
    pub fn adopted(&mut self, name: &Arc<str>, mut found: Found) {
        let known = self.project.nodes.get(name);
        if known.is_some_and(|node| node.is_living() && !node.unheard) {
            return;
        }
        if known.is_none_or(Node::is_check) && found.definition.is_none() {
            return;
        }
        if known.is_some_and(Node::is_check) {
            self.end_check(name, "a process of that name was found".into());
        }
        let known = self.project.nodes.get(name);
        // No file was ever so, but notes can be damaged, and a cycle would never stop.
        if let Some(definition) = &mut found.definition {
            definition.needs.retain(|need| !self.project.closes_cycle(name, &need.service));
        }
        self.project.edition += 1;
        let restored = known.is_some_and(|node| node.restored);
        self.insert(name, &mut found);
        self.project.link(name);
        // One that was found before it may need it, and did not know it yet.
        let known = self.project.nodes.get(name);
        let held = known.is_some_and(|node| self.project.is_held(node));
        if held || found.want == Want::Up && !restored {
            self.raise(name);
        }
        let exit = found.exit.take();
        self.set_life(name, &found, exit.is_some());
        if let Some(exit) = exit {
            self.exited(name, found.life, exit);
        }
        self.look_at(name);
    }

    fn insert(&mut self, name: &Arc<str>, found: &mut Found) {
        let id = self.id(name);
        self.numbers.remove(&id);
        let definition = found.definition.take();
        match (self.project.nodes.get_mut(name), definition) {
            (Some(node), Some(definition)) => node.runs_with(definition),
            (None, Some(definition)) => {
                let node = Node::new(id, definition, found.life, self.now);
                self.project.nodes.insert(name.clone(), node);
            }
            (Some(_) | None, None) => {}
        }
        if let Some(node) = self.project.nodes.get_mut(name) {
            node.named |= found.want == Want::Up && !node.restored;
            node.fault = None;
        }
    }

    fn set_life(&mut self, name: &Arc<str>, found: &Found, over: bool) {
        let now = self.now;
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        // What was seen of this very life by the agent that is no more.
        let before = (node.unheard && node.lives(found.life)).then_some(node.phase);
        node.unheard = false;
        node.leaving = None;
        node.history.has_started |= found.pid.is_some() || over;
        if node.restored {
            node.history.restarts = node.history.restarts.max(found.restarts);
        } else {
            node.history.restarts = found.restarts;
            node.again = false;
        }
        if before.is_some() {
            node.life.pid = found.pid.or(node.life.pid);
            node.life.held_until = Some(now);
        } else {
            node.message = "taken over by a new agent".into();
            node.life = Life {
                number: found.life,
                pid: found.pid,
                began: now,
                held_until: Some(now),
                overdue_at: node.definition.start_timeout.map(|limit| now.after(limit)),
                ..Life::default()
            };
        }
        node.phase = node.phase_of(found, before, over, now);
        node.life.met |= matches!(node.phase, Phase::Ready | Phase::Unhealthy);
        match node.phase {
            Phase::Stopping(_) => {
                node.life.kill_at.get_or_insert(now.after(node.definition.stop_timeout));
            }
            Phase::Starting if !over => self.watch_start(name),
            Phase::Ready | Phase::Unhealthy if !over => self.watch_ready(name),
            Phase::Starting | Phase::Ready | Phase::Unhealthy | Phase::Spawning => {}
            Phase::Ended(_) => {}
            Phase::Down | Phase::Waiting | Phase::Backoff { .. } | Phase::Done | Phase::Failed => {}
        }
    }

    /// Sets want up on a node and on all that it needs and that nobody holds yet.
    fn raise(&mut self, name: &Arc<str>) {
        let mut todo = vec![name.clone()];
        while let Some(name) = todo.pop() {
            let Some(node) = self.project.nodes.get_mut(&name) else { continue };
            if node.want == Want::Down || node.linger.take().is_some() {
                if node.want == Want::Down {
                    node.set_want(Want::Up);
                }
                todo.extend(self.project.needs_of(&name));
                self.look_at(&name);
            }
        }
    }
}

impl Node {
    /// Takes what a life that was found was started with. What is known is of a later command, if
    /// it is another one: that is for the next life.
    fn runs_with(&mut self, definition: crate::Definition) {
        if self.want == Want::Down && !self.restored {
            self.definition = definition;
            return;
        }
        let print = definition.fingerprint;
        if self.pending.as_ref().is_some_and(|pending| pending.fingerprint == print) {
            self.pending = None;
            self.definition = definition;
        } else if self.definition.fingerprint != print {
            let newer = std::mem::replace(&mut self.definition, definition);
            self.pending.get_or_insert(Box::new(newer));
        }
    }

    /// What is seen of a life that was found. `before`: what was seen of it last. `over`: its leader
    /// has ended, and that is judged next.
    fn phase_of(&mut self, found: &Found, before: Option<Phase>, over: bool, now: Time) -> Phase {
        match before {
            // That exit was judged already.
            Some(Phase::Ended(next)) if over => return Phase::Ended(next),
            Some(Phase::Stopping(why)) if found.stopping || over => return Phase::Stopping(why),
            // It was told to stop, and never heard it.
            Some(Phase::Stopping(Why::Restart)) => self.again = self.want == Want::Up,
            Some(
                Phase::Stopping(_)
                | Phase::Ended(_)
                | Phase::Spawning
                | Phase::Starting
                | Phase::Ready
                | Phase::Unhealthy,
            )
            | None => {}
            Some(
                Phase::Down | Phase::Waiting | Phase::Backoff { .. } | Phase::Done | Phase::Failed,
            ) => {}
        }
        // That it was told to stop was not saved any more, and why can still be seen.
        let starting = matches!(before, Some(Phase::Spawning | Phase::Starting));
        let overdue = starting && self.life.overdue_at.is_some_and(|at| at <= now);
        if found.stopping && overdue && self.want == Want::Up {
            self.message = tick::overdue_words(self);
            Phase::Stopping(Why::Overdue)
        } else if found.stopping {
            let why = if self.want == Want::Down { Why::Down } else { Why::Restart };
            Phase::Stopping(why)
        } else if found.pid.is_none() && !over {
            Phase::Spawning
        } else if found.ready && self.definition.kind == Kind::Service {
            if before == Some(Phase::Unhealthy) { Phase::Unhealthy } else { Phase::Ready }
        } else {
            Phase::Starting
        }
    }
}
