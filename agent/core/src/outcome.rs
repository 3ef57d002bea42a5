//! When a verb that waits has its answer.
//!
//! Invariant: an answer that is remembered is the one that a fresh look would give. A wait keeps
//! what has not come to its goal yet, and as long as one of that has not, nothing has ended it
//! unless the project's *edition* has changed: that counts everything but a node's coming to a goal.
//! So a thousand services that become ready one by one are not looked at a million times.

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

/// Somebody who waits, with what the last look has shown: of one [`World`], and to be made anew for
/// another one. Cheap to look at again and again with [`World::look`].
#[derive(Clone, Debug)]
pub struct Wait {
    project: Arc<str>,
    targets: BTreeSet<Arc<str>>,
    goal: Goal,
    /// The project's when it was looked at in full; `None`: never.
    edition: Option<u64>,
    /// What had not come to the goal then, less what was seen to have come since.
    open: Vec<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    name: Arc<str>,
    /// A check of which any verdict will do.
    verdict_will_do: bool,
}

impl Wait {
    /// For `targets` of a project (empty: all; for `Ready` and `Arrive` all that are enabled) to
    /// come to `goal`.
    pub fn new(project: Arc<str>, targets: impl IntoIterator<Item = Arc<str>>, goal: Goal) -> Self {
        let targets = targets.into_iter().collect();
        Self { project, targets, goal, edition: None, open: Vec::new() }
    }

    /// In which project.
    #[must_use]
    pub fn project(&self) -> &Arc<str> {
        &self.project
    }
}

impl World {
    /// Whether it has come to the goal, or can't. `None`: not decided yet.
    ///
    /// For `Ready` and `Arrive` what the targets need counts as well. A check must become ready
    /// where one of these needs it, or where it is named; one that merely is there has arrived with
    /// its first verdict, whatever it is. A goal that a later command has overtaken (a `down` during
    /// the wait of an `up`, or the reverse) is failed with nothing in `failed`: the last want wins,
    /// and nobody waits for the other. What lingers is waited for by no `down` that did not name it.
    pub fn look(&self, wait: &mut Wait) -> Option<Outcome> {
        let empty = Project::default();
        let project = self.project(&wait.project).unwrap_or(&empty);
        if wait.edition == Some(project.edition) {
            while let Some(open) = wait.open.last() {
                if !project.nodes.get(&open.name).is_some_and(|node| open.has_come(node, wait.goal))
                {
                    return None;
                }
                wait.open.pop();
            }
        }
        wait.edition = Some(project.edition);
        let (outcome, open) = match wait.goal {
            Goal::Ready | Goal::Arrive => ready(project, &wait.targets, wait.goal),
            Goal::Down => down(project, &wait.targets),
        };
        wait.open = open;
        outcome
    }

    /// One look, for who does not wait.
    #[must_use]
    pub fn outcome(&self, project: &str, targets: &[Arc<str>], goal: Goal) -> Option<Outcome> {
        self.look(&mut Wait::new(project.into(), targets.iter().cloned(), goal))
    }
}

impl Open {
    fn has_come(&self, node: &Node, goal: Goal) -> bool {
        match goal {
            Goal::Ready | Goal::Arrive => {
                node.has_arrived() || self.verdict_will_do && node.has_verdict()
            }
            Goal::Down => node.is_down(),
        }
    }
}

type Looked = (Option<Outcome>, Vec<Open>);

fn ready(project: &Project, targets: &BTreeSet<Arc<str>>, goal: Goal) -> Looked {
    let waits = |node: &Node| goal == Goal::Arrive && node.is_unwanted();
    // What only an old life needed, which is on its way out, is not waited for. What one that is
    // not wanted yet will need is known when it is.
    let reached = plan::reach(roots(project, targets), |name| match project.nodes.get(name) {
        Some(node) if waits(node) => Vec::new(),
        Some(_) | None => project.next_needs_of(name),
    });
    let needed: BTreeSet<Arc<str>> =
        reached.iter().flat_map(|name| project.next_needs_of(name)).collect();
    let (mut failed, mut open, mut overtaken) = (Vec::new(), Vec::new(), false);
    for name in reached {
        let matters = needed.contains(&name) || targets.contains(&name);
        let Some(node) = project.nodes.get(&name) else {
            overtaken |= goal == Goal::Ready;
            open.push(Open { name, verdict_will_do: false });
            continue;
        };
        overtaken |= node.is_unwanted() && !waits(node);
        let one = Open { name, verdict_will_do: node.is_check() && !matters };
        if node.has_failed() || node.is_overdue() && matters {
            failed.push(one.name);
        } else if !one.has_come(node, goal) {
            // What waits for a service that ended by itself waits for ever.
            overtaken |= project.waits_for_ended(node);
            open.push(one);
        }
    }
    if failed.is_empty() && open.is_empty() {
        return (Some(Outcome::Ready), open);
    }
    if failed.is_empty() && !overtaken {
        return (None, open);
    }
    (Some(missed(project, failed, &open)), open)
}

fn roots(project: &Project, targets: &BTreeSet<Arc<str>>) -> Vec<Arc<str>> {
    if !targets.is_empty() {
        return targets.iter().cloned().collect();
    }
    let all = project.nodes.iter().filter(|(_, node)| node.definition.enabled && !node.gone);
    all.map(|(name, _)| name.clone()).collect()
}

fn down(project: &Project, targets: &BTreeSet<Arc<str>>) -> Looked {
    let all = project.nodes.values();
    let mine = all.filter(|node| targets.is_empty() || targets.contains(&node.id.name));
    let left: Vec<&Node> = mine.filter(|node| !node.is_down()).collect();
    let open: Vec<Open> = left
        .iter()
        .map(|node| Open { name: node.id.name.clone(), verdict_will_do: false })
        .collect();
    if left.is_empty() {
        return (Some(Outcome::Down), open);
    }
    if left.iter().all(|node| node.is_unwanted()) {
        return (None, open);
    }
    (Some(missed(project, Vec::new(), &open)), open)
}

fn missed(project: &Project, mut failed: Vec<Arc<str>>, open: &[Open]) -> Outcome {
    let mut not_ready: Vec<Arc<str>> = open.iter().map(|open| open.name.clone()).collect();
    project.sort(&mut failed);
    project.sort(&mut not_ready);
    Outcome::Failed { failed, not_ready }
}
