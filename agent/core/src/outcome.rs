//! When a verb that waits has its answer.

use std::{collections::BTreeSet, sync::Arc};

use crate::{World, node::Node, plan, project::Project};

/// What a verb waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// All is ready, or one has failed for good. What is not wanted any more ends the wait.
    Ready,
    /// The same for somebody who asks for nothing: what is not wanted yet is waited for until
    /// somebody wants it.
    Arrive,
    /// All trees are empty.
    Down,
}

/// How a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is ready (a oneshot: done; a check that nobody needs or named: it has a verdict).
    Ready,
    /// All is down.
    Down,
    /// It will not come to it without being asked again.
    Failed {
        /// What failed for good, in file order; of checks, what was not ready in time.
        failed: Vec<Arc<str>>,
        /// What has not reached the goal, the failed ones left out, in file order.
        not_ready: Vec<Arc<str>>,
    },
}

impl World {
    /// Whether `targets` (empty: all; for `Ready` and `Arrive` all that are enabled) have come to
    /// `goal`, or can't. `None`: not decided yet.
    ///
    /// For `Ready` and `Arrive` what the targets need counts as well. A check must become ready where
    /// a target or what it needs needs it, or where it is named; one that merely is there has arrived with
    /// its first verdict, whatever it is. A goal that a later command has
    /// overtaken (a `down` during the wait of an `up`, or the reverse) is failed with nothing in
    /// `failed`: the last want wins, and nobody waits for the other.
    #[must_use]
    pub fn outcome(&self, project: &str, targets: &[Arc<str>], goal: Goal) -> Option<Outcome> {
        let empty = Project::default();
        let project = self.project(project).unwrap_or(&empty);
        match goal {
            Goal::Ready | Goal::Arrive => ready(project, targets, goal),
            Goal::Down => down(project, targets),
        }
    }
}

fn ready(project: &Project, targets: &[Arc<str>], goal: Goal) -> Option<Outcome> {
    let roots: Vec<Arc<str>> = if targets.is_empty() {
        let all = project.nodes.iter();
        all.filter(|(_, n)| n.definition.enabled && !n.gone).map(|(name, _)| name.clone()).collect()
    } else {
        targets.to_vec()
    };
    let (mut failed, mut not_ready, mut overtaken) = (Vec::new(), Vec::new(), false);
    let waits = |node: &Node| goal == Goal::Arrive && node.is_unwanted();
    // What only an old life needed, which is on its way out, is not waited for.
    let reached = plan::reach(roots, |name| match project.nodes.get(name) {
        // What it will need is known when it is wanted.
        Some(node) if waits(node) => Vec::new(),
        Some(_) | None => project.next_needs_of(name),
    });
    let needed: BTreeSet<Arc<str>> =
        reached.iter().flat_map(|name| project.next_needs_of(name)).collect();
    for name in reached {
        let Some(node) = project.nodes.get(&name) else {
            overtaken |= goal == Goal::Ready;
            not_ready.push(name);
            continue;
        };
        overtaken |= node.is_unwanted() && !waits(node);
        let matters = !node.is_check() || needed.contains(&name) || targets.contains(&name);
        if node.has_failed() || matters && node.is_overdue() {
            failed.push(name);
        } else if !node.has_arrived() && (matters || !node.has_verdict()) {
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
