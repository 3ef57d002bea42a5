//! Nodes without a process: a check is its readiness tests, asked for as long as it is wanted.
//!
//! Invariant: a check's life is its tests being asked, nothing else. It begins when what the check
//! needs is there and is over at once when it is not wanted any more, so no deed of processes
//! (`Spawn`, `Stop`, `Kill`, `Acknowledge`, `MarkReady`) is ever given for it, and nothing that it
//! needs waits for it. Else a check would be a service that nobody can end.
//!
//! A check tells how things are, so it has a verdict before it was ever ready: it is `unhealthy` as
//! soon as a test has failed as often as it may, or when its `start_timeout` is over. It is asked on
//! all the same.

use std::sync::Arc;

use crate::{
    node::{Next, Node, Phase},
    nouns::{Kind, Want},
    tick,
    world::Turn,
};

impl Node {
    pub fn is_check(&self) -> bool {
        self.definition.kind == Kind::Check
    }

    /// Whether somebody who only wants to know how it stands has his answer.
    pub fn has_verdict(&self) -> bool {
        self.is_check() && self.phase == Phase::Unhealthy && !self.unheard && !self.again
    }

    /// Whether somebody who can't do without it has waited long enough. It is asked on.
    pub fn is_overdue(&self) -> bool {
        self.is_check() && self.life.overdue && self.phase == Phase::Unhealthy
    }
}

impl Turn<'_> {
    /// Begins to ask.
    pub fn begin_check(&mut self, name: &Arc<str>) {
        let now = self.now;
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        node.begin(now);
        node.phase = Phase::Starting;
        node.message = "asked for the first time".into();
        self.watch_start(name);
    }

    /// It is asked no more. What follows is decided as for any node without a process.
    pub fn end_check(&mut self, name: &Arc<str>, message: String) {
        self.cancel_probes(name);
        if let Some(node) = self.project.nodes.get_mut(name) {
            node.message = message;
        }
        self.over(name, Next::Down);
    }

    /// A check that was restored is asked anew. What was seen of it last holds until its tests say
    /// otherwise.
    pub fn resume_check(&mut self, name: &Arc<str>) {
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        if !std::mem::take(&mut node.unheard) {
            return;
        }
        // Given back, or told to go, before it was heard: it is about to end.
        if node.want == Want::Down {
            return;
        }
        match node.phase {
            Phase::Starting => self.watch_start(name),
            Phase::Ready | Phase::Unhealthy => self.watch_ready(name),
            Phase::Spawning | Phase::Stopping(_) | Phase::Ended(_) => {}
            Phase::Down | Phase::Waiting | Phase::Backoff { .. } | Phase::Done | Phase::Failed => {}
        }
    }

    /// It is not ready in time. Who needs it, or asked for it, is told so; it is asked on.
    pub fn check_is_overdue(&mut self, name: &Arc<str>) {
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        node.life.overdue = true;
        if node.phase == Phase::Starting {
            node.message = tick::overdue_words(node);
            node.phase = Phase::Unhealthy;
        }
    }
}
