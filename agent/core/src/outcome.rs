//! When a verb that waits has its answer.

use std::sync::Arc;

use crate::{World, plan, project::Project};

/// What a verb waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// All is ready, or one has failed for good.
    Ready,
    /// All trees are empty.
    Down,
}

/// How a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is ready (a oneshot: done).
    Ready,
    /// All is down.
    Down,
    /// It will not come to it without being asked again.
    Failed {
        /// What failed for good, in file order.
        failed: Vec<Arc<str>>,
        /// What has not reached the goal, the failed ones left out, in file order.
        not_ready: Vec<Arc<str>>,
    },
}

impl World {
    /// Whether `targets` (empty: all; for `Ready` all that are enabled) have come to `goal`, or
    /// can't. `None`: not decided yet.
    ///
    /// For `Ready` what the targets need counts as well. A goal that a later command has
    /// overtaken (a `down` during the wait of an `up`, or the reverse) is failed with nothing in
    /// `failed`: the last want wins, and nobody waits for the other.
    #[must_use]
    pub fn outcome(&self, project: &str, targets: &[Arc<str>], goal: Goal) -> Option<Outcome> {
        let empty = Project::default();
        let project = self.project(project).unwrap_or(&empty);
        match goal {
            Goal::Ready => ready(project, targets),
            Goal::Down => down(project, targets),
        }
    }
}

fn ready(project: &Project, targets: &[Arc<str>]) -> Option<Outcome> {
    let roots: Vec<Arc<str>> = if targets.is_empty() {
        let all = project.nodes.iter();
        all.filter(|(_, n)| n.definition.enabled && !n.gone).map(|(name, _)| name.clone()).collect()
    } else {
        targets.to_vec()
    };
    let (mut failed, mut not_ready, mut overtaken) = (Vec::new(), Vec::new(), false);
    // What only an old life needed, which is on its way out, is not waited for.
    for name in plan::reach(roots, |name| project.next_needs_of(name)) {
        let Some(node) = project.nodes.get(&name) else {
            overtaken = true;
            not_ready.push(name);
            continue;
        };
        overtaken |= node.is_unwanted();
        if node.has_failed() {
            failed.push(name);
        } else if !node.has_arrived() {
            // What waits for a service that ended by itself waits for ever.
            overtaken |= project.waits_for_ended(node);
            not_ready.push(name);
        }
    }
    if failed.is_empty() && not_ready.is_empty() {
        return Some(Outcome::Ready);
    }
    if failed.is_empty() && !overtaken {
        return None;
    }
    project.sort(&mut failed);
    project.sort(&mut not_ready);
    Some(Outcome::Failed { failed, not_ready })
}

fn down(project: &Project, targets: &[Arc<str>]) -> Option<Outcome> {
    let all = project.nodes.values();
    let mine = all.filter(|node| targets.is_empty() || targets.contains(&node.id.name));
    let left: Vec<_> = mine.filter(|node| !node.is_down()).collect();
    if left.is_empty() {
        return Some(Outcome::Down);
    }
    if left.iter().all(|node| node.is_unwanted()) {
        return None;
    }
    let mut not_ready: Vec<_> = left.iter().map(|node| node.id.name.clone()).collect();
    project.sort(&mut not_ready);
    Some(Outcome::Failed { failed: Vec::new(), not_ready })
}
