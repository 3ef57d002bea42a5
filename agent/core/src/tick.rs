//! What the passing of time alone does to a node.
//!
//! Invariant: a deadline that has come is used up, so that the next one lies ahead; the driver
//! would spin otherwise.

use std::sync::Arc;

use crate::{
    action::Action,
    node::{Node, Phase, Why},
    nouns::{Kind, Want},
    time::Time,
    words,
    world::Turn,
};

impl Turn<'_> {
    pub fn tick(&mut self, name: &Arc<str>) {
        let now = self.now;
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        come(&mut node.life.held_until, now);
        if node.linger.is_some_and(|linger| linger.until <= now) {
            self.end_linger(name);
        }
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        match node.phase {
            // A backoff that is over is seen when it is looked at.
            Phase::Down | Phase::Waiting | Phase::Backoff { .. } | Phase::Done | Phase::Failed => {}
            Phase::Spawning => self.stop_if_overdue(name),
            Phase::Starting => {
                if come(&mut node.life.settle_at, now) {
                    self.ready(name);
                } else {
                    come(&mut node.life.grace_at, now);
                    self.stop_if_overdue(name);
                }
            }
            Phase::Unhealthy if node.is_check() => {
                come(&mut node.life.grace_at, now);
                self.stop_if_overdue(name);
            }
            Phase::Ready | Phase::Unhealthy => {}
            Phase::Stopping(_) | Phase::Ended(_) => {
                if come(&mut node.life.kill_at, now) {
                    node.life.killed = true;
                    let (id, life) = (node.id.clone(), node.life.number);
                    self.actions.push(Action::Kill { id, life });
                }
            }
        }
        self.ask(name);
        self.look_at(name);
    }

    fn stop_if_overdue(&mut self, name: &Arc<str>) {
        let now = self.now;
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        if !come(&mut node.life.overdue_at, now) {
            return;
        }
        if node.is_check() {
            return self.check_is_overdue(name);
        }
        // One that is to go anyway goes in its turn.
        node.life.overdue_at = node.linger.map(|linger| linger.until);
        let goes = node.linger.is_some() || node.leaving.is_some() || node.want == Want::Down;
        if !goes {
            let message = overdue_words(node);
            self.stop(name, Why::Overdue, message);
        }
    }
}

/// Whether it has come; used up then.
fn come(deadline: &mut Option<Time>, now: Time) -> bool {
    deadline.take_if(|at| *at <= now).is_some()
}

pub(crate) fn overdue_words(node: &Node) -> String {
    let limit = words::duration(node.definition.start_timeout.unwrap_or_default());
    match node.definition.kind {
        Kind::Oneshot => format!("not done within {limit}"),
        Kind::Service | Kind::Check => {
            let open = node.tests().find(|(_, run)| !run.passes());
            let last = open.map_or("", |(test, run)| match &run.verdict {
                Some(verdict) => verdict.message(),
                None => &test.silent,
            });
            match last {
                "" => format!("not ready within {limit}"),
                last => format!("not ready within {limit}: {last}"),
            }
        }
    }
}
