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
    world::Turn,
};

/// A shim as it was found; see [`crate::Event::Adopted`].
pub(crate) struct Found {
    pub definition: Definition,
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
        if known.is_some_and(Node::is_living) {
            return;
        }
        // No file was ever so, but notes can be damaged, and a cycle would never stop.
        found.definition.needs.retain(|need| !self.project.closes_cycle(name, &need.service));
        self.insert(name, &mut found);
        self.project.link(name);
        if found.want == Want::Up {
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
        let definition = found.definition.clone();
        match self.project.nodes.get_mut(name) {
            // A command came first: what it brought is for the next life.
            Some(node) if node.want == Want::Up => {
                let newer = std::mem::replace(&mut node.definition, definition);
                if newer.fingerprint != node.definition.fingerprint {
                    node.pending = Some(Box::new(newer));
                }
            }
            Some(node) => node.definition = definition,
            None => {
                let node = Node::new(id, definition, found.life, self.now);
                self.project.nodes.insert(name.clone(), node);
            }
        }
        if let Some(node) = self.project.nodes.get_mut(name) {
            node.named |= found.want == Want::Up;
            node.fault = None;
        }
    }

    fn set_life(&mut self, name: &Arc<str>, found: &Found, over: bool) {
        let now = self.now;
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        node.history.restarts = found.restarts;
        node.history.has_started = found.pid.is_some() || over;
        node.again = false;
        node.leaving = None;
        node.message = "taken over by a new agent".into();
        node.life = Life {
            number: found.life,
            pid: found.pid,
            began: now,
            held_until: Some(now),
            overdue_at: node.definition.start_timeout.map(|limit| now.after(limit)),
            ..Life::default()
        };
        if found.stopping {
            let why = if node.want == Want::Down { Why::Down } else { Why::Restart };
            node.phase = Phase::Stopping(why);
            node.life.kill_at = Some(now.after(node.definition.stop_timeout));
        } else if found.pid.is_none() && !over {
            node.phase = Phase::Spawning;
        } else if found.ready && node.definition.kind == Kind::Service {
            node.phase = Phase::Ready;
            if !over {
                self.watch_ready(name);
            }
        } else {
            node.phase = Phase::Starting;
            if !over {
                self.watch_start(name);
            }
        }
    }

    /// Sets want up on a node and on all that it needs and that isn't wanted yet.
    fn raise(&mut self, name: &Arc<str>) {
        let mut todo = vec![name.clone()];
        while let Some(name) = todo.pop() {
            let Some(node) = self.project.nodes.get_mut(&name) else { continue };
            if node.want == Want::Down {
                node.set_want(Want::Up);
                todo.extend(self.project.needs_of(&name));
                self.look_at(&name);
            }
        }
    }
}
