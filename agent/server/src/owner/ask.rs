//! Requests: what each asks of the core, and what its listener is told.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use hearth_config::{Kind, Project, Service};
use hearth_core::{Action, Event, Goal, Lease, ServiceId, Want};

use super::kept::Kept;
use super::loose::{Whole, taken_over};
use super::meant::{chosen, definitions, meant, reach};
use super::streams::Wanted;
use super::{Owner, REPEATABLE};
use crate::capture::{Capture, Taken};
use crate::command::{Command, Down, Up, Wait};
use crate::files;
use crate::refuse::{self, Refusal};
use crate::upstream::Upstream;

impl Owner {
    pub(super) fn answer(&mut self, command: Command) {
        // Who asks finds what has ended before.
        self.hear_of_sessions(None);
        let parks = match &command {
            Command::Up(Up { project, .. }, _) | Command::Wait(Wait { project, .. }, _) => {
                self.buries(project)
            }
            Command::Run(run, _) => self.buries(&run.project),
            Command::Lease(lease, _) => self.buries(&lease.project),
            Command::Down(..)
            | Command::GiveBack(..)
            | Command::Sessions(..)
            | Command::Why(..)
            | Command::Env(..)
            | Command::Enable(..)
            | Command::Boot(_)
            | Command::ShutDown(_)
            | Command::Rows(..)
            | Command::Trees(_)
            | Command::Pulse(_)
            | Command::Health(..)
            | Command::Names(..)
            | Command::Subscribe(..)
            | Command::Freeze(_)
            | Command::Thaw(_)
            | Command::Leave(_) => false,
        };
        match parks {
            true => self.parked.push(command),
            false => self.carry_out_command(command),
        }
    }

    fn carry_out_command(&mut self, command: Command) {
        let Some(command) = self.refused_at_the_end(command) else { return };
        // Who asked may be gone: what was asked for is done nevertheless.
        match command {
            Command::Up(up, reply) => drop(reply.send(self.up(up))),
            Command::Run(run, reply) => drop(reply.send(self.run_loose(*run))),
            Command::Lease(lease, reply) => drop(reply.send(self.lease(*lease))),
            Command::GiveBack(id, reply) => drop(reply.send(self.give_back(&id))),
            Command::Sessions(sessions, reply) => drop(reply.send(self.session_rows(sessions))),
            Command::Why(id, reply) => drop(reply.send(self.why(&id))),
            Command::Wait(wait, reply) => drop(reply.send(self.wait(wait))),
            Command::Env(env, reply) => drop(reply.send(self.environment(env))),
            Command::Down(down, reply) => {
                // In the order in which they came.
                self.unpark(true);
                drop(reply.send(self.down(down)));
            }
            Command::Enable(enable, reply) => drop(reply.send(self.enable(enable))),
            Command::Boot(reply) => drop(reply.send(self.booted())),
            Command::ShutDown(reply) => self.shut_down(reply),
            Command::Rows(project, reply) => drop(reply.send(self.rows(project.as_ref()))),
            Command::Trees(reply) => drop(reply.send(self.trees())),
            Command::Pulse(reply) => drop(reply.send(())),
            Command::Health(project, reply) => drop(reply.send(self.health(project.as_ref()))),
            Command::Names(project, reply) => drop(reply.send(self.names(project.as_ref()))),
            Command::Subscribe(ask, reply) => drop(reply.send(self.subscribe(ask))),
            // The loop has these.
            Command::Freeze(reply) => drop(reply),
            Command::Thaw(reply) | Command::Leave(reply) => drop(reply),
        }
    }

    /// Whether the dead are still being buried in this project: who asks for a service whose shim
    /// died with the last agent is not to be told of that life's end, but to get the next one.
    fn buries(&self, project: &Arc<str>) -> bool {
        self.nodes.iter().any(|(id, node)| id.project == *project && node.clearing)
    }

    /// Carries out what waited for that; `all`: what still would, too.
    pub(super) fn unpark(&mut self, all: bool) {
        for command in std::mem::take(&mut self.parked) {
            match all {
                true => self.carry_out_command(command),
                false => self.answer(command),
            }
        }
    }

