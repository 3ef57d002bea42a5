//! The naive world: shims that know only what they were told to do and refuse what must never be
//! done. What is shown is compared with it after every step (`shown.rs`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_core::*;

use crate::{checks::Asked, leases::Holds, stage::PROJECT};

pub const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// One living shim, as the naive world has it.
#[derive(Debug)]
pub struct Shim {
    pub life: u64,
    pub definition: Definition,
    pub pid: Option<u32>,
    pub told: bool,
    pub ready: bool,
    pub exit: Option<Exit>,
    pub over: bool,
    pub asked: BTreeSet<usize>,
}

impl Shim {
    /// Whether who needs it may be started.
    fn is_there(&self) -> bool {
        self.ready && !self.told && self.exit.is_none()
    }
}

/// Whether somebody asked for it.
pub fn is_command(event: &Event) -> bool {
    matches!(
        event,
        Event::Up { .. }
            | Event::Lease { .. }
            | Event::Release { .. }
            | Event::Down { .. }
            | Event::Restart { .. }
    )
}

pub struct Model<'s> {
    pub source: &'s mut dyn FnMut(usize) -> usize,
    pub world: World,
    pub now: Time,
    pub file: BTreeMap<Arc<str>, Definition>,
    pub shims: BTreeMap<ServiceId, Shim>,
    /// The checks that are being asked.
    pub checks: BTreeMap<ServiceId, Asked>,
    pub lives: BTreeMap<ServiceId, u64>,
    /// The same of checks, under this agent.
    pub asked: BTreeMap<ServiceId, u64>,
    pub done: BTreeSet<ServiceId>,
    pub states: BTreeMap<ServiceId, State>,
    /// Who must not be started before when.
    pub paused: BTreeMap<ServiceId, (Time, Backoff)>,
    /// Who is to be tried again, and when at the latest.
    pub resting: BTreeMap<ServiceId, Time>,
    /// Who lingers, since when, and in which state.
    pub lingering: BTreeMap<ServiceId, (Time, State)>,
    /// A new life of these was asked for and has not begun.
    pub touched: BTreeSet<ServiceId>,
    /// What ran and had no reason to end before the last `down`.
    pub steady: BTreeSet<ServiceId>,
    /// People who wait, each with what he remembers.
    pub waits: Vec<(Vec<Arc<str>>, Goal, Wait)>,
    /// Who holds what.
    pub holds: Holds,
    pub prints: u64,
    /// What an agent that dies now has left; what happened since it was saved is lost.
    pub saved: (Vec<Saved>, Vec<SavedLease>),
    /// The world was restored from something older than what had happened.
    pub stale: bool,
    /// Shims that do not answer.
    pub mute: BTreeSet<ServiceId>,
}

impl<'s> Model<'s> {
    pub fn new(source: &'s mut dyn FnMut(usize) -> usize) -> Self {
        let mut model = Self {
            source,
            world: World::new(),
            now: Time::default(),
            file: BTreeMap::new(),
            shims: BTreeMap::new(),
            checks: BTreeMap::new(),
            lives: BTreeMap::new(),
            asked: BTreeMap::new(),
            done: BTreeSet::new(),
            states: BTreeMap::new(),
            paused: BTreeMap::new(),
            resting: BTreeMap::new(),
            lingering: BTreeMap::new(),
            touched: BTreeSet::new(),
            steady: BTreeSet::new(),
            waits: Vec::new(),
            holds: Holds::default(),
            prints: 0,
            saved: (Vec::new(), Vec::new()),
            stale: false,
            mute: BTreeSet::new(),
        };
        for _ in 0..4 {
            model.edit();
        }
        model
    }

    pub fn pick(&mut self, below: usize) -> usize {
        (self.source)(below)
    }

