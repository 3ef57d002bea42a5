//! When a service may be used: the verdicts of its tests against their thresholds.
//!
//! Invariant: at most one probe of a test is under way, and none of a life that was told to stop.
//! Else a late answer of one life would make the next one ready.

use std::{sync::Arc, time::Duration};

use crate::{
    action::Action,
    definition::Test,
    event::Verdict,
    node::{Node, Phase},
    nouns::Kind,
    time::Time,
    world::Turn,
};

/// So long a life must have lasted for a doubtful answer to count.
const PROOF: Duration = Duration::from_secs(1);

/// One test of one life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// A probe is under way.
    pub asked: bool,
    /// When it is asked next.
    pub next_at: Option<Time>,
    /// Failures in a row.
    pub failed: u32,
    /// What it said last.
    pub verdict: Option<Verdict>,
}

impl Run {
    /// `began`: its life.
    fn take(&mut self, test: &Test, verdict: Verdict, began: Time, now: Time) {
        let verdict = match verdict {
            Verdict::Doubtful(message) if now.since(began) >= PROOF => Verdict::Pass(message),
            verdict => verdict,
        };
        self.asked = false;
        self.next_at = match &verdict {
            Verdict::Pass(_) => {
                self.failed = 0;
                let again = !test.event_driven && !test.then_every.is_zero();
                again.then(|| now.after(test.then_every))
            }
            Verdict::Doubtful(_) => Some(began.after(PROOF)),
            Verdict::Loading(_) => {
                // No failure: a row that was not long enough yet is broken by it.
                if self.failed < test.failures.max(1) {
                    self.failed = 0;
                }
                Some(now.after(test.every))
            }
            Verdict::Fail(_) => {
                // What speaks by itself speaks once: there is no row to wait for.
                let failures = if test.event_driven { test.failures.max(1) } else { 1 };
                self.failed = self.failed.saturating_add(failures);
                Some(now.after(test.every))
            }
        };
        self.verdict = Some(verdict);
    }

    pub fn passes(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Pass(_)))
    }
}

impl Node {
    /// Its tests with how they stand.
    pub fn tests(&self) -> impl Iterator<Item = (&Test, &Run)> {
        self.definition.tests.iter().zip(&self.life.runs)
    }

    fn is_failing(&self) -> bool {
        self.tests().any(|(test, run)| run.failed >= test.failures.max(1))
    }
}

impl Turn<'_> {
    /// A life has begun: from now on its readiness is watched.
    pub fn watch_start(&mut self, name: &Arc<str>) {
        let now = self.now;
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        // Not from now: another agent may have seen it begin.
        let began = node.life.began;
        match node.definition.kind {
            Kind::Oneshot => {}
            Kind::Service | Kind::Check if node.definition.tests.is_empty() => {
                node.life.settle_at = Some(began.after(node.definition.settle));
            }
            Kind::Service | Kind::Check => {
                let grace = node.definition.tests.iter().map(|test| test.grace).max();
                node.life.grace_at = grace.map(|grace| began.after(grace));
                node.life.runs =
                    vec![Run { next_at: Some(now), ..Run::default() }; node.definition.tests.len()];
                self.ask(name);
            }
        }
    }

    /// A life that was found ready: its tests go on where they can be asked again.
    pub fn watch_ready(&mut self, name: &Arc<str>) {
        let now = self.now;
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        // What becomes of a service's file or log is in its shim's hands, or past; a check has none.
        let is_check = node.is_check();
        let asked = |test: &Test| is_check || !test.event_driven && !test.then_every.is_zero();
        // One that failed is failing until it passes, not until it is asked for the first time.
        let failed = node.phase == Phase::Unhealthy;
        let tests = node.definition.tests.iter();
        node.life.runs = tests
            .map(|test| Run {
                next_at: asked(test).then_some(now),
                failed: if failed && asked(test) { test.failures.max(1) } else { 0 },
                ..Run::default()
            })
            .collect();
        self.ask(name);
    }

    /// Asks whatever is due.
    pub fn ask(&mut self, name: &str) {
        let now = self.now;
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        for (test, run) in node.life.runs.iter_mut().enumerate() {
            if run.next_at.is_some_and(|at| at <= now) {
                run.next_at = None;
                run.asked = true;
                let (id, life) = (node.id.clone(), node.life.number);
                self.actions.push(Action::Probe { id, life, test });
            }
        }
    }

    /// Ends all probes of a life, where it has any.
    pub fn cancel_probes(&mut self, name: &str) {
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        if !node.life.runs.is_empty() {
            node.life.runs.clear();
            let (id, life) = (node.id.clone(), node.life.number);
            self.actions.push(Action::CancelProbes { id, life });
        }
    }

    pub fn probed(&mut self, name: &Arc<str>, life: u64, test: usize, verdict: Verdict) {
        let now = self.now;
        // What is not heard of was not asked either.
        let node = self.project.nodes.get_mut(name).filter(|n| n.lives(life) && !n.unheard);
        let Some(node) = node else { return };
        let (phase, began) = (node.phase, node.life.began);
        let known = node.definition.tests.get(test).zip(node.life.runs.get_mut(test));
        let Some((test, run)) = known else { return };
        // What is event-driven may speak up unasked: a file that was there is gone.
        if !run.asked && !test.event_driven {
            return;
        }
        match phase {
            Phase::Starting => {
                run.take(test, verdict, began, now);
                if node.life.runs.iter().all(Run::passes) {
                    self.ready(name);
                } else if node.is_check() && node.is_failing() {
                    node.phase = Phase::Unhealthy;
                    node.message = crate::health::failing_words(node);
                }
            }
            Phase::Ready => {
                run.take(test, verdict, began, now);
                if node.is_failing() {
                    node.phase = Phase::Unhealthy;
                    node.message = crate::health::failing_words(node);
                }
            }
            Phase::Unhealthy => {
                run.take(test, verdict, began, now);
                // A check may be unhealthy without having been ready.
                if !node.is_failing() && node.life.met {
                    node.phase = Phase::Ready;
                    node.message = "ready again".into();
                } else if node.life.runs.iter().all(Run::passes) {
                    self.ready(name);
                }
            }
            Phase::Spawning | Phase::Stopping(_) | Phase::Ended(_) => {}
            Phase::Down | Phase::Waiting | Phase::Backoff { .. } | Phase::Done | Phase::Failed => {}
        }
        if self.project.nodes.get(name).is_some_and(|node| node.phase != phase) {
            self.look_at(name);
        } else {
            // Nothing that anybody goes by.
            self.arm(name);
        }
    }

    /// A starting life has become ready.
    pub fn ready(&mut self, name: &str) {
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        node.phase = Phase::Ready;
        node.message = "ready".into();
        node.life.met = true;
        node.life.overdue = false;
        node.life.overdue_at = None;
        node.life.grace_at = None;
        if !node.is_check() {
            self.actions.push(Action::MarkReady { id: node.id.clone(), life: node.life.number });
        }
    }
}