    fn up(&mut self, up: Up) -> Result<Upstream, Refusal> {
        if let Some(session) = &up.session {
            self.must_live(session)?;
        }
        let (project, words) = (Arc::clone(&up.project), up.words);
        let Brought { targets, before, scope, notes, actions } = self.bring_up(up, None)?;
        self.save();
        let (projects, goal, stays) = (vec![Arc::clone(&project)], Goal::Ready, false);
        let wait = Wanted { projects, targets, goal, notes, words, stays };
        let stream = self.listen(&before, scope, wait);
        self.carry_out_and_tell(actions);
        // One that waited for its environment has got it by this.
        self.begin_all_next(&project);
        Ok(stream)
    }

    /// All but telling: what is decided is to be saved, and then carried out. `lease`: what they are
    /// to be held by; else it is the session's, where there is one, or `up`.
    pub(super) fn bring_up(&mut self, up: Up, lease: Option<Lease>) -> Result<Brought, Refusal> {
        let Up { project, file, names, taken, restart, session, request, words: _ } = up;
        let Whole { file, replaced } = self.whole(&project, file);
        let targets = meant(&project, &file, &names)?;
        let before = self.before(Some(&project));
        let mut scope = reach(&project, &file, &targets);
        if !self.is_new(request) {
            let (notes, actions) = (Vec::new(), Vec::new());
            return Ok(Brought { targets, before, scope, notes, actions });
        }
        self.take_in(&project, &file);
        self.are_the_files(&project, &replaced);
        let mut notes: Vec<String> = replaced.iter().map(|name| taken_over(name)).collect();
        notes.extend(self.take_in_ports(&project, &file, &scope));
        let chosen = chosen(&project, &file, &targets);
        let definitions = definitions(&file);
        let (path, named) = (project.clone(), targets.clone());
        let lease = lease.or_else(|| self.lease_of(session.as_ref(), &project, &chosen, restart));
        let event = match (restart, lease.clone()) {
            (true, lease) => Event::Restart { project: path, definitions, targets: named, lease },
            (false, None) => Event::Up { project: path, definitions, targets: named },
            (false, Some(lease)) => {
                Event::Lease { lease, project: path, definitions, targets: named }
            }
        };
        let leases = self.leases_to_tell();
        let actions = match &lease {
            Some(lease) => self.step_for(lease, event),
            None => self.world.step(event, self.clock.now()),
        };
        self.tell_lost(leases);
        scope.extend(self.now_unwanted(&before.wanted));
        let anew = if restart { chosen } else { BTreeSet::new() };
        notes.extend(self.on_old_ports(&file, &scope, &anew));
        self.give_capture(&project, &before.wanted, (&scope, &anew), taken, &mut notes);
        self.renew_bundle(&project);
        Ok(Brought { targets, before, scope, notes, actions })
    }

    /// By what an `up` or a `restart` of these holds them; `None`: by name.
    fn lease_of(
        &self,
        session: Option<&Arc<str>>,
        project: &Arc<str>,
        chosen: &BTreeSet<ServiceId>,
        restart: bool,
    ) -> Option<Lease> {
        // A restart leaves to whom it belongs what somebody holds.
        let is_held = |id: &&ServiceId| {
            let view = self.world.view(id);
            view.is_some_and(|view| view.want == Want::Up && view.lingers_until.is_none())
        };
        let free = chosen.iter().filter(|id| !restart || !is_held(id)).cloned().collect();
        Some(self.lease_for(session?, project, &free))
    }

    fn wait(&mut self, wait: Wait) -> Result<Upstream, Refusal> {
        let Wait { project, names, words, stay } = wait;
        let file = self.files.read(&project);
        let readable = file.is_some() || project.is_empty();
        let file = file.unwrap_or_else(|| Arc::new(files::no_project()));
        let Whole { file, .. } = self.whole(&project, file);
        let (targets, scope) = match readable {
            true => {
                let targets = meant(&project, &file, &names)?;
                // All that are enabled, also those that nobody has wanted yet; checks where they are
                // needed.
                let all = file.services.iter().filter(|s| s.enabled && s.kind != Kind::Check);
                let targets = match targets.is_empty() {
                    true => all.map(|service| Arc::from(service.name.as_str())).collect(),
                    false => targets,
                };
                let scope = reach(&project, &file, &targets);
                (targets, scope)
            }
            // Of what runs, where the file does not tell.
            false => {
                self.must_know(Some(&project), &names)?;
                let ids = names.iter().map(|name| ServiceId::new(project.clone(), name.as_str()));
                (names.iter().map(|name| Arc::from(name.as_str())).collect(), ids.collect())
            }
        };
        let before = self.before(Some(&project));
        let wait = Wanted {
            projects: vec![project],
            targets,
            goal: Goal::Arrive,
            notes: Vec::new(),
            words,
            stays: stay,
        };
        let stream = self.listen(&before, scope, wait);
        self.carry_out_and_tell(Vec::new());
        Ok(stream)
    }

