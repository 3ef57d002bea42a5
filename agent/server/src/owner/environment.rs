//! The environment of a service, for who asks: what it runs with, or would.
//!
//! Invariant: what is shown is what a life gets: made by the same steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearth_api::{Code, Problem};
use hearth_config::{Invalid, Kind, Port, Project, Resolved, Service, Values};
use hearth_core::{ServiceId, Want};
use tracing::warn;

use super::Owner;
use super::loose::Whole;
use crate::capture::Capture;
use crate::command::Env;
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
        let Some(name) = service else {
            let Whole { file, .. } = self.whole(&project, file?);
            return Ok(self.of_a_client(&project, &file));
        };
        let id = ServiceId::new(Arc::clone(&project), name.as_str());
        if let Some((service, captured)) = self.in_force(&id) {
            return self.of(&id, &service, captured.env.clone(), &[]);
        }
        let Whole { file, .. } = self.whole(&project, file?);
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
        self.of(&id, service, capture.env, &file.services)
    }

    /// What it runs with, or will without being asked again.
    fn in_force(&self, id: &ServiceId) -> Option<(Arc<Service>, Arc<Capture>)> {
        let node = self.nodes.get(id)?;
        let runs = node.running.as_ref().and_then(|running| running.service.as_ref());
        let wanted = self.world.view(id).is_some_and(|view| view.want == Want::Up);
        let service = runs.or_else(|| self.service_of(id).filter(|_| wanted))?;
        Some((Arc::clone(service), Arc::clone(node.capture.as_ref()?)))
    }

    fn of(
        &self,
        id: &ServiceId,
        service: &Service,
        captured: BTreeMap<String, String>,
        in_file: &[Service],
    ) -> Result<Environment, Refusal> {
        let resolved = self.resolve(id, service, &captured, in_file).map_err(|invalid| {
            let words = format!("{} can't be started so: {invalid}", id.name);
            Refusal::from(Problem::new(Code::BadConfig, words, ""))
        })?;
        Ok(Environment { captured, user: service.user.clone(), over: resolved.env })
    }

    /// The service as it is now, with these variables of a shell. `in_file`: services that may not
    /// have been up, but that it may name.
    pub(super) fn resolve(
        &self,
        id: &ServiceId,
        service: &Service,
        captured: &BTreeMap<String, String>,
        in_file: &[Service],
    ) -> Result<Resolved, Invalid> {
        let ports = self.ports_of(&id.project, in_file);
        service.resolve(&Values { ports: &ports, captured })
    }

    /// Of a life that another agent has begun: its values are still there, so it comes to the same.
    pub(super) fn resolve_anew(&self, id: &ServiceId, service: &Service) -> Option<Arc<Resolved>> {
        let none = BTreeMap::new();
        let capture = self.nodes.get(id).and_then(|node| node.capture.as_ref());
        let captured = capture.map_or(&none, |capture| &capture.env);
        match self.resolve(id, service, captured, &[]) {
            Ok(resolved) => Some(Arc::new(resolved)),
            Err(invalid) => {
                warn!(project = %id.project, service = %id.name, %invalid, "its tests can't be \
                    asked any more: what it was started with is gone");
                None
            }
        }
    }

    /// `HEARTH_NAME_PORT` for each that has a port: that of its own, or else the first that it is
    /// tested by.
    fn of_a_client(&self, project: &Arc<str>, file: &Project) -> Environment {
        let ports = self.ports_of(project, &file.services);
        let port = |service: &Service| {
            ports.get(&service.name).or_else(|| service.ports.first()).map(u16::to_string)
        };
        let variable = |service: &Service| Some((variable(&service.name), Some(port(service)?)));
        let over = file.services.iter().filter_map(variable).collect();
        Environment { over, ..Environment::default() }
    }

    /// Where a service listens, as far as can be told without looking.
    pub(crate) fn listens_on(&self, id: &ServiceId, fingerprint: u64) -> Vec<u16> {
        let Some(node) = self.nodes.get(id) else { return Vec::new() };
        let runs = node.running.as_ref().and_then(|running| running.resolved.as_ref());
        match (runs, node.version(fingerprint)) {
            (Some(resolved), _) => resolved.ports.clone(),
            (None, Some(service)) => service.ports.clone(),
            (None, None) => Vec::new(),
        }
    }

    /// The ports of a project's services, by name: of those that it has, and of those in its file
    /// that were never up.
    pub(super) fn ports_of(&self, project: &str, in_file: &[Service]) -> BTreeMap<String, u16> {
        let mine = self.nodes.iter().filter(|(id, _)| *id.project == *project);
        let known = mine.filter_map(|(id, node)| {
            self.service_of(id).or_else(|| node.versions().last()).map(|service| &**service)
        });
        let port = |service: &Service| match service.port? {
            Port::Fixed(port) => Some((service.name.clone(), port)),
            Port::Auto => None,
        };
        in_file.iter().chain(known).filter_map(port).collect()
    }
}

/// `HEARTH_MY_DB_PORT` for `my-db`.
fn variable(name: &str) -> String {
    format!("HEARTH_{}_PORT", name.to_uppercase().replace('-', "_"))
}
