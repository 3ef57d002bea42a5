//! Requests: what each asks of the core, and what its listener is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_api::stream::Line;
use hearth_config::Project;
use hearth_core::{Event, Goal, ServiceId, Want};

use super::streams::Listener;
use super::{Owner, REPEATABLE};
use crate::capture::Capture;
use crate::command::{Command, Down, Up};
use crate::convert;
use crate::refuse::{self, Refusal};
use crate::upstream::{self, Item, Upstream, to_bytes};

impl Owner {
    pub(super) fn answer(&mut self, command: Command) {
        // Who asked may be gone: what was asked for is done nevertheless.
        match command {
            Command::Up(up, reply) if self.buries(&up.project) => self.parked.push((up, reply)),
            Command::Up(up, reply) => drop(reply.send(Ok(self.up(up)))),
            Command::Down(down, reply) => {
                // In the order in which they came.
                self.unpark(true);
                drop(reply.send(self.down(down)));
            }
            Command::Rows(project, reply) => drop(reply.send(self.rows(project.as_ref()))),
            Command::Health(project, reply) => drop(reply.send(self.health(project.as_ref()))),
            Command::Names(project, reply) => drop(reply.send(self.names(project.as_ref()))),
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
        let (due, parked) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition::<Vec<_>, _>(|(up, _)| all || !self.buries(&up.project));
        self.parked = parked;
        for (up, reply) in due {
            drop(reply.send(Ok(self.up(up))));
        }
    }

    fn up(&mut self, up: Up) -> Upstream {
        let Up { project, file, targets, capture, restart, request } = up;
        let before = self.before(Some(&project));
        let mut scope = reach(&project, &file, &targets);
        if self.is_new(request) {
            self.take_in(&project, &file);
            let definitions = definitions(&file);
            let event = match restart {
                true => Event::Restart {
                    project: project.clone(),
                    definitions,
                    targets: targets.clone(),
                },
                false => {
                    Event::Up { project: project.clone(), definitions, targets: targets.clone() }
                }
            };
            let actions = self.world.step(event, self.clock.now());
            scope.extend(self.now_unwanted(&before.wanted));
            let anew = if restart { chosen(&project, &file, &targets) } else { BTreeSet::new() };
            self.give_capture(&project, &before.wanted, &anew, capture);
            self.renew_bundle(&project);
            self.save();
            let stream =
                self.listen(&before, scope, vec![Arc::clone(&project)], targets, Goal::Ready);
            self.carry_out_and_tell(actions);
            // One that waited for its environment has got it by this.
            self.begin_all_next(&project);
            return stream;
        }
        let stream = self.listen(&before, scope, vec![project], targets, Goal::Ready);
        self.carry_out_and_tell(Vec::new());
        stream
    }

    fn down(&mut self, down: Down) -> Result<Upstream, Refusal> {
        let Down { project, targets } = down;
        let names = self.names(project.as_ref());
        for target in &targets {
            if !names.iter().any(|id| id.name == *target) {
                let known: Vec<&str> = names.iter().map(|id| &*id.name).collect();
                let place = project.as_deref().unwrap_or("any project that runs");
                return Err(refuse::no_such_service(target, place, &known));
            }
        }
        let before = self.before(project.as_ref());
        let mine = |id: &&ServiceId| targets.is_empty() || targets.contains(&id.name);
        let mut scope: BTreeSet<ServiceId> = names.iter().filter(mine).cloned().collect();
        let mut projects: Vec<Arc<str>> = names.iter().map(|id| Arc::clone(&id.project)).collect();
        projects.dedup();
        let event = Event::Down { project, targets: targets.clone() };
        let actions = self.world.step(event, self.clock.now());
        self.save();
        scope.extend(self.now_unwanted(&before.wanted));
        let stream = self.listen(&before, scope, projects, targets, Goal::Down);
        self.carry_out_and_tell(actions);
        Ok(stream)
    }

    /// A request whose id was seen before was carried out: it is only waited for.
    fn is_new(&mut self, request: Option<String>) -> bool {
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

    /// What is new in the file, and which number its next life gets.
    fn take_in(&mut self, project: &Arc<str>, file: &Project) {
        for service in &file.services {
            let id = ServiceId::new(Arc::clone(project), service.name.as_str());
            if self.world.view(&id).is_none()
                && let Ok(Some(life)) = hearth_logs::Reader::open(self.place.log(&id)).last_life()
            {
                self.world.set_last_life(&id, life);
            }
            self.nodes.entry(id).or_default().offer(service.clone());
        }
    }

    /// The caller's environment, for what is wanted only since now, and for what begins `anew`.
    fn give_capture(
        &mut self,
        project: &Arc<str>,
        wanted: &BTreeSet<ServiceId>,
        anew: &BTreeSet<ServiceId>,
        capture: Capture,
    ) {
        let mut shared = None;
        for view in self.world.views(Some(project)) {
            let (id, up) = (view.id, view.want == Want::Up);
            let has = self.nodes.get(&id).is_some_and(|node| node.capture.is_some());
            if up && (!wanted.contains(&id) || anew.contains(&id) || !has) {
                let taken = shared.get_or_insert_with(|| self.share(&id, capture.clone()));
                let taken = Arc::clone(taken);
                self.nodes.entry(id).or_default().capture = Some(taken);
            }
        }
    }

    /// Equal captures of a project are one in memory.
    pub(super) fn share(&self, id: &ServiceId, capture: Capture) -> Arc<Capture> {
        let mut others = self.nodes.iter().filter(|(other, _)| other.project == id.project);
        let same =
            others.find_map(|(_, node)| node.capture.as_ref().filter(|had| ***had == capture));
        same.map_or_else(|| Arc::new(capture), Arc::clone)
    }

    fn before(&mut self, project: Option<&Arc<str>>) -> Before {
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

    /// Puts a listener on the list and gives it its snapshot: how things were before.
    fn listen(
        &mut self,
        before: &Before,
        scope: BTreeSet<ServiceId>,
        projects: Vec<Arc<str>>,
        targets: Vec<Arc<str>>,
        goal: Goal,
    ) -> Upstream {
        let (source, stream) = upstream::open();
        let mine = |row: &&hearth_api::ServiceRow| {
            scope
                .iter()
                .any(|id| *id.name == *row.name && Some(&*id.project) == row.project.as_deref())
        };
        let services = before.rows.iter().filter(mine).cloned().collect();
        source.put(Item::Line(to_bytes(&Line::Snapshot { services })));
        // Who left while nothing happened was not noticed.
        self.listeners.retain(|listener| !listener.source.is_closed());
        self.listeners.push(Listener { scope, projects, targets, goal, source });
        stream
    }

    fn carry_out_and_tell(&mut self, actions: Vec<hearth_core::Action>) {
        self.carry_out(actions);
        while let Some(event) = self.later.pop_front() {
            self.step(event);
        }
        // Wants may have changed with no state to show for it.
        self.tell_outcomes();
    }
}

/// How things were when a request came.
struct Before {
    wanted: BTreeSet<ServiceId>,
    rows: Vec<hearth_api::ServiceRow>,
}

fn definitions(file: &Project) -> BTreeMap<Arc<str>, hearth_core::Definition> {
    let numbered = file.services.iter().zip(0u32..);
    let definition = |(service, order): (&hearth_config::Service, u32)| {
        (Arc::from(service.name.as_str()), convert::definition(service, order))
    };
    numbered.map(definition).collect()
}

/// The services that are meant.
fn chosen(project: &Arc<str>, file: &Project, targets: &[Arc<str>]) -> BTreeSet<ServiceId> {
    let mine = |service: &&hearth_config::Service| match targets.is_empty() {
        true => service.enabled,
        false => targets.iter().any(|target| **target == *service.name),
    };
    let services = file.services.iter().filter(mine);
    services.map(|service| ServiceId::new(Arc::clone(project), service.name.as_str())).collect()
}

/// The services that are meant, and all that they need.
fn reach(project: &Arc<str>, file: &Project, targets: &[Arc<str>]) -> BTreeSet<ServiceId> {
    let mut reached = BTreeSet::new();
    let mut todo: Vec<ServiceId> = chosen(project, file, targets).into_iter().collect();
    while let Some(id) = todo.pop() {
        let needs = file.service(&id.name).map_or(&[][..], |service| &service.needs);
        let needed =
            needs.iter().map(|need| ServiceId::new(Arc::clone(project), need.service.as_str()));
        todo.extend(needed.filter(|need| !reached.contains(need)));
        reached.insert(id);
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_about_its_targets_and_what_they_need() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[services.a]\nrun = 'x'\n[services.b]\nrun = 'x'\nneeds = ['a']\n\
                    [services.c]\nrun = 'x'\nenabled = false\nneeds = ['b']\n[services.d]\nrun = 'x'\n";
        std::fs::write(dir.path().join("hearth.toml"), text).unwrap();
        let file = hearth_config::load(dir.path()).unwrap();
        let project: Arc<str> = "/p".into();
        let names = |targets: &[&str]| {
            let targets: Vec<Arc<str>> = targets.iter().map(|name| Arc::from(*name)).collect();
            let reached = reach(&project, &file, &targets);
            reached.into_iter().map(|id| id.name.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&[]), "a b d");
        assert_eq!(names(&["c"]), "a b c");
        assert_eq!(names(&["d"]), "d");
    }
}
