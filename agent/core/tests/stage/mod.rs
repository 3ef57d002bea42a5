//! Definitions and events in few words, for the tests.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hearth_core::*;

pub const PROJECT: &str = "/src/app";

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn id(name: &str) -> ServiceId {
    ServiceId::new(PROJECT, name)
}

pub fn exit(code: i32) -> Exit {
    Exit { code: Some(code), signal: None, at: "2026-01-01T10:00:00.000Z".into() }
}

/// A service with the defaults of hearth.toml and `settle` 0.
pub fn service(needs: &[&str]) -> Definition {
    Definition {
        kind: Kind::Service,
        enabled: true,
        display: Some("it".into()),
        needs: needs.iter().map(|n| Need { service: (*n).into(), lost: Lost::Keep }).collect(),
        tests: Vec::new(),
        settle: ms(0),
        start_timeout: Some(ms(60_000)),
        restart: Restart::OnFailure,
        backoff: Backoff { min: ms(100), max: ms(30_000), reset_after: ms(60_000) },
        give_up: GiveUp { failures: 5, within: ms(60_000) },
        stop_timeout: ms(10_000),
        linger: ms(10_000),
        fingerprint: 1,
        order: 0,
    }
}

pub fn oneshot(needs: &[&str]) -> Definition {
    Definition { kind: Kind::Oneshot, start_timeout: None, ..service(needs) }
}

/// With one test that is probed.
pub fn tested(needs: &[&str]) -> Definition {
    Definition { tests: vec![test()], ..service(needs) }
}

/// A check with one test that is probed.
pub fn check(needs: &[&str]) -> Definition {
    Definition { kind: Kind::Check, linger: ms(0), ..tested(needs) }
}

pub fn test() -> Test {
    Test {
        silent: String::new(),
        event_driven: false,
        every: ms(1_000),
        then_every: ms(30_000),
        grace: ms(5_000),
        failures: 3,
    }
}

pub fn lost_stop(mut definition: Definition) -> Definition {
    definition.needs.iter_mut().for_each(|need| need.lost = Lost::Stop);
    definition
}

/// A world with its clock and the last step's actions, as short words (`spawn db 1`).
pub struct Stage {
    pub world: World,
    pub now: Time,
    pub file: BTreeMap<Arc<str>, Definition>,
    pub said: Vec<String>,
}

impl Stage {
    pub fn new(file: &[(&str, Definition)]) -> Self {
        let mut place = 0;
        let file = file.iter().map(|(name, definition)| {
            place += 1;
            ((*name).into(), Definition { order: place, ..definition.clone() })
        });
        let (world, now) = (World::new(), Time::default());
        Self { world, now, file: file.collect(), said: Vec::new() }
    }

    /// The deeds of this step; the words of its transitions go to `said`.
    pub fn step(&mut self, event: Event) -> Vec<String> {
        self.said.clear();
        let mut deeds = Vec::new();
        for action in self.world.step(event, self.now) {
            let (verb, id, life) = match action {
                Action::Spawn { id, life } => ("spawn", id, life),
                Action::Stop { id, life } => ("stop", id, life),
                Action::Kill { id, life } => ("kill", id, life),
                Action::Acknowledge { id, life } => ("acknowledge", id, life),
                Action::Probe { id, life, .. } => ("probe", id, life),
                Action::CancelProbes { id, life } => ("cancel", id, life),
                Action::MarkReady { id, life } => ("mark", id, life),
                Action::Changed(t) => {
                    let words = format!("{} {:?}: {}", t.id.name, t.to, t.message);
                    self.said.push(words.to_lowercase());
                    continue;
                }
            };
            deeds.push(format!("{verb} {} {life}", id.name));
        }
        deeds
    }

    pub fn up(&mut self, targets: &[&str]) -> Vec<String> {
        let (project, definitions) = (PROJECT.into(), self.file.clone());
        self.step(Event::Up { project, definitions, targets: names(targets) })
    }

    pub fn down(&mut self, targets: &[&str]) -> Vec<String> {
        self.step(Event::Down { project: Some(PROJECT.into()), targets: names(targets) })
    }

    pub fn restart(&mut self, targets: &[&str]) -> Vec<String> {
        let (project, definitions) = (PROJECT.into(), self.file.clone());
        self.step(Event::Restart { project, definitions, targets: names(targets), lease: None })
    }

