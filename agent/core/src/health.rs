//! Health of a node, for people: one of six kinds and why. It gates nothing.

use crate::{
    event::Verdict,
    node::{Next, Node, Phase, Why},
    nouns::{HealthStatus, Want},
    project::Project,
    view::Health,
};

pub(crate) fn of(project: &Project, node: &Node) -> Health {
    let (status, message) = judge(project, node);
    Health { status, message }
}

fn judge(project: &Project, node: &Node) -> (HealthStatus, String) {
    let said = || node.message.clone();
    if node.want == Want::Down {
        // One that has run tells how that ended.
        let never = node.phase == Phase::Down && node.life.number == 0;
        let off = never && !node.definition.enabled;
        return (
            HealthStatus::Disabled,
            if off { "switched off".into() } else { project.said(node) },
        );
    }
    if node.unheard && node.is_living() {
        return (HealthStatus::Failure, said());
    }
    match node.phase {
        Phase::Down | Phase::Waiting => (HealthStatus::Waiting, project.waiting_words(node)),
        Phase::Backoff { .. } | Phase::Ended(Next::Backoff { .. }) => {
            (HealthStatus::Failure, said())
        }
        Phase::Done | Phase::Ended(Next::Done) => (HealthStatus::Success, said()),
        Phase::Failed | Phase::Ended(Next::Failed) => (HealthStatus::Failure, said()),
        Phase::Spawning => (HealthStatus::Starting, said()),
        Phase::Starting => starting(node),
        Phase::Ready => (HealthStatus::Success, passing_words(node)),
        // Only a check is so without having been ready.
        Phase::Unhealthy if !node.life.met && node.life.grace_at.is_some() => {
            (HealthStatus::Starting, failing_words(node))
        }
        Phase::Unhealthy => (HealthStatus::Failure, failing_words(node)),
        Phase::Stopping(Why::Overdue) => (HealthStatus::Failure, said()),
        Phase::Stopping(Why::Lost) => (HealthStatus::Waiting, said()),
        Phase::Stopping(Why::Down | Why::Restart) | Phase::Ended(Next::Down) => {
            (HealthStatus::Starting, said())
        }
    }
}

/// Inside its grace a start is a start; past it, it counts what the tests say.
fn starting(node: &Node) -> (HealthStatus, String) {
    let Some((test, run)) = node.tests().find(|(_, run)| !run.passes()) else {
        return (HealthStatus::Starting, node.message.clone());
    };
    let (status, message) = match &run.verdict {
        None if !test.silent.is_empty() => (HealthStatus::Failure, test.silent.as_str()),
        None | Some(Verdict::Pass(_)) => (HealthStatus::Failure, "not ready yet"),
        Some(Verdict::Doubtful(message) | Verdict::Loading(message)) => {
            (HealthStatus::Loading, message.as_str())
        }
        Some(Verdict::Fail(message)) => (HealthStatus::Failure, message.as_str()),
    };
    let inside = node.life.grace_at.is_some();
    (if inside { HealthStatus::Starting } else { status }, message.into())
}

/// What its tests last said; one that is at work again makes it `loading` in words only.
fn passing_words(node: &Node) -> String {
    let said: Vec<&str> = node
        .tests()
        .filter_map(|(_, run)| run.verdict.as_ref().map(Verdict::message))
        .filter(|message| !message.is_empty())
        .collect();
    if said.is_empty() { "ready".into() } else { said.join(", ") }
}

/// What the tests say that fail.
pub(crate) fn failing_words(node: &Node) -> String {
    let said: Vec<&str> = node
        .tests()
        .filter(|(_, run)| run.failed > 0)
        .filter_map(|(_, run)| run.verdict.as_ref().map(Verdict::message))
        .filter(|message| !message.is_empty())
        .collect();
    match said.is_empty() {
        true if node.life.overdue => node.message.clone(),
        true => "its readiness test fails".into(),
        false => said.join(", "),
    }
}
