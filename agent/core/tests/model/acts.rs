//! What may happen next: edits of the file, commands, news, time.

use std::{collections::BTreeSet, sync::Arc};

use hearth_core::*;

use crate::{
    naive::{Model, NAMES},
    stage::{self, PROJECT, exit, id, ms},
};

impl Model<'_> {
    /// Changes, adds or removes a service; needs go to earlier names only.
    pub fn edit(&mut self) {
        let at = self.pick(NAMES.len());
        if self.pick(6) == 0 {
            self.file.remove(NAMES[at]);
        } else {
            let definition = self.define(at);
            self.file.insert(NAMES[at].into(), definition);
        }
        let known: BTreeSet<Arc<str>> = self.file.keys().cloned().collect();
        for definition in self.file.values_mut() {
            let before = definition.needs.len();
            definition.needs.retain(|need| known.contains(&need.service));
            if definition.needs.len() != before {
                self.prints += 1;
                definition.fingerprint = self.prints;
            }
        }
    }

    fn define(&mut self, at: usize) -> Definition {
        self.prints += 1;
        let mut needs = Vec::new();
        for (other, name) in NAMES.iter().enumerate() {
            // The order turns with the edits, so that old and new needs may cross.
            let before = if self.prints % 64 < 32 { other < at } else { other > at };
            if before && self.pick(3) == 0 {
                let lost = if self.pick(2) == 0 { Lost::Keep } else { Lost::Stop };
                needs.push(Need { service: (*name).into(), lost });
            }
        }
        let kind = match self.pick(6) {
            0 => Kind::Oneshot,
            1 | 2 => Kind::Check,
            _ => Kind::Service,
        };
        let count = self.pick(3).max(usize::from(kind == Kind::Check));
        let tests: Vec<Test> = (0..count)
            .map(|_| Test {
                event_driven: self.pick(3) == 0,
                failures: self.pick(4) as u32,
                ..stage::test()
            })
            .collect();
        Definition {
            kind,
            enabled: self.pick(5) > 0,
            tests,
            needs,
            settle: ms(self.pick(3) as u64 * 250),
            start_timeout: [None, Some(ms(3_000))][self.pick(2)],
            restart: [Restart::Always, Restart::OnFailure, Restart::Never][self.pick(3)],
            backoff: Backoff {
                min: ms(self.pick(2) as u64 * 100),
                max: ms(1_000),
                reset_after: ms(5_000),
            },
            give_up: GiveUp { failures: self.pick(5) as u32, within: ms(10_000) },
            stop_timeout: ms(1 + self.pick(2) as u64 * 2_000),
            linger: ms([0, 1_000, 10_000][self.pick(3)]),
            fingerprint: self.prints,
            ..stage::service(&[])
        }
    }

    /// The crossing orders can make a cycle: what is on one is never started, and is left out.
    pub fn is_sound(&self) -> bool {
        plan::faults(&self.file).is_empty()
    }

    /// One random thing.
    pub fn act(&mut self) {
        match self.pick(25) {
            0 => self.edit(),
            1 | 2 => self.command(),
            12 => self.some_are_over(),
            3 => self.stray(),
            4 => {
                let pause = ms(self.pick(4_000) as u64);
                self.now = self.now.after(pause);
                self.step(Event::Tick);
            }
            5..=8 => self.pass(),
            9 if self.pick(16) == 0 => self.adopt(),
            10 if self.pick(6) == 0 => self.dies(),
            11 => self.speaks(),
            _ => self.news(),
        }
    }

    pub fn pass(&mut self) {
        if let Some(next) = self.world.next_deadline() {
            self.now = self.now.max(next);
        }
        self.step(Event::Tick);
    }

    fn command(&mut self) {
        let mut targets: Vec<Arc<str>> = Vec::new();
        for _ in 0..self.pick(3) {
            targets.push(NAMES[self.pick(NAMES.len())].into());
        }
        let (project, definitions) = (Arc::from(PROJECT), self.file.clone());
        // A new life that was asked for doesn't wait.
        self.paused.clear();
        let named = |name: &Arc<str>| targets.is_empty() || targets.contains(name);
        let lease = if self.pick(2) == 0 { Some(self.some_lease()) } else { None };
        let event = match (self.pick(4), lease) {
            (0 | 1, None) => Event::Up { project, definitions, targets },
            (0 | 1, Some(lease)) => return self.lease(lease, targets),
            (2, _) => return self.down(targets),
            (_, lease) => {
                let names = self.file.keys().filter(|name| named(name));
                self.touched.extend(names.map(|name| id(name)));
                Event::Restart { project, definitions, targets, lease }
            }
        };
        self.step(event);
    }

    pub fn down(&mut self, targets: Vec<Arc<str>>) {
        self.paused.clear();
        self.steady = self.steady();
        self.step(Event::Down { project: Some(PROJECT.into()), targets });
    }

    /// What runs and has no reason of its own to end.
    pub fn steady(&self) -> BTreeSet<ServiceId> {
        let calm = |id: &ServiceId| {
            let print = self.world.definition(id).expect("known").fingerprint;
            let same = self.file.get(&id.name).is_some_and(|new| new.fingerprint == print);
            same && !self.touched.contains(id)
        };
        let ready = |id: &ServiceId| {
            let shim = self.shims.get(id);
            shim.is_some_and(|shim| shim.ready && !shim.told && shim.exit.is_none())
        };
        let views = self.world.views(None);
        let held = views.into_iter().filter(|view| !view.held_by.is_empty()).map(|view| view.id);
        let mine = held.filter(|id| ready(id) && calm(id) && !self.mute.contains(id));
        // One whose need has gone goes along.
        mine.filter(|id| {
            let needs = &self.world.definition(id).expect("known").needs;
            needs.iter().all(|need| {
                let need = ServiceId::new(PROJECT, need.service.clone());
                ready(&need) && calm(&need)
            })
        })
        .collect()
    }

    /// News that fits nothing changes nothing.
    fn stray(&mut self) {
        let id = id(NAMES[self.pick(NAMES.len())]);
        let last = self.lives.get(&id).max(self.asked.get(&id)).copied().unwrap_or(0);
        let life = last + 1 + self.pick(2) as u64;
        let event = match self.pick(10) {
            8 => self.stray_lease(),
            9 => Event::Release { leases: vec!["vim/0".into()] },
            6 => Event::Missing { id, life, at: String::new() },
            7 => Event::Unstartable { id, life, reason: "gone".into() },
            0 => Event::Started { id, life, pid: 7 },
            1 => Event::StartFailed { id, life, reason: "no".into() },
            2 => Event::Exited { id, life, exit: exit(0) },
            3 => Event::Emptied { id, life },
            4 => Event::ShimLost { id, life, at: String::new(), left: vec![7] },
            _ => Event::Probed { id, life, test: 9, verdict: Verdict::Pass(String::new()) },
        };
        assert_eq!(self.step(event), 0);
    }

    /// Something that a shim may say next.
    fn news(&mut self) {
        let checks = self.checks.len();
        if checks > 0 && self.pick(self.shims.len() + checks) < checks {
            return self.answer();
        }
        if self.shims.is_empty() {
            return self.command();
        }
        let at = self.pick(self.shims.len());
        if self.shims.keys().nth(at).is_some_and(|id| self.mute.contains(id)) {
            return self.speaks();
        }
        let choice = self.pick(12);
        let code = self.pick(2) as i32;
        let (id, shim) = self.shims.iter_mut().nth(at).expect("below the length");
        let (id, life) = (id.clone(), shim.life);
        let event = if choice == 0 {
            self.shims.remove(&id);
            Event::ShimLost { id, life, at: "then".into(), left: Vec::new() }
        } else if shim.exit.is_some() {
            shim.over = true;
            Event::Emptied { id, life }
        } else if shim.pid.is_none() && choice > 2 {
            shim.pid = Some(7);
            Event::Started { id, life, pid: 7 }
        } else if shim.pid.is_none() {
            shim.over = true;
            Event::StartFailed { id, life, reason: "not found".into() }
        } else if let Some(test) = shim.asked.first().copied()
            && choice > 2
        {
            shim.asked.remove(&test);
            let verdict = match choice {
                11 => Verdict::Doubtful("yes".into()),
                choice => verdict(choice),
            };
            Event::Probed { id, life, test, verdict }
        } else if let Some(test) = shim.definition.tests.iter().position(|test| test.event_driven)
            && choice > 8
        {
            // Unasked: a file that was there is gone, or comes.
            Event::Probed { id, life, test, verdict: verdict(code as usize + 7) }
        } else if shim.told || choice < 4 {
            self.exit(&id, code)
        } else {
            return self.pass();
        };
        self.step(event);
    }

    /// Something that is found out for a check.
    fn answer(&mut self) {
        let (at, choice) = (self.pick(self.checks.len()), self.pick(12));
        let (id, check) = self.checks.iter_mut().nth(at).expect("below the length");
        let unasked = || check.definition.tests.iter().position(|test| test.event_driven);
        let Some(test) = check.asked.pop_first().or_else(unasked) else { return self.pass() };
        let verdict = verdict(choice);
        check.hears(test, &verdict);
        let (id, life) = (id.clone(), check.life);
        self.step(Event::Probed { id, life, test, verdict });
    }

    pub fn exit(&mut self, id: &ServiceId, code: i32) -> Event {
        let shim = self.shims.get_mut(id).expect("known");
        shim.exit = Some(exit(code));
        if code == 0 && !shim.told && shim.definition.kind == Kind::Oneshot {
            self.done.insert(id.clone());
        }
        Event::Exited { id: id.clone(), life: shim.life, exit: exit(code) }
    }
}

fn verdict(choice: usize) -> Verdict {
    match choice {
        0..=6 => Verdict::Fail("no".into()),
        7 => Verdict::Loading("at work".into()),
        _ => Verdict::Pass("yes".into()),
    }
}