    fn down(&mut self, down: Down) -> Result<Upstream, Refusal> {
        let Down { project, names, session, force } = down;
        if let Some(session) = &session {
            self.must_live(session)?;
        }
        let names = self.ungrouped(project.as_ref(), names);
        let known = self.must_know(project.as_ref(), &names)?;
        let targets: Vec<Arc<str>> = names.into_iter().map(Arc::from).collect();
        if !force {
            self.must_be_nobody_else_s(project.as_ref(), &targets, session.as_deref())?;
        }
        let before = self.before(project.as_ref());
        let named: HashSet<&Arc<str>> = targets.iter().collect();
        let mine = |id: &&ServiceId| named.is_empty() || named.contains(&id.name);
        let mut scope: BTreeSet<ServiceId> = known.iter().filter(mine).cloned().collect();
        let mut projects: Vec<Arc<str>> = known.iter().map(|id| Arc::clone(&id.project)).collect();
        projects.dedup();
        let event = Event::Down { project, targets: targets.clone() };
        let leases = self.leases_to_tell();
        let actions = self.world.step(event, self.clock.now());
        self.tell_lost(leases);
        self.save();
        scope.extend(self.now_unwanted(&before.wanted));
        let (goal, notes, words, stays) = (Goal::Down, Vec::new(), false, false);
        let wait = Wanted { projects, targets, goal, notes, words, stays };
        let stream = self.listen(&before, scope, wait);
        self.carry_out_and_tell(actions);
        Ok(stream)
    }

    /// Names with groups of the project's file taken apart, as far as that can be read.
    fn ungrouped(&mut self, project: Option<&Arc<str>>, names: Vec<String>) -> Vec<String> {
        let Some(file) = project.and_then(|project| self.files.read(project)) else { return names };
        let group = |name: &String| file.groups.iter().find(|group| group.name == *name);
        let each = names.into_iter().flat_map(|name| match group(&name) {
            Some(group) => group.services.clone(),
            None => vec![name],
        });
        each.collect()
    }

    /// All services of a project, or of all. Errors: one of these names is of none of them.
    pub(super) fn must_know(
        &mut self,
        project: Option<&Arc<str>>,
        names: &[String],
    ) -> Result<Vec<ServiceId>, Refusal> {
        let known = self.names(project);
        let all: HashSet<&str> = known.iter().map(|id| &*id.name).collect();
        match names.iter().find(|name| !all.contains(name.as_str())) {
            None => Ok(known),
            Some(name) => {
                let names: Vec<&str> = known.iter().map(|id| &*id.name).collect();
                let place = refuse::place(project.map(|project| &**project));
                Err(refuse::no_such_service(name, place, &names))
            }
        }
    }

    /// A request whose id was seen before was carried out: it is only waited for.
    pub(super) fn is_new(&mut self, request: Option<String>) -> bool {
        let Some(request) = request else { return true };
        if self.done.contains(&request) {
            return false;
        }
        if self.done.len() >= REPEATABLE {
            self.done.pop_front();
        }
        self.done.push_back(request);
        true
    }

    /// What the agent before this one has carried out: it may have both saved it and handed it over.
    pub(super) fn done_before(&mut self, requests: Vec<String>) {
        for request in requests {
            self.is_new(Some(request));
        }
    }

    /// What is new in the file, and which number its next life gets.
    fn take_in(&mut self, project: &Arc<str>, file: &Project) {
        for service in &file.services {
            let id = ServiceId::new(Arc::clone(project), service.name.as_str());
            self.take_in_one(&id, service);
        }
    }

