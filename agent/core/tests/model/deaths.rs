//! Agents die, and others go on.

use std::collections::BTreeSet;

use hearth_core::*;

use crate::{naive::Model, stage::ms};

impl Model<'_> {
    /// The agent dies, and another one goes on with what it had saved and with what lives. Some of
    /// the shims are mute at first, some have died too.
    pub fn dies(&mut self) {
        let text = serde_json::to_string(&self.saved).expect("written");
        let (saved, leases): (Vec<Saved>, Vec<SavedLease>) =
            serde_json::from_str(&text).expect("read");
        let old = std::mem::take(&mut self.world);
        let (fresh, alone) = (saved == old.saved(), self.shims.is_empty());
        self.stale = !fresh;
        let wait = self.pick(3);
        self.now = self.now.after(ms(wait as u64 * 40));
        self.mute.clear();
        self.world.restore(saved.clone(), self.now);
        self.was_put_back(&saved);
        self.world.restore_leases(leases.clone());
        assert_eq!(self.world.saved_leases(), leases, "something was not put back");
        self.world.restore_leases(leases);
        assert_eq!(self.world.leases(), old.leases(), "a lease was forgotten");
        for (id, life) in &self.lives {
            self.world.set_last_life(id, *life);
        }
        assert_eq!(self.world.next_deadline(), None, "nothing is due before it was heard");
        self.find_checks();
        self.waits.clear();
        self.find_lingering();
        self.find_pauses();
        self.states = self.world.views(None).into_iter().map(|v| (v.id, v.state)).collect();
        for before in old.views(None) {
            let after = self.world.view(&before.id).expect("it was saved");
            // That it lingers no more is no command, and may not be saved.
            let same = before.want == after.want || after.lingers_until.is_some();
            assert!(same, "a command was forgotten");
        }
        let pauses = |world: &World| {
            let resting = |view: &NodeView| matches!(view.state, State::Backoff | State::Failed);
            let saved = world.saved();
            let views = world.views(None).into_iter().filter(resting);
            views.map(|v| saved.iter().find(|s| *s.id() == v.id).cloned()).collect::<Vec<_>>()
        };
        let resting = pauses(&self.world);
        let ids: Vec<ServiceId> = self.shims.keys().cloned().collect();
        for id in ids {
            match self.pick(6) {
                0 => self.is_mute(&id, &old),
                1 => {
                    let life = self.shims.remove(&id).expect("known").life;
                    let left = Vec::new();
                    self.step(Event::ShimLost { id, life, at: "then".into(), left });
                }
                _ => self.takes_over(&id, &old),
            }
        }
        let views = self.world.views(None);
        let living = |view: &&NodeView| {
            matches!(
                view.state,
                State::Starting | State::Ready | State::Unhealthy | State::Stopping
            )
        };
        let mut lost: Vec<NodeView> = views.iter().filter(living).cloned().collect();
        lost.retain(|view| !self.shims.contains_key(&view.id) && view.kind != Kind::Check);
        let mut unheard = self.world.unheard();
        unheard.retain(|(id, _)| !self.mute.contains(id));
        let ids = |ids: Vec<ServiceId>| ids.into_iter().collect::<BTreeSet<_>>();
        let shown = ids(lost.iter().map(|view| view.id.clone()).collect());
        assert!(ids(unheard.iter().map(|(id, _)| id.clone()).collect()).is_subset(&shown));
        for view in lost {
            let (id, life) = (view.id, view.life);
            self.step(Event::Missing { id, life, at: "then".into() });
        }
        if fresh && alone {
            assert_eq!(pauses(&self.world), resting, "a pause or a count began anew");
        }
        // A session that has ended meanwhile, as the driver finds it out, or sooner.
        if self.pick(4) == 0 {
            self.some_are_over();
        }
        self.step(Event::Settled);
        if self.pick(4) == 0 {
            self.some_are_over();
        }
        self.step(Event::Tick);
    }

    /// Who lingers by what was saved. What the agent before knew later is past.
    fn find_lingering(&mut self) {
        let before = std::mem::take(&mut self.lingering);
        for view in self.world.views(None) {
            let Some(until) = view.lingers_until else { continue };
            let own = self.world.definition(&view.id).expect("known").linger;
            let since = before.get(&view.id).map(|(since, _)| *since);
            let since = since.unwrap_or(Time(until.0.saturating_sub(own)));
            self.lingering.insert(view.id, (since, view.state));
        }
    }

    fn was_put_back(&self, saved: &[Saved]) {
        let (after, before) = (self.world.saved(), saved);
        let whole = after == before;
        assert!(whole || is_circular(before), "something was not put back: {after:#?} {before:#?}");
        assert_eq!(without_needs(&after), without_needs(before), "something was not put back");
    }

    /// Who rests by what was saved. What ended later is not known to rest, nor what had begun anew.
    fn find_pauses(&mut self) {
        if !self.stale {
            return;
        }
        self.paused.clear();
        for view in self.world.views(None).iter().filter(|view| view.state == State::Backoff) {
            let backoff = self.world.definition(&view.id).expect("known").backoff;
            let until = self.now.after(backoff.max.max(backoff.min));
            self.resting.insert(view.id.clone(), until);
        }
    }

    fn is_mute(&mut self, id: &ServiceId, old: &World) {
        let shim = &self.shims[id];
        self.mute.insert(id.clone());
        let definition = old.definition(id).expect("it was saved").clone();
        let (life, pid, message) = (shim.life, shim.pid, "it does not answer".to_owned());
        self.step(Event::Mute { id: id.clone(), definition, life, pid, message });
    }

    /// A shim of the last agent answers.
    fn takes_over(&mut self, id: &ServiceId, old: &World) {
        let told = old.view(id).map_or((Want::Down, 0), |view| (view.want, view.restarts));
        let known = self.stale || self.pick(3) > 0;
        let shim = self.shims.get_mut(id).expect("known");
        shim.asked.clear();
        let (life, over) = (shim.life, shim.over);
        let event = Event::Adopted {
            id: id.clone(),
            definition: known.then(|| shim.definition.clone()),
            life,
            pid: shim.pid,
            exit: shim.exit.clone(),
            ready: shim.ready,
            want: told.0,
            restarts: told.1,
            stopping: shim.told,
        };
        self.step(event);
        if over && self.shims.contains_key(id) {
            self.step(Event::Emptied { id: id.clone(), life });
        }
    }

    /// A shim that was mute answers at last.
    pub fn speaks(&mut self) {
        if let Some(id) = self.mute.pop_first()
            && self.shims.contains_key(&id)
        {
            let world = World::new();
            self.takes_over(&id, &world);
            self.step(Event::Tick);
        }
    }

    pub fn all_speak(&mut self) {
        while !self.mute.is_empty() {
            self.speaks();
        }
    }

    /// The agent dies with all that it knew, and another one takes over what lives.
    pub fn adopt(&mut self) {
        self.mute.clear();
        let old = std::mem::take(&mut self.world);
        self.states.clear();
        self.paused.clear();
        self.done.clear();
        self.resting.clear();
        self.saved = Default::default();
        self.holds.named.clear();
        self.holds.leases.clear();
        self.lingering.clear();
        self.checks.clear();
        self.asked.clear();
        self.waits.clear();
        for (id, life) in &self.lives {
            self.world.set_last_life(id, *life);
        }
        let ids: Vec<ServiceId> = self.shims.keys().cloned().collect();
        for id in ids {
            let want = old.view(&id).map_or(Want::Down, |view| view.want);
            let shim = self.shims.get_mut(&id).expect("known");
            shim.asked.clear();
            if shim.exit.as_ref().is_some_and(|exit| exit.code == Some(0))
                && shim.definition.kind == Kind::Oneshot
                && !shim.told
            {
                self.done.insert(id.clone());
            }
            let event = Event::Adopted {
                id,
                definition: Some(shim.definition.clone()),
                life: shim.life,
                pid: shim.pid,
                exit: shim.exit.clone(),
                ready: shim.ready,
                want,
                restarts: 0,
                stopping: shim.told,
            };
            self.step(event);
        }
        self.step(Event::Tick);
    }
}

fn written(saved: &[Saved]) -> impl Iterator<Item = serde_json::Value> {
    saved.iter().map(|one| serde_json::to_value(one).expect("written"))
}

/// What must be as it was even where old needs and new ones make a circle, and some are left out.
fn without_needs(saved: &[Saved]) -> Vec<serde_json::Value> {
    let bare = |mut value: serde_json::Value| {
        value["definition"]["needs"].take();
        if !value["pending"].is_null() {
            value["pending"]["needs"].take();
        }
        value
    };
    written(saved).map(bare).collect()
}

fn is_circular(saved: &[Saved]) -> bool {
    let read = |value: &serde_json::Value| -> Option<Definition> {
        serde_json::from_value(value.clone()).expect("read")
    };
    let both = saved.iter().zip(written(saved)).map(|(one, value)| {
        let mut both = read(&value["definition"]).expect("always there");
        both.needs.extend(read(&value["pending"]).into_iter().flat_map(|next| next.needs));
        both.needs.retain(|need| saved.iter().any(|other| other.id().name == need.service));
        (one.id().name.clone(), both)
    });
    !plan::faults(&both.collect()).is_empty()
}
