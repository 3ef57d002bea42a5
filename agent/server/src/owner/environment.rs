//! The environment of a service, for who asks: what it runs with, or would.
//!
//! Invariant: what is shown is what a life gets: made by the same steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_api::{Code, Problem};
use hearth_config::{Kind, Port, Project, Resolved, Service, Values};
use hearth_core::{ServiceId, Want};
use tracing::warn;

use super::Owner;
use super::loose::Whole;
use crate::capture::Capture;
use crate::command::Env;
use crate::ports::{Chosen, Ports};
use crate::refuse::{self, Refusal};

/// What an environment is made of, the later over the earlier.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// What a shell gave.
    pub(crate) captured: BTreeMap<String, String>,
    /// Whose it is besides.
    pub(crate) user: Option<String>,
    /// What the file says; `None` unsets.
    pub(crate) over: BTreeMap<String, Option<String>>,
}

impl Owner {
    /// Errors: no such service, a file that can't be read and is needed, a `${...}` without a value.
    pub(super) fn environment(&mut self, env: Env) -> Result<Environment, Refusal> {
        let Env { project, file, service, capture } = env;
        if let Some(name) = &service {
            let id = ServiceId::new(Arc::clone(&project), name.as_str());
            if let Some((service, captured)) = self.in_force(&id) {
                return of(&service, captured.env.clone(), self.ports.of(&project));
            }
        }
        let Whole { file, .. } = self.whole(&project, file?);
        let ports = self.with_chosen(&project, &file);
        let Some(name) = service else {
            return Ok(of_a_client(&file, ports.of(&project)));
        };
        let Some(service) = file.service(&name) else {
            let known: Vec<&str> = file.services.iter().map(|known| known.name.as_str()).collect();
            let path = file.file.display().to_string();
            let place = if project.is_empty() { refuse::place(Some("")) } else { &path };
            return Err(refuse::no_such_service(&name, place, &known));
        };
        if service.kind == Kind::Check {
            let words = format!("{name} is a check: it has no process, and so no environment");
            return Err(Refusal::bad_request(words));
        }
        of(service, capture.env, ports.of(&project))
    }

    /// The ports as the next `up` finds them. What is chosen for it stays: it gets what was told here.
    fn with_chosen(&mut self, project: &Arc<str>, file: &Project) -> Ports {
        let mut ports = self.ports.clone();
        ports.take_in(project, file, |_| true);
        for Chosen { id, port } in ports.all() {
            if self.ports.chosen(&id).is_none() {
                self.ports.put_back(id, port);
                self.store.touch();
            }
        }
        ports
    }

    /// What it runs with, or will without being asked again.
    fn in_force(&self, id: &ServiceId) -> Option<(Arc<Service>, Arc<Capture>)> {
        let node = self.nodes.get(id)?;
        let runs = node.running.as_ref().and_then(|running| running.service.as_ref());
        let wanted = self.world.view(id).is_some_and(|view| view.want == Want::Up);
        let service = runs.or_else(|| self.service_of(id).filter(|_| wanted))?;
        if service.kind == Kind::Check {
            return None;
        }
        Some((Arc::clone(service), Arc::clone(node.capture.as_ref()?)))
    }

    /// Of a life that another agent has begun: its values are still there, so it comes to the same.
    pub(super) fn resolve_anew(&self, id: &ServiceId, service: &Service) -> Option<Arc<Resolved>> {
        let none = BTreeMap::new();
        let capture = self.nodes.get(id).and_then(|node| node.capture.as_ref());
        let captured = capture.map_or(&none, |capture| &capture.env);
        match service.resolve(&Values { ports: self.ports.of(&id.project), captured }) {
            Ok(resolved) => Some(Arc::new(resolved)),
            Err(invalid) => {
                warn!(project = %id.project, service = %id.name, %invalid, "its tests can't be \
                    asked any more: what it was started with is gone");
                None
            }
        }
    }

    /// What runs on with the old number of a port that has been chosen anew, as the caller is told. What
    /// begins `anew` gets the new one.
    pub(super) fn on_old_ports(
        &self,
        file: &Project,
        scope: &BTreeSet<ServiceId>,
        anew: &BTreeSet<ServiceId>,
    ) -> Vec<String> {
        if !file.services.iter().any(|service| service.port == Some(Port::Auto)) {
            return Vec::new();
        }
        let is_old = |id: &&ServiceId| {
            let running = self.nodes.get(*id).and_then(|node| node.running.as_ref());
            let Some(running) = running else { return false };
            let (Some(service), Some(had)) = (&running.service, &running.resolved) else {
                return false;
            };
            let in_file = file.service(&id.name).map(|service| service.fingerprint);
            // One that is changed in the file is started anew by that.
            in_file == Some(service.fingerprint)
                && self.resolve_anew(id, service).is_some_and(|now| now != *had)
        };
        let old = scope.iter().filter(|id| !anew.contains(*id)).filter(is_old);
        old.map(|id| {
            let name = &id.name;
            format!(
                "{name} runs with a port that another service had before: `hearth restart {name}` \
                 gives it the new one"
            )
        })
        .collect()
    }

    /// The same of a service that does not run.
    pub(crate) fn would_listen_on(&self, id: &ServiceId, service: &Service) -> Vec<u16> {
        let chosen = self.ports.chosen(id).filter(|_| service.port == Some(Port::Auto));
        chosen.into_iter().chain(service.ports.iter().copied()).collect()
    }

    /// Where a service listens, as far as can be told without looking.
    pub(crate) fn listens_on(&self, id: &ServiceId, fingerprint: u64) -> Vec<u16> {
        let Some(node) = self.nodes.get(id) else { return Vec::new() };
        let runs = node.running.as_ref().and_then(|running| running.resolved.as_ref());
        match (runs, node.version(fingerprint)) {
            (Some(resolved), _) => resolved.ports.clone(),
            (None, Some(service)) => self.would_listen_on(id, service),
            (None, None) => Vec::new(),
        }
    }
}

fn of(
    service: &Service,
    captured: BTreeMap<String, String>,
    ports: &BTreeMap<String, u16>,
) -> Result<Environment, Refusal> {
    let resolved = service.resolve(&Values { ports, captured: &captured }).map_err(|invalid| {
        let words = format!("{} can't be started so: {invalid}", service.name);
        Refusal::from(Problem::new(Code::BadConfig, words, ""))
    })?;
    Ok(Environment { captured, user: service.user.clone(), over: resolved.env })
}

/// `HEARTH_NAME_PORT` for each that has a port: its own, or else the first that it is tested by.
fn of_a_client(file: &Project, ports: &BTreeMap<String, u16>) -> Environment {
    let port = |service: &Service| {
        let port = ports.get(&service.name).or_else(|| service.ports.first())?;
        Some((variable(&service.name), Some(port.to_string())))
    };
    let over = file.services.iter().filter_map(port).collect();
    Environment { over, ..Environment::default() }
}

/// `HEARTH_MY_DB_PORT` for `my-db`.
fn variable(name: &str) -> String {
    format!("HEARTH_{}_PORT", name.to_uppercase().replace('-', "_"))
}
