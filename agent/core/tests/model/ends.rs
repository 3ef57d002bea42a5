//! Where a world comes to when nothing goes wrong any more: all ready, or all gone.

use std::sync::Arc;

use hearth_core::*;

use crate::{
    naive::{Model, NAMES},
    stage::{self, PROJECT, ms},
};

impl Model<'_> {
    /// Down, in a world where everything does as it is told: ends in an empty tree, and then
    /// nothing is left to do.
    pub fn quiet(&mut self) {
        self.all_speak();
        self.step(Event::Down { project: None, targets: Vec::new() });
        self.obey();
        assert!(self.shims.is_empty(), "still there: {:?}", self.shims);
        assert!(self.checks.is_empty(), "still asked: {:?}", self.checks);
        self.done.clear();
        assert!(self.world.is_idle());
        assert_eq!(self.world.next_deadline(), None);
        assert_eq!(self.world.outcome(PROJECT, &[], Goal::Down), Some(Outcome::Down));
        self.now = self.now.after(ms(1_000_000));
        assert_eq!(self.step(Event::Tick), 0);
    }

    /// What was told to stop does, and what has ended is buried.
    fn obey(&mut self) {
        for _ in 0..1_000 {
            let Some((id, shim)) = self.shims.iter_mut().find(|(_, s)| s.told || s.exit.is_some())
            else {
                break;
            };
            let (id, life) = (id.clone(), shim.life);
            let event = if shim.exit.is_some() {
                shim.over = true;
                Event::Emptied { id, life }
            } else {
                self.exit(&id, 0)
            };
            self.step(event);
        }
    }

    fn up(&mut self, targets: &[Arc<str>], lease: Option<&Lease>) {
        if let Some(lease) = lease {
            return self.lease(lease.clone(), targets.to_vec());
        }
        self.paused.clear();
        let (project, definitions) = (Arc::from(PROJECT), self.file.clone());
        self.step(Event::Up { project, definitions, targets: targets.to_vec() });
    }

    fn restart(&mut self, targets: Vec<Arc<str>>) {
        self.paused.clear();
        self.touched.extend(targets.iter().map(|name| stage::id(name)));
        let (project, definitions) = (Arc::from(PROJECT), self.file.clone());
        self.step(Event::Restart { project, definitions, targets, lease: None });
    }

    /// One service alone comes up with all that it needs, and goes: what it needed lingers.
    pub fn fade(&mut self) {
        let targets = vec![Arc::from(NAMES[self.pick(NAMES.len())])];
        if self.file.contains_key(&targets[0]) {
            self.quiet();
            self.bloom(&targets, None);
            self.down(targets);
        }
    }

    /// The same by a lease, and nobody says `down`: what is given back goes by itself, all of it.
    pub fn ebb(&mut self) {
        let targets = vec![Arc::from(NAMES[self.pick(NAMES.len())])];
        if !self.file.contains_key(&targets[0]) {
            return;
        }
        self.quiet();
        self.release(self.holds.leases.iter().map(|(lease, _)| lease.id.clone()).collect());
        let lease = self.some_lease();
        self.bloom(&targets, Some(&lease));
        self.release(vec![lease.id]);
        let since = self.now;
        for _ in 0..1_000 {
            if self.world.is_idle() {
                break;
            }
            self.obey();
            self.pass();
        }
        assert!(self.world.is_idle(), "something stays for nobody: {:?}", self.world.views(None));
        assert!(self.now.since(since) <= ms(30_000), "it lingered too long");
        assert_eq!(self.world.next_deadline(), None);
    }

    /// All are up, and some are to live anew: what stands on them holds them back for no longer
    /// than it takes.
    pub fn renew(&mut self) {
        self.bloom(&[], None);
        for _ in 0..8 {
            let name: Arc<str> = NAMES[self.pick(NAMES.len())].into();
            if self.is_sound() && self.file.contains_key(&name) {
                self.restart(vec![name]);
                self.bloom(&[], None);
            }
        }
    }

    /// Up, in a world where everything goes well: ends in all being ready.
    pub fn bloom(&mut self, targets: &[Arc<str>], lease: Option<&Lease>) {
        self.all_speak();
        if !self.is_sound() {
            return;
        }
        self.up(targets, lease);
        let mut failed = 0;
        for _ in 0..2_000 {
            match self.world.outcome(PROJECT, targets, Goal::Ready) {
                Some(Outcome::Ready) => return,
                // What began badly before may still run into its start_timeout: asked again.
                Some(Outcome::Failed { .. }) if failed < 10 => {
                    failed += 1;
                    self.up(targets, lease);
                }
                Some(Outcome::Failed { .. } | Outcome::Down) => break,
                None => {}
            }
            if let Some((id, check)) = self.checks.iter_mut().find(|(_, c)| !c.asked.is_empty()) {
                let test = check.asked.pop_first().expect("asked");
                let verdict = Verdict::Pass("yes".into());
                check.hears(test, &verdict);
                let (id, life) = (id.clone(), check.life);
                self.step(Event::Probed { id, life, test, verdict });
                continue;
            }
            let open = self.shims.iter_mut().find(|(_, shim)| {
                let oneshot = shim.definition.kind == Kind::Oneshot;
                let waits = !shim.asked.is_empty() || shim.pid.is_none() || oneshot;
                waits || shim.told || shim.exit.is_some()
            });
            let Some((id, shim)) = open else {
                self.pass();
                continue;
            };
            let (id, life) = (id.clone(), shim.life);
            let event = if shim.exit.is_some() {
                shim.over = true;
                Event::Emptied { id, life }
            } else if shim.pid.is_none() {
                shim.pid = Some(7);
                Event::Started { id, life, pid: 7 }
            } else if shim.told || shim.definition.kind == Kind::Oneshot {
                self.exit(&id, 0)
            } else {
                let test = shim.asked.pop_first().expect("asked");
                Event::Probed { id, life, test, verdict: Verdict::Pass("yes".into()) }
            };
            self.step(event);
        }
        let views = self.world.views(None);
        let rows = views.iter().map(|v| (&*v.id.name, v.want, v.state, &v.message));
        panic!("never came up: {:#?}\n{:?}", rows.collect::<Vec<_>>(), self.shims);
    }
}
