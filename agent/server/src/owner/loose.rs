//! Services that are in no file: what `hearth run` has brought.
//!
//! Invariant: to the core they are services of their project like all others; that no file has them is
//! known here alone. So that no `up` takes them for removed, they are put behind the services of the
//! file, switched off: no verb without names means them. Where the file has a name too, the file wins.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearth_api::{Code, Problem};
use hearth_config::{Project, Service};
use hearth_core::{Action, Definition, Event, Goal, Holder, ServiceId, State};

use super::Owner;
use super::streams::Wanted;
use crate::capture::Taken;
use crate::command::Run;
use crate::convert;
use crate::refuse::Refusal;
use crate::upstream::Upstream;

/// A file, and what belongs to its project besides.
pub(super) struct Whole {
    /// The services of the file, then those of none.
    pub(super) file: Arc<Project>,
    /// Names that `hearth run` had, and that the file has now.
    pub(super) replaced: Vec<Arc<str>>,
}

/// For who brings the file's service up.
pub(super) fn taken_over(name: &str) -> String {
    format!("{name} is in the file now: that takes the place of what `hearth run` had started")
}

impl Owner {
    /// The project with its loose services.
    pub(super) fn whole(&self, project: &Arc<str>, file: Arc<Project>) -> Whole {
        let is_named = |name: &str| {
            file.service(name).is_some() || file.groups.iter().any(|group| group.name == name)
        };
        let mine = self.nodes.iter().filter(|(id, node)| node.loose && id.project == *project);
        let (replaced, loose): (Vec<_>, Vec<_>) = mine.partition(|(id, _)| is_named(&id.name));
        let replaced = replaced.into_iter().map(|(id, _)| Arc::clone(&id.name)).collect();
        let loose: Vec<Service> =
            loose.iter().filter_map(|(_, node)| node.versions().last()).map(switched_off).collect();
        if loose.is_empty() {
            return Whole { file, replaced };
        }
        let mut file = Arc::unwrap_or_clone(file);
        file.services.extend(loose);
        Whole { file: Arc::new(file), replaced }
    }

    /// What the file has named by an `up` is the file's from then on: it goes when it leaves that.
    pub(super) fn are_the_files(&mut self, project: &Arc<str>, names: &[Arc<str>]) {
        for name in names {
            let id = ServiceId::new(Arc::clone(project), Arc::clone(name));
            if let Some(node) = self.nodes.get_mut(&id) {
                node.loose = false;
            }
        }
    }

    /// `hearth run`. Errors: the name is taken.
    pub(super) fn run_loose(&mut self, run: Run) -> Result<Upstream, Refusal> {
        let Run { project, file, service, taken, session, request, words } = run;
        if let Some(session) = &session {
            self.must_live(session)?;
        }
        let name: Arc<str> = Arc::from(service.name.as_str());
        let id = ServiceId::new(Arc::clone(&project), Arc::clone(&name));
        let known = request.as_ref().is_some_and(|request| self.done.contains(request));
        if !known {
            self.must_be_free(&id, &file)?;
        }
        let before = self.before(Some(&project));
        let mut actions = Vec::new();
        let mut notes = Vec::new();
        if self.is_new(request) {
            self.take_in_one(&id, &service);
            let Taken { capture, notes: cut } = taken;
            notes = cut;
            let capture = self.share(&id, capture);
            let node = self.nodes.entry(id.clone()).or_default();
            (node.loose, node.capture) = (true, Some(capture));
            let definition = convert::definition(&service, u32::MAX);
            actions = self.begin_loose(&id, definition, session.as_ref());
            self.renew_bundle(&project);
            self.save();
        }
        let wait = Wanted {
            projects: vec![Arc::clone(&project)],
            targets: vec![name],
            goal: Goal::Ready,
            notes,
            words,
            stays: false,
        };
        let stream = self.listen(&before, BTreeSet::from([id]), wait);
        self.carry_out_and_tell(actions);
        self.begin_all_next(&project);
        Ok(stream)
    }

    /// Of the file nothing is asked by this: only this one is told of.
    fn begin_loose(
        &mut self,
        id: &ServiceId,
        definition: Definition,
        session: Option<&Arc<str>>,
    ) -> Vec<Action> {
        let (project, targets) = (Arc::clone(&id.project), vec![Arc::clone(&id.name)]);
        let lease =
            session.map(|session| self.lease_for(session, &project, &BTreeSet::from([id.clone()])));
        let mut actions = Vec::new();
        let is_lease = |holder: &Holder| matches!(holder, Holder::Lease(_));
        let leased = self.world.view(id).is_some_and(|view| view.held_by.iter().any(is_lease));
        if lease.is_some() || leased {
            // Over, and wanted still: by whom it was had is not who has it now.
            let over = Event::Down { project: Some(project.clone()), targets: targets.clone() };
            let leases = self.leases_to_tell();
            actions = self.world.step(over, self.clock.now());
            self.tell_lost(leases);
        }
        let definitions = [(Arc::clone(&id.name), definition)].into();
        let event = Event::Restart { project, definitions, targets, lease: lease.clone() };
        actions.extend(match &lease {
            Some(lease) => self.step_for(lease, event),
            None => self.world.step(event, self.clock.now()),
        });
        actions
    }

    /// A name stands once in a project. That of a loose service that is over may be had again.
    fn must_be_free(&self, id: &ServiceId, file: &Project) -> Result<(), Refusal> {
        let name = &id.name;
        let path = file.file.display();
        let by_whom = if file.service(name).is_some() {
            format!("{path} has a service of that name")
        } else if file.groups.iter().any(|group| *group.name == **name) {
            format!("{path} has a group of that name")
        } else {
            match self.world.view(id) {
                // Over: nothing follows without being asked for.
                Some(view) if matches!(view.state, State::Down | State::Done | State::Failed) => {
                    return Ok(());
                }
                Some(_) => format!("a service of that name runs; `hearth down {name}` ends it"),
                None => return Ok(()),
            }
        };
        let words = format!("the name `{name}` is taken: {by_whom}");
        Err(Problem::new(Code::BadRequest, words, "`--name` gives it another one").into())
    }
}

fn switched_off(service: &Arc<Service>) -> Service {
    Service { enabled: false, ..(**service).clone() }
}
