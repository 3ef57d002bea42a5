//! Who holds what, as the naive world has it: `up` by names, sessions by leases.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_core::*;

use crate::{
    naive::{Model, NAMES, is_command},
    stage::{self, PROJECT},
};

/// So many leases at a time.
const MOST: usize = 6;
const SESSIONS: [&str; 3] = ["zsh", "vim", "cargo"];

/// Holders that need nothing else to stay.
#[derive(Debug, Default)]
pub struct Holds {
    pub named: BTreeSet<Arc<str>>,
    /// Oldest first.
    pub leases: Vec<(Lease, BTreeSet<Arc<str>>)>,
    /// So many were taken.
    pub taken: usize,
}

impl Holds {
    /// What the file has no more is held by nobody.
    fn keep(&mut self, definitions: &BTreeMap<Arc<str>, Definition>) {
        self.named.retain(|name| definitions.contains_key(name));
        for (_, services) in &mut self.leases {
            services.retain(|name| definitions.contains_key(name));
        }
    }

    /// What the lease holds; it is a new one where it is not known.
    fn of(&mut self, lease: &Lease) -> &mut BTreeSet<Arc<str>> {
        if !self.leases.iter().any(|(known, _)| known == lease) {
            self.leases.push((lease.clone(), BTreeSet::new()));
        }
        let (_, services) = self.leases.iter_mut().find(|(known, _)| known == lease).expect("put");
        services
    }

    fn has(&self, name: &str) -> bool {
        self.named.contains(name) || self.leases.iter().any(|(_, held)| held.contains(name))
    }
}

