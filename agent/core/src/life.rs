//! News of a life: started, exited, emptied, lost.
//!
//! Invariant: the exit is taken (kept, and judged) before the shim is acknowledged, and a life is
//! over only when its tree is; so no two lives of a service ever run at the same time, and no exit
//! is lost with its shim.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    action::Action,
    advance::stopped_words,
    node::{Next, Phase, Why},
    nouns::{Exit, Want},
    restart::{self, Cause},
    words,
    world::Turn,
};

impl Turn<'_> {
    pub fn started(&mut self, name: &Arc<str>, life: u64, pid: u32) {
        let now = self.now;
        let Some(node) = self.process(name, life) else { return };
        match node.phase {
            Phase::Spawning => {
                node.life.pid = Some(pid);
                node.life.began = now;
                node.history.has_started = true;
                node.phase = Phase::Starting;
                self.watch_start(name);
            }
            Phase::Stopping(_) => {
                node.life.pid = Some(pid);
                node.history.has_started = true;
            }
            // Said before, or not living at all.
            Phase::Starting | Phase::Ready | Phase::Unhealthy | Phase::Ended(_) => {}
            Phase::Down | Phase::Waiting | Phase::Backoff { .. } | Phase::Done | Phase::Failed => {}
        }
        self.look_at(name);
    }

    pub fn start_failed(&mut self, name: &Arc<str>, life: u64, reason: String) {
        let now = self.now;
        let Some(node) = self.process(name, life) else { return };
        let last = format!("could not be started: {reason}");
        let next = match node.phase {
            Phase::Spawning => {
                let (next, message) = restart::follow(node, &Cause::NotStarted, last, now);
                node.message = message;
                next
            }
            Phase::Stopping(_) if node.life.pid.is_none() => {
                node.message = last;
                Next::Down
            }
            // It was started: this can't be of the life that we know.
            Phase::Stopping(_)
            | Phase::Starting
            | Phase::Ready
            | Phase::Unhealthy
            | Phase::Ended(_) => return,
            Phase::Down | Phase::Waiting | Phase::Backoff { .. } | Phase::Done | Phase::Failed => {
                return;
            }
        };
        self.acknowledge(name);
        self.over(name, next);
    }

    pub fn exited(&mut self, name: &Arc<str>, life: u64, exit: Exit) {
        let Some(node) = self.process(name, life) else { return };
        match node.phase {
            Phase::Spawning | Phase::Starting | Phase::Ready | Phase::Unhealthy => {
                self.ended_by_itself(name, exit);
            }
            Phase::Stopping(why) => self.ended_as_told(name, why, exit),
            Phase::Ended(_) => {}
            Phase::Down | Phase::Waiting | Phase::Backoff { .. } | Phase::Done | Phase::Failed => {}
        }
        self.look_at(name);
    }

    fn ended_by_itself(&mut self, name: &Arc<str>, exit: Exit) {
        self.cancel_probes(name);
        let now = self.now;
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        let last = words::exit(&exit);
        let ready = matches!(node.phase, Phase::Ready | Phase::Unhealthy);
        let asked = node.want == Want::Down || node.again || node.pending.is_some();
        let (next, message) = if asked {
            (Next::Down, last)
        } else {
            let cause = Cause::Exit { success: exit.code == Some(0), ready };
            restart::follow(node, &cause, last, now)
        };
        node.phase = Phase::Ended(next);
        node.message = message;
        node.exit = Some(exit);
        node.leaving = None;
        node.life.kill_at = Some(now.after(node.definition.stop_timeout));
    }

    fn ended_as_told(&mut self, name: &Arc<str>, why: Why, exit: Exit) {
        let now = self.now;
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        let asked = node.want == Want::Down || node.again || node.pending.is_some();
        let (next, message) = match why {
            Why::Down | Why::Restart | Why::Lost => (Next::Down, stopped_words(node, &exit)),
            // Something else has been asked for since.
            Why::Overdue if asked => (Next::Down, stopped_words(node, &exit)),
            Why::Overdue => {
                let last = node.message.clone();
                restart::follow(node, &Cause::Overdue, last, now)
            }
        };
        node.phase = Phase::Ended(next);
        node.message = message;
        node.exit = Some(exit);
    }

    pub fn emptied(&mut self, name: &Arc<str>, life: u64) {
        let Some(next) = self.next_of(name, life, "") else { return };
        self.acknowledge(name);
        self.over(name, next);
    }

    pub fn shim_lost(&mut self, name: &Arc<str>, life: u64, at: String, left: &[u32]) {
        let Some(next) = self.next_of(name, life, &at) else { return };
        if !left.is_empty()
            && let Some(node) = self.project.nodes.get_mut(name)
        {
            node.message = format!("{}; {}", node.message, words::left(left));
        }
        self.over(name, next);
    }

    pub fn unstartable(&mut self, name: &Arc<str>, life: u64, reason: String) {
        let Some(node) = self.process(name, life) else { return };
        let next = match node.phase {
            Phase::Spawning => Next::Failed,
            Phase::Stopping(_) if node.life.pid.is_none() => Next::Down,
            Phase::Stopping(_)
            | Phase::Starting
            | Phase::Ready
            | Phase::Unhealthy
            | Phase::Ended(_) => return,
            Phase::Down | Phase::Waiting | Phase::Backoff { .. } | Phase::Done | Phase::Failed => {
                return;
            }
        };
        node.message = reason;
        self.over(name, next);
    }

    /// What follows this life, whose end nobody saw if it wasn't told before.
    fn next_of(&mut self, name: &Arc<str>, life: u64, at: &str) -> Option<Next> {
        self.process(name, life)?;
        // Does nothing where the exit is known.
        self.exited(name, life, Exit { code: None, signal: None, at: at.into() });
        match self.process(name, life)?.phase {
            Phase::Ended(next) => Some(next),
            Phase::Spawning
            | Phase::Starting
            | Phase::Ready
            | Phase::Unhealthy
            | Phase::Stopping(_) => None,
            Phase::Down | Phase::Waiting | Phase::Backoff { .. } | Phase::Done | Phase::Failed => {
                None
            }
        }
    }

    fn acknowledge(&mut self, name: &str) {
        if let Some(node) = self.project.nodes.get(name) {
            self.actions.push(Action::Acknowledge { id: node.id.clone(), life: node.life.number });
        }
    }

    /// The life is over; what was held back for its sake comes into force.
    pub fn over(&mut self, name: &Arc<str>, next: Next) {
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        let asked = node.want == Want::Down || node.again || node.pending.is_some();
        node.phase = match next {
            _ if asked => Phase::Down,
            Next::Down => Phase::Down,
            Next::Backoff { until } => Phase::Backoff { until },
            Next::Done => Phase::Done,
            Next::Failed => Phase::Failed,
        };
        node.leaving = None;
        node.life.runs.clear();
        self.project.edition += u64::from(node.pending.is_some());
        if node.renew() {
            self.relink(name);
        }
        self.look_at(name);
    }

    /// Its needs have changed with its definition.
    fn relink(&mut self, name: &Arc<str>) {
        let needed = self.project.nodes.get(name).map(|node| node.linked.clone());
        self.project.link(name);
        let mut unheld = false;
        for need in needed.iter().flatten() {
            // What only the old life needed has lost its holder.
            let node = self.project.nodes.get(need);
            unheld |= node.is_some_and(|node| !self.project.is_held(node));
        }
        if unheld {
            self.weigh(&BTreeSet::new());
        }
        // What the old life needed may have waited for its end, and is no neighbour now.
        self.look_at_needs(needed.unwrap_or_default());
    }
}
