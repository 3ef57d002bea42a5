//! What people are shown, compared with what they were told and with what may be.

use std::{collections::BTreeSet, sync::Arc};

use hearth_core::*;

use crate::{
    naive::{Model, NAMES, is_command},
    stage::PROJECT,
};

const GOALS: [Goal; 3] = [Goal::Ready, Goal::Arrive, Goal::Down];

impl Model<'_> {
    /// After every step.
    pub fn compare(&mut self, event: &Event) {
        let views = self.world.views(None);
        for view in &views {
            let shown = self.states.get(&view.id).copied().unwrap_or(State::Down);
            assert_eq!(view.state, shown, "{:?} changed without a word", view.id);
            assert!(!view.message.is_empty());
            if view.state == State::Waiting {
                assert_eq!(view.message, view.health.message, "a stale word");
            }
        }
        let wanted = |id: &ServiceId| views.iter().any(|v| v.id == *id && v.want == Want::Up);
        self.done.retain(|id| wanted(id));
        self.compare_checks(&views, event);
        self.compare_holds(&views, event);
        self.compare_lingering(&views, event);
        self.compare_done(&views);
        if matches!(event, Event::Tick) {
            self.compare_pauses(&views);
            self.compare_lost(&views);
        }
        self.look();
    }

    /// What a life is told to keep: the oneshots below it that are shown as done.
    fn compare_done(&self, views: &[NodeView]) {
        let done: Vec<&NodeView> = views
            .iter()
            .filter(|view| view.kind == Kind::Oneshot && view.state == State::Done)
            .collect();
        for view in views {
            let below = |one: &&&NodeView| {
                view.id != one.id && self.reaches(&view.id, std::slice::from_ref(&one.id.name))
            };
            let mut names: Vec<_> = done.iter().filter(below).map(|one| &one.id.name).collect();
            names.sort();
            let told = self.world.done_below(&view.id);
            assert_eq!(told.iter().map(|one| &one.name).collect::<Vec<_>>(), names, "{view:?}");
        }
    }

    /// Who is wanted is held, or lingers: not for less than his own time while there is anything to
    /// keep, and for no more than the longest of all.
    fn compare_lingering(&mut self, views: &[NodeView], event: &Event) {
        // What is given back takes nothing from what lingers already.
        let released = matches!(event, Event::Release { .. });
        let command = is_command(event) && !released || matches!(event, Event::Adopted { .. });
        if let Event::Down { targets, .. } = event {
            self.compare_down(views, targets);
        }
        if released {
            self.compare_released(views);
        }
        let before = std::mem::take(&mut self.lingering);
        for view in views {
            let definition = self.world.definition(&view.id).expect("known");
            let (own, known) = (definition.linger, before.get(&view.id));
            if let Some(until) = view.lingers_until {
                assert!(view.want == Want::Up && view.held_by.is_empty(), "{view:?}");
                let worth = matches!(
                    view.state,
                    State::Starting | State::Ready | State::Unhealthy | State::Done
                );
                assert!(worth || self.mute.contains(&view.id), "kept for nothing: {view:?}");
                assert!(view.message.starts_with("nobody needs it any more, goes in"));
                let due = until > self.now || !matches!(event, Event::Tick);
                assert!(due || self.mute.contains(&view.id), "it lingers too long: {view:?}");
                let since = known.map_or(self.now, |(since, _)| *since);
                let longest = crate::stage::ms(10_000);
                assert!(until.since(since) <= longest, "it was made to linger longer: {view:?}");
                if definition.kind != Kind::Check {
                    assert!(until >= since.after(own), "it is to go too soon: {view:?}");
                }
                self.lingering.insert(view.id.clone(), (since, view.state));
                continue;
            }
            let held = !view.held_by.is_empty();
            assert_eq!(view.want == Want::Up, held, "{view:?}");
            if let Some((since, state)) = known.filter(|_| view.want == Want::Down && !command) {
                // It goes with a need that is lost, as soon as what stands on it has gone.
                let lost = self.has_lost(definition);
                let bad = lost || !self.runs(&view.id) && *state != State::Done;
                let over = self.now >= since.after(own) || definition.kind == Kind::Check;
                assert!(over || bad, "it lingered for less than its time: {view:?}");
            }
        }
    }

    /// What a `down` names goes, with what needs it; what only that needed lingers.
    fn compare_down(&mut self, views: &[NodeView], targets: &[Arc<str>]) {
        for view in views {
            let named = targets.is_empty() || targets.contains(&view.id.name);
            assert!(!named || view.want == Want::Down, "{view:?}");
        }
        for id in &std::mem::take(&mut self.steady) {
            let definition = self.world.definition(id).expect("known");
            let view = views.iter().find(|view| view.id == *id).expect("known");
            let goes =
                targets.is_empty() || self.reaches(id, targets) || definition.linger.is_zero();
            assert!(goes || view.want == Want::Up, "it went at once: {view:?}");
        }
    }

    /// Whether it needs one of these, itself or through others.
    pub fn reaches(&self, id: &ServiceId, targets: &[Arc<str>]) -> bool {
        let (mut todo, mut seen) = (vec![id.clone()], BTreeSet::new());
        while let Some(id) = todo.pop() {
            if targets.contains(&id.name) {
                return true;
            }
            if let Some(definition) = self.world.definition(&id)
                && seen.insert(id)
            {
                let needs = definition.needs.iter().map(|need| need.service.clone());
                todo.extend(needs.map(|name| ServiceId::new(PROJECT, name)));
            }
        }
        false
    }

    fn runs(&self, id: &ServiceId) -> bool {
        self.shims.get(id).is_some_and(|shim| !shim.told && shim.exit.is_none())
            || self.checks.contains_key(id)
    }

    /// A pause ends by its backoff's `max` at the latest, where the tree is empty.
    fn compare_pauses(&mut self, views: &[NodeView]) {
        for view in views.iter().filter(|view| view.state == State::Backoff) {
            let until = self.resting.get(&view.id).copied().expect("said to rest");
            let due = until <= self.now && !self.shims.contains_key(&view.id);
            assert!(!due, "it is not tried again: {view:?}");
        }
    }

    /// Who says so goes with what it needs, as soon as those are gone that must go before it.
    fn compare_lost(&self, views: &[NodeView]) {
        let state = |id: &ServiceId| views.iter().find(|view| view.id == *id).map(|v| v.state);
        for (id, shim) in &self.shims {
            let runs = !shim.told && shim.exit.is_none() && !self.mute.contains(id);
            let stop = shim.definition.needs.iter().filter(|need| need.lost == Lost::Stop);
            let mut needs = stop.map(|need| ServiceId::new(PROJECT, need.service.clone()));
            let lost = needs.find(|need| {
                let there = self.is_there(need) || state(need) == Some(State::Ready);
                !there && state(need).is_some() && !self.mute.contains(need)
            });
            let Some(lost) = lost.filter(|_| runs) else { continue };
            let first = self.shims.iter().any(|(_, other)| {
                let needs = other.definition.needs.iter().any(|need| need.service == id.name);
                needs || self.stands_on(&other.definition, id)
            });
            assert!(first, "{id:?} runs on without {lost:?}");
        }
    }

    /// Who waits and remembers sees what one sees who looks for the first time.
    fn look(&mut self) {
        if self.waits.len() < 4 {
            let mut targets: Vec<Arc<str>> = Vec::new();
            for _ in 0..self.pick(3) {
                targets.push(NAMES[self.pick(NAMES.len())].into());
            }
            let goal = GOALS[self.pick(3)];
            let wait = Wait::new(PROJECT.into(), targets.clone(), goal);
            self.waits.push((targets, goal, wait));
        }
        let world = &self.world;
        self.waits.retain_mut(|(targets, goal, wait)| {
            let fresh = world.outcome(PROJECT, targets, *goal);
            assert_eq!(world.look(wait), fresh, "{targets:?} {goal:?} {wait:?}");
            fresh.is_none()
        });
    }
}