impl Model<'_> {
    /// A lease that is there, or a new one.
    pub fn some_lease(&mut self) -> Lease {
        let known = self.holds.leases.len();
        if known >= MOST || known > 0 && self.pick(3) == 0 {
            let at = self.pick(known);
            return self.holds.leases[at].0.clone();
        }
        self.holds.taken += 1;
        let session = SESSIONS[self.pick(SESSIONS.len())];
        Lease { id: format!("{session}/{}", self.holds.taken).into(), session: session.into() }
    }

    pub fn lease(&mut self, lease: Lease, targets: Vec<Arc<str>>) {
        self.paused.clear();
        let (project, definitions) = (Arc::from(PROJECT), self.file.clone());
        self.step(Event::Lease { lease, project, definitions, targets });
    }

    /// Some leases are over: one, all of a session, or all; a name that nobody knows is among them.
    pub fn some_are_over(&mut self) {
        let leases = self.holds.leases.iter().map(|(lease, _)| lease.clone());
        let mut over: Vec<Lease> = leases.collect();
        match self.pick(4) {
            0 => {}
            1 => {
                let session = SESSIONS[self.pick(SESSIONS.len())];
                over.retain(|lease| &*lease.session == session);
            }
            _ if over.is_empty() => {}
            _ => over = vec![over.swap_remove(self.pick(over.len()))],
        }
        let unknown = Arc::from("zsh/0");
        self.release(over.into_iter().map(|lease| lease.id).chain([unknown]).collect());
    }

    pub fn release(&mut self, leases: Vec<Arc<str>>) {
        self.steady = self.steady();
        self.step(Event::Release { leases });
    }

    /// News of leases that fits nothing.
    pub fn stray_lease(&mut self) -> Event {
        let Some((lease, _)) = self.holds.leases.first() else {
            return Event::Release { leases: stage::names(&["vim/0"]) };
        };
        let (mut lease, mut project) = (lease.clone(), Arc::from(PROJECT));
        match self.pick(2) {
            0 => lease.session = "somebody".into(),
            _ => project = "/other".into(),
        }
        let definitions = self.file.clone();
        Event::Lease { lease, project, definitions, targets: Vec::new() }
    }

    /// Before the step: what follows from it for who holds what.
    pub fn foresee(&mut self, event: &Event) {
        match event {
            Event::Up { definitions, targets, .. } => {
                self.holds.keep(definitions);
                self.holds.named.extend(meant(definitions, targets));
            }
            Event::Lease { lease, project, definitions, targets } => {
                let mut known = self.holds.leases.iter().map(|(known, _)| known);
                let known = known.find(|known| known.id == lease.id);
                if known.is_some_and(|known| known != lease || **project != *PROJECT) {
                    return;
                }
                self.holds.keep(definitions);
                self.holds.of(lease).extend(meant(definitions, targets));
            }
            Event::Restart { definitions, targets, lease, .. } => {
                let views = self.world.views(None);
                let held = |name: &Arc<str>| {
                    views.iter().any(|view| view.id.name == *name && !view.held_by.is_empty())
                };
                let mut free = meant(definitions, targets);
                free.retain(|name| !held(name));
                match lease {
                    _ if free.is_empty() => {}
                    Some(lease) => self.holds.of(lease).extend(free),
                    None => self.holds.named.extend(free),
                }
            }
            Event::Release { leases } => {
                self.holds.leases.retain(|(lease, _)| !leases.contains(&lease.id));
            }
            Event::Down { targets, .. } => self.foresee_down(targets),
            _ => {}
        }
    }

    /// What a `down` takes is what was told that it would take.
    fn foresee_down(&mut self, targets: &[Arc<str>]) {
        let told = self.world.leased(Some(PROJECT), targets, None);
        for session in SESSIONS {
            let mut others = told.clone();
            others.retain(|row| &*row.lease.session != session);
            assert_eq!(self.world.leased(None, targets, Some(session)), others);
        }
        let target = |name: &Arc<str>| targets.is_empty() || targets.contains(name);
        for row in &told {
            let named = row.needs.is_none();
            assert_eq!(named, target(&row.id.name), "{row:?}");
            assert!(row.needs.as_ref().is_none_or(|need| targets.contains(need)), "{row:?}");
        }
        let holds = std::mem::take(&mut self.holds.leases);
        for (lease, services) in holds {
            let (falls, stays): (BTreeSet<_>, _) = services.into_iter().partition(|name| {
                told.iter().any(|row| row.lease == lease && row.id.name == *name)
            });
            for name in &stays {
                let goes = targets.is_empty() || self.reaches(&stage::id(name), targets);
                assert!(!goes, "{name} of {lease:?} is taken, and was not told");
            }
            let count = told.iter().filter(|row| row.lease == lease).count();
            assert_eq!(count, falls.len(), "told of what it does not hold: {told:?}");
            self.holds.leases.push((lease, stays));
        }
    }

    /// After the step: all holds are as foreseen, what they hold stays, and nothing else does.
    pub fn compare_holds(&mut self, views: &[NodeView], event: &Event) {
        let shown = views.iter().filter(|view| view.held_by.contains(&Holder::Up));
        let shown: BTreeSet<Arc<str>> = shown.map(|view| view.id.name.clone()).collect();
        match event {
            // What goes because of needs that the next life has is not known here.
            Event::Down { targets, .. } => {
                let fallen = self.holds.named.difference(&shown).cloned().collect::<Vec<_>>();
                let target = |name: &Arc<str>| targets.is_empty() || targets.contains(name);
                assert!(!shown.iter().any(target), "{shown:?} after a down of {targets:?}");
                let down = |name: &Arc<str>| {
                    let view = views.iter().find(|view| view.id.name == *name);
                    view.is_none_or(|view| view.want == Want::Down)
                };
                assert!(fallen.iter().all(down), "{fallen:?} lost their name");
                self.holds.named.retain(|name| shown.contains(name));
            }
            Event::Adopted { id, .. } | Event::Mute { id, .. } if shown.contains(&id.name) => {
                self.holds.named.insert(id.name.clone());
            }
            _ => {}
        }
        assert_eq!(shown, self.holds.named, "named by up");
        let leases = self.world.leases().into_iter();
        let leases = leases.map(|view| (view.lease, view.services.into_iter().collect()));
        assert_eq!(leases.collect::<Vec<_>>(), self.holds.leases, "what leases hold");
        for view in views {
            let mut expected: Vec<Holder> = Vec::new();
            expected.extend(self.holds.named.contains(&view.id.name).then_some(Holder::Up));
            let leases = self.holds.leases.iter().filter(|(_, held)| held.contains(&view.id.name));
            expected.extend(leases.map(|(lease, _)| Holder::Lease(lease.clone())));
            assert!(view.held_by.starts_with(&expected), "{expected:?}: {view:?}");
            let rest = &view.held_by[expected.len()..];
            assert!(rest.iter().all(|holder| matches!(holder, Holder::Dependent(_))), "{view:?}");
        }
        self.compare_stays(views);
        // These go by what is compared after every step.
        if is_command(event) || self.pick(16) == 0 {
            views.iter().for_each(|view| self.compare_why(views, view));
            for session in SESSIONS {
                let mut all = self.world.leases();
                all.retain(|view| &*view.lease.session == session);
                assert_eq!(self.world.leases_of(session), all);
            }
        }
    }

    /// What is held stays, and all that it needs.
    fn compare_stays(&self, views: &[NodeView]) {
        for view in views.iter().filter(|view| self.holds.has(&view.id.name)) {
            for other in views {
                if self.reaches(&view.id, std::slice::from_ref(&other.id.name)) {
                    let stays = other.want == Want::Up && other.lingers_until.is_none();
                    assert!(stays, "{:?} is held, and it needs {other:?}", view.id);
                }
            }
        }
    }

    /// Who is wanted is so because of somebody who holds something, who is named, and by a shortest
    /// way.
    fn compare_why(&self, views: &[NodeView], view: &NodeView) {
        let reasons = self.world.why(&view.id);
        let above = |name: &str| {
            let view = views.iter().find(|view| *view.id.name == *name).expect("shown");
            view.held_by.iter().filter_map(|holder| match holder {
                Holder::Dependent(name) => Some(name.clone()),
                Holder::Up | Holder::Lease(_) => None,
            })
        };
        let mut far: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let mut level: BTreeSet<Arc<str>> = BTreeSet::from([view.id.name.clone()]);
        for distance in 0..=NAMES.len() {
            level.retain(|name| !far.contains_key(name));
            far.extend(level.iter().map(|name| (name.clone(), distance)));
            level = level.iter().flat_map(|name| above(name)).collect();
        }
        let nearest = |held: &BTreeSet<Arc<str>>| held.iter().filter_map(|n| far.get(n)).min();
        let up = nearest(&self.holds.named).map(|far| (None, *far));
        let leases = self.holds.leases.iter().filter_map(|(lease, held)| {
            nearest(held).map(|distance| (Some(lease.clone()), *distance))
        });
        let expected: Vec<(Option<Lease>, usize)> = up.into_iter().chain(leases).collect();
        let told = reasons.iter().map(|reason| (reason.lease.clone(), reason.through.len()));
        assert_eq!(told.collect::<Vec<_>>(), expected, "{view:?}");
        assert_eq!(!reasons.is_empty(), !view.held_by.is_empty(), "wanted for nobody: {view:?}");
        for reason in &reasons {
            let way: Vec<&Arc<str>> = reason.through.iter().chain([&view.id.name]).collect();
            let held = match &reason.lease {
                None => &self.holds.named,
                Some(lease) => {
                    let known = self.holds.leases.iter().find(|(known, _)| known == lease);
                    &known.expect("foreseen").1
                }
            };
            assert!(held.contains(way[0]), "{reason:?} of {view:?}");
            for pair in way.windows(2) {
                assert!(above(pair[1]).any(|name| name == *pair[0]), "{reason:?} of {view:?}");
            }
        }
    }

    /// A released one is not stopped before its time.
    pub fn compare_released(&mut self, views: &[NodeView]) {
        for id in &std::mem::take(&mut self.steady) {
            let definition = self.world.definition(id).expect("known");
            let view = views.iter().find(|view| view.id == *id).expect("known");
            assert!(definition.linger.is_zero() || view.want == Want::Up, "went at once: {view:?}");
        }
    }
}

/// The names that are meant.
fn meant(definitions: &BTreeMap<Arc<str>, Definition>, targets: &[Arc<str>]) -> Vec<Arc<str>> {
    let mine = definitions.iter().filter(|(name, definition)| match targets.is_empty() {
        true => definition.enabled,
        false => targets.contains(name),
    });
    mine.map(|(name, _)| name.clone()).collect()
}