    /// A lease of this name, of the session that its name begins with (`zsh/1`).
    pub fn lease(&mut self, lease: &str, targets: &[&str]) -> Vec<String> {
        let (lease, project, definitions) = (self::lease(lease), PROJECT.into(), self.file.clone());
        self.step(Event::Lease { lease, project, definitions, targets: names(targets) })
    }

    pub fn release(&mut self, leases: &[&str]) -> Vec<String> {
        self.step(Event::Release { leases: names(leases) })
    }

    /// Who holds it, in words: `up`, `zsh/1`, `needed by web`.
    pub fn held_by(&self, name: &str) -> Vec<String> {
        let holders = self.world.view(&id(name)).expect("a known service").held_by;
        let words = holders.into_iter().map(|holder| match holder {
            Holder::Up => "up".into(),
            Holder::Lease(lease) => lease.id.to_string(),
            Holder::Dependent(name) => format!("needed by {name}"),
        });
        words.collect()
    }

    /// Because of whom it stays: `up`, `zsh/1 through web, api`.
    pub fn why(&self, name: &str) -> Vec<String> {
        let words = self.world.why(&id(name)).into_iter().map(|reason| {
            let root = reason.lease.map_or("up".to_owned(), |lease| lease.id.to_string());
            match &reason.through[..] {
                [] => root,
                through => format!("{root} through {}", through.join(", ")),
            }
        });
        words.collect()
    }

    /// All leases: `zsh/1: db, web`.
    pub fn leases(&self) -> Vec<String> {
        let words = |view: LeaseView| format!("{}: {}", view.lease.id, view.services.join(", "));
        self.world.leases().into_iter().map(words).collect()
    }

    pub fn life(&self, name: &str) -> u64 {
        self.world.view(&id(name)).map_or(0, |view| view.life)
    }

    pub fn started(&mut self, name: &str) -> Vec<String> {
        let life = self.life(name);
        self.step(Event::Started { id: id(name), life, pid: 100 })
    }

    /// Started, and settled.
    pub fn comes_up(&mut self, name: &str) -> Vec<String> {
        let mut deeds = self.started(name);
        deeds.extend(self.step(Event::Tick));
        deeds
    }

    pub fn start_fails(&mut self, name: &str, reason: &str) -> Vec<String> {
        let life = self.life(name);
        self.step(Event::StartFailed { id: id(name), life, reason: reason.into() })
    }

    pub fn exits(&mut self, name: &str, code: i32) -> Vec<String> {
        let life = self.life(name);
        self.step(Event::Exited { id: id(name), life, exit: exit(code) })
    }

    pub fn emptied(&mut self, name: &str) -> Vec<String> {
        let life = self.life(name);
        self.step(Event::Emptied { id: id(name), life })
    }

    /// Exited, and its tree gone.
    pub fn ends(&mut self, name: &str, code: i32) -> Vec<String> {
        let mut deeds = self.exits(name, code);
        let said = self.said.clone();
        deeds.extend(self.emptied(name));
        self.said.splice(0..0, said);
        deeds
    }

    pub fn probed(&mut self, name: &str, test: usize, verdict: Verdict) -> Vec<String> {
        let life = self.life(name);
        self.step(Event::Probed { id: id(name), life, test, verdict })
    }

    pub fn passes(&mut self, name: &str) -> Vec<String> {
        self.probed(name, 0, Verdict::Pass("200 OK".into()))
    }

    pub fn fails(&mut self, name: &str) -> Vec<String> {
        self.probed(name, 0, Verdict::Fail("connection refused".into()))
    }

    /// Lets the time pass and ticks.
    pub fn after(&mut self, pause: Duration) -> Vec<String> {
        self.now = self.now.after(pause);
        self.step(Event::Tick)
    }

    pub fn state(&self, name: &str) -> State {
        self.world.view(&id(name)).map_or(State::Unknown, |view| view.state)
    }

    pub fn health(&self, name: &str) -> (HealthStatus, String) {
        let health = self.world.view(&id(name)).expect("a known service").health;
        (health.status, health.message)
    }

    pub fn outcome(&self, targets: &[&str], goal: Goal) -> Option<Outcome> {
        self.world.outcome(PROJECT, &names(targets), goal)
    }

    pub fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Definition)) {
        let definition = self.file.get_mut(name).expect("a known service");
        definition.fingerprint += 1;
        edit(definition);
    }
}

pub fn lease(name: &str) -> Lease {
    let session = name.split('/').next().unwrap_or(name);
    Lease { id: name.into(), session: session.into() }
}

pub fn names(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}
