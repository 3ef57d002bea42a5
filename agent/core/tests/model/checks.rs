//! Checks as the naive world has them: questions, answers, and what they add up to.

use std::collections::BTreeSet;

use hearth_core::*;

use crate::{naive::Model, stage::PROJECT};

/// A check that is being asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub life: u64,
    pub definition: Definition,
    pub asked: BTreeSet<usize>,
    /// Its state, by the answers.
    pub state: State,
    /// Whether it was ready in this life.
    met: bool,
    /// When it is unhealthy for want of an answer.
    overdue_at: Option<Time>,
    /// Nobody knows what the agent before had heard: what is shown is believed.
    unsure: bool,
    /// No test of it was asked by this agent yet.
    silent: bool,
    /// Of each test: failures in a row, and whether it passes.
    tests: Vec<(u32, bool)>,
}

impl Asked {
    fn new(life: u64, definition: Definition, now: Time) -> Self {
        let tests = vec![(0, false); definition.tests.len()];
        let overdue_at = definition.start_timeout.map(|limit| now.after(limit));
        let (asked, state) = (BTreeSet::new(), State::Starting);
        let (met, unsure, silent) = (false, false, true);
        Self { life, definition, asked, state, met, overdue_at, unsure, silent, tests }
    }

    /// One that an agent asked that is no more: shown as it was, asked anew.
    fn found(&mut self, view: &NodeView, stale: bool) {
        self.asked.clear();
        self.silent = true;
        self.unsure = self.unsure || stale;
        let limit = |test: &Test| test.failures.max(1);
        let failed = |test: &Test| if view.state == State::Unhealthy { limit(test) } else { 0 };
        self.tests = self.definition.tests.iter().map(|test| (failed(test), false)).collect();
        self.believes(view.state);
    }

    pub fn believes(&mut self, state: State) {
        if self.unsure {
            self.state = state;
        }
    }

    /// Whether it ends with nothing to be cancelled.
    pub fn ends_unasked(&self, state: State) -> bool {
        self.silent && !asks(state)
    }

    pub fn hears(&mut self, test: usize, verdict: &Verdict) {
        let limit = self.definition.tests[test].failures.max(1);
        let by_itself = self.definition.tests[test].event_driven;
        let (failed, passes) = &mut self.tests[test];
        (*failed, *passes) = match verdict {
            Verdict::Pass(_) => (0, true),
            Verdict::Doubtful(_) => unreachable!("a check has no life that could end of it"),
            Verdict::Loading(_) if *failed < limit => (0, false),
            Verdict::Loading(_) => (*failed, false),
            Verdict::Fail(_) if by_itself => (limit, false),
            Verdict::Fail(_) => (*failed + 1, false),
        };
        let mut rows = self.definition.tests.iter().zip(&self.tests);
        let failing = rows.any(|(test, (failed, _))| *failed >= test.failures.max(1));
        let all = self.tests.iter().all(|(_, passes)| *passes);
        self.state = match self.state {
            State::Starting | State::Unhealthy if all => State::Ready,
            State::Unhealthy if self.met && !failing => State::Ready,
            State::Starting | State::Ready if failing => State::Unhealthy,
            other => other,
        };
        if self.state == State::Ready {
            self.met = true;
            self.overdue_at = None;
        }
    }
}

fn asks(state: State) -> bool {
    matches!(state, State::Starting | State::Ready | State::Unhealthy)
}

impl Model<'_> {
    pub fn probe(&mut self, id: ServiceId, life: u64, test: usize) {
        if self.shims.contains_key(&id) {
            let shim = self.shim(&id, life);
            assert!(shim.pid.is_some() && !shim.told && shim.exit.is_none());
            assert!(shim.asked.insert(test), "asked twice");
            return;
        }
        let definition = self.world.definition(&id).expect("known").clone();
        assert_eq!(definition.kind, Kind::Check, "asked without a process");
        if self.checks.get(&id).is_none_or(|check| check.life != life) {
            assert!(!self.checks.contains_key(&id), "a check is asked twice over");
            self.begins(&id, life, &definition);
            self.checks.insert(id.clone(), Asked::new(life, definition, self.now));
        }
        let check = self.checks.get_mut(&id).expect("known");
        check.silent = false;
        assert!(check.asked.insert(test), "asked twice");
    }

    /// Which checks an agent asks that goes on from what was saved.
    pub fn find_checks(&mut self) {
        let before = std::mem::take(&mut self.checks);
        self.asked.clear();
        for view in self.world.views(None).iter().filter(|view| view.kind == Kind::Check) {
            if !asks(view.state) {
                continue;
            }
            let known = before.get(&view.id).filter(|check| check.life == view.life);
            let definition = self.world.definition(&view.id).expect("known").clone();
            let fresh = || Asked::new(view.life, definition.clone(), self.now);
            let mut check = known.cloned().unwrap_or_else(fresh);
            check.definition = definition.clone();
            check.found(view, self.stale);
            self.checks.insert(view.id.clone(), check);
        }
    }

    /// Whether it needs `id` through checks and oneshots without a process alone, as the file
    /// that runs has them.
    pub fn stands_on(&self, definition: &Definition, id: &ServiceId) -> bool {
        let mut todo: Vec<ServiceId> = self.needs(definition).collect();
        let mut seen = BTreeSet::new();
        while let Some(need) = todo.pop() {
            let known = self.world.definition(&need);
            let rests = |known: &&Definition| match known.kind {
                Kind::Check => true,
                Kind::Oneshot => !self.shims.contains_key(&need),
                Kind::Service => false,
            };
            let Some(through) = known.filter(rests) else { continue };
            if through.needs.iter().any(|need| need.service == id.name) {
                return true;
            }
            if seen.insert(need) {
                todo.extend(self.needs(through));
            }
        }
        false
    }

    fn needs(&self, definition: &Definition) -> impl Iterator<Item = ServiceId> {
        definition.needs.iter().map(|need| ServiceId::new(PROJECT, need.service.clone()))
    }

    /// Each is shown as its answers say, and none is asked that is not shown so.
    pub fn compare_checks(&mut self, views: &[NodeView], event: &Event) {
        let now = self.now;
        let ticked = matches!(event, Event::Tick);
        for (id, check) in &mut self.checks {
            let over = check.overdue_at.take_if(|at| ticked && *at <= now);
            if over.is_some() && check.state == State::Starting {
                check.state = State::Unhealthy;
            }
            let view = views.iter().find(|view| view.id == *id).expect("asked, so known");
            check.believes(view.state);
            assert_eq!((view.state, view.kind), (check.state, Kind::Check), "{id:?}: {check:?}");
        }
        for view in views.iter().filter(|view| view.kind == Kind::Check) {
            let asks = asks(view.state);
            assert_eq!(asks, self.checks.contains_key(&view.id), "{view:?}");
            let resting = matches!(view.state, State::Down | State::Waiting | State::Failed);
            assert!(asks || resting, "a check has no process that could be so: {view:?}");
            assert!(view.pid.is_none() && view.exit.is_none() && view.restarts == 0);
        }
    }
}