    /// A port that a stranger has taken is exchanged only for what is down and about to be up.
    fn take_in_ports(
        &mut self,
        project: &Arc<str>,
        file: &Project,
        scope: &BTreeSet<ServiceId>,
    ) -> Vec<String> {
        let world = &self.world;
        let has_it = |id: &ServiceId| {
            world.view(id).is_some_and(|view| view.want == Want::Up || world.lives(id, view.life))
        };
        self.ports.take_in(project, file, |id| !scope.contains(id) || has_it(id))
    }

    pub(super) fn take_in_one(&mut self, id: &ServiceId, service: &Service) {
        if self.world.view(id).is_none()
            && let Ok(Some(life)) = hearth_logs::Reader::open(self.place.log(id)).last_life()
        {
            self.world.set_last_life(id, life);
        }
        self.nodes.entry(id.clone()).or_default().offer(service.clone());
    }

    /// The caller's environment, for what is wanted only since now, and for what begins `anew`. What
    /// is in `scope` and keeps an old one is told of in `notes`.
    fn give_capture(
        &mut self,
        project: &Arc<str>,
        before: &BTreeSet<ServiceId>,
        (scope, anew): (&BTreeSet<ServiceId>, &BTreeSet<ServiceId>),
        taken: Taken,
        notes: &mut Vec<String>,
    ) {
        let Taken { capture, notes: cut } = taken;
        let mut shared = None;
        let mut kept = Kept::default();
        for view in self.world.views(Some(project)) {
            let (id, up) = (view.id, view.want == Want::Up);
            let node = self.nodes.entry(id.clone()).or_default();
            match &node.capture {
                Some(had) if !up || before.contains(&id) && !anew.contains(&id) => {
                    if up && scope.contains(&id) && view.kind != hearth_core::Kind::Check {
                        kept.note(&id.name, had, &capture);
                    }
                }
                None if !up => {}
                Some(_) | None => {
                    let taken = match &shared {
                        Some(taken) => Arc::clone(taken),
                        None => self.share(&id, capture.clone()),
                    };
                    shared = Some(Arc::clone(&taken));
                    self.nodes.entry(id).or_default().capture = Some(taken);
                }
            }
        }
        notes.extend(kept.words());
        if shared.is_some() {
            notes.extend(cut);
        }
    }

    /// Equal captures of a project are one in memory.
    pub(super) fn share(&self, id: &ServiceId, capture: Capture) -> Arc<Capture> {
        let mut others = self.nodes.iter().filter(|(other, _)| other.project == id.project);
        let same =
            others.find_map(|(_, node)| node.capture.as_ref().filter(|had| ***had == capture));
        same.map_or_else(|| Arc::new(capture), Arc::clone)
    }

    pub(super) fn before(&mut self, project: Option<&Arc<str>>) -> Before {
        let views = self.world.views(project.map(|project| &**project));
        let wanted = views.into_iter().filter(|view| view.want == Want::Up).map(|view| view.id);
        Before { wanted: wanted.collect(), rows: self.rows(project) }
    }

    /// What the last step has taken down.
    fn now_unwanted(&self, wanted: &BTreeSet<ServiceId>) -> Vec<ServiceId> {
        let unwanted =
            |id: &&ServiceId| self.world.view(id).is_none_or(|view| view.want == Want::Down);
        wanted.iter().filter(unwanted).cloned().collect()
    }

    pub(super) fn carry_out_and_tell(&mut self, actions: Vec<hearth_core::Action>) {
        self.carry_out(actions);
        while let Some(event) = self.later.pop_front() {
            self.step(event);
        }
        // Wants may have changed with no state to show for it.
        self.tell_outcomes();
    }
}

/// What became of an `up` that is not carried out yet.
pub(super) struct Brought {
    pub(super) targets: Vec<Arc<str>>,
    pub(super) before: Before,
    /// What it is about: what is named, what that needs, and what went for it.
    pub(super) scope: BTreeSet<ServiceId>,
    /// What the caller is to be told.
    pub(super) notes: Vec<String>,
    /// What the core has decided.
    pub(super) actions: Vec<Action>,
}

/// How things were when a request came.
pub(super) struct Before {
    pub(super) wanted: BTreeSet<ServiceId>,
    pub(super) rows: Vec<hearth_api::ServiceRow>,
}