    pub fn step(&mut self, event: Event) -> usize {
        let ticked = matches!(event, Event::Tick);
        // What must be on disk before anybody is told, or anything is forgotten elsewhere.
        let command = is_command(&event);
        let lost = matches!(event, Event::ShimLost { .. } | Event::Missing { .. });
        let found = matches!(event, Event::Adopted { .. } | Event::Mute { .. });
        let heard = event.clone();
        self.foresee(&event);
        let actions = self.world.step(event, self.now);
        let count = actions.len();
        let owed = actions.iter().any(|action| matches!(action, Action::Acknowledge { .. }));
        if command || lost || found || owed || self.pick(2) == 0 {
            self.saved = (self.world.saved(), self.world.saved_leases());
        }
        for action in actions {
            self.take(action);
        }
        if ticked {
            let next = self.world.next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "a deadline was not used up");
        }
        self.compare(&heard);
        count
    }

    fn take(&mut self, action: Action) {
        match &action {
            Action::Spawn { id, .. }
            | Action::Stop { id, .. }
            | Action::Kill { id, .. }
            | Action::Acknowledge { id, .. }
            | Action::MarkReady { id, .. } => {
                assert!(!self.mute.contains(id), "a deed for {id:?}, which nobody has heard");
                assert!(!self.checks.contains_key(id), "a deed of processes for a check");
            }
            Action::Probe { id, .. } => {
                assert!(!self.mute.contains(id), "a deed for {id:?}, which nobody has heard");
            }
            Action::CancelProbes { .. } | Action::Changed(_) => {}
        }
        match action {
            Action::Spawn { id, life } => self.spawn(id, life),
            Action::Stop { id, life } => self.stop(&id, life),
            Action::Kill { id, life } => {
                let shim = self.shim(&id, life);
                assert!(shim.told || shim.exit.is_some(), "killed without having been told");
            }
            Action::Acknowledge { id, life } => {
                assert!(self.shim(&id, life).over, "acknowledged before its tree was empty");
                self.shims.remove(&id);
            }
            Action::Probe { id, life, test } => self.probe(id, life, test),
            // Its probes may outlive a shim that is lost.
            Action::CancelProbes { id, .. } => {
                self.checks.remove(&id);
                if let Some(shim) = self.shims.get_mut(&id) {
                    shim.asked.clear();
                }
            }
            Action::MarkReady { id, life } => {
                let shim = self.shim(&id, life);
                assert!(!shim.told && shim.exit.is_none() && !shim.ready);
                shim.ready = true;
            }
            Action::Changed(change) => self.changed(change),
        }
    }

    fn changed(&mut self, change: Transition) {
        let known = self.states.insert(change.id.clone(), change.to);
        assert_eq!(known.unwrap_or(State::Down), change.from, "{change:?}");
        assert_ne!(change.from, change.to);
        assert!(!change.message.is_empty());
        self.resting.remove(&change.id);
        if self.checks.get(&change.id).is_some_and(|check| check.ends_unasked(change.to)) {
            self.checks.remove(&change.id);
        }
        if let Some(check) = self.checks.get_mut(&change.id) {
            check.believes(change.to);
        }
        if change.to == State::Backoff {
            let backoff = self.world.definition(&change.id).expect("known").backoff;
            self.paused.insert(change.id.clone(), (self.now, backoff));
            self.resting.insert(change.id, self.now.after(backoff.max.max(backoff.min)));
        }
    }

    pub fn shim(&mut self, id: &ServiceId, life: u64) -> &mut Shim {
        let shim = self.shims.get_mut(id).expect("a deed for a life that is over");
        assert_eq!(shim.life, life);
        shim
    }

    fn spawn(&mut self, id: ServiceId, life: u64) {
        assert!(!self.shims.contains_key(&id), "two lives at a time");
        let definition = self.world.definition(&id).expect("known").clone();
        assert_ne!(definition.kind, Kind::Check, "a check was spawned");
        self.begins(&id, life, &definition);
        if let Some((since, backoff)) = self.paused.remove(&id) {
            assert!(self.now.since(since) >= backoff.min, "too soon");
        }
        self.done.remove(&id);
        self.touched.remove(&id);
        let shim = Shim {
            life,
            definition,
            pid: None,
            told: false,
            ready: false,
            exit: None,
            over: false,
            asked: BTreeSet::new(),
        };
        self.shims.insert(id, shim);
    }

    /// A new life of a service or a check: its number is new, and what it needs is there.
    pub fn begins(&mut self, id: &ServiceId, life: u64, definition: &Definition) {
        let is_check = definition.kind == Kind::Check;
        let lives = if is_check { &mut self.asked } else { &mut self.lives };
        let last = lives.insert(id.clone(), life);
        assert!(last.is_none_or(|last| last < life), "a life's number was used twice");
        for need in &definition.needs {
            let there = self.is_there(&ServiceId::new(PROJECT, need.service.clone()));
            assert!(there, "{id:?} began before {need:?} was ready");
        }
    }

    /// Whether who needs it may be started.
    pub fn is_there(&self, id: &ServiceId) -> bool {
        let runs = self.shims.get(id).is_some_and(Shim::is_there);
        let holds = self.checks.get(id).is_some_and(|check| check.state == State::Ready);
        runs || holds || self.done.contains(id)
    }

    /// Whether something is not there that takes it along.
    pub fn has_lost(&self, definition: &Definition) -> bool {
        let mut stop = definition.needs.iter().filter(|need| need.lost == Lost::Stop);
        stop.any(|need| !self.is_there(&ServiceId::new(PROJECT, need.service.clone())))
    }

    fn stop(&mut self, id: &ServiceId, life: u64) {
        // One that lingers and loses what it needs is stopped for that, and not wanted after it.
        let lost = self.lingering.contains_key(id) && self.has_lost(&self.shims[id].definition);
        let down = self.world.view(id).is_none_or(|view| view.want == Want::Down);
        let unwanted = down && !lost;
        let ready = self.shim(id, life).ready;
        for (other, shim) in &self.shims {
            for need in shim.definition.needs.iter().filter(|need| need.service == id.name) {
                let must_go_first = unwanted || ready && need.lost == Lost::Stop;
                assert!(!must_go_first, "{id:?} was stopped before {other:?}");
            }
            let through = unwanted
                && self.stands_on(&shim.definition, id)
                // What old and new definitions need together may go in a circle.
                && !self.reaches(id, std::slice::from_ref(&other.name));
            assert!(!through, "{id:?} was stopped before {other:?}, which stands on it");
        }
        let shim = self.shim(id, life);
        assert!(!shim.told && shim.exit.is_none() && shim.asked.is_empty());
        shim.told = true;
    }
}
