//! How services are, as `/v1/services` and `/v1/health` show it.
//!
//! Invariant: a row says what was seen and nothing that was not; what nobody measured is null.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use hearth_api::time::rfc3339;
use hearth_api::{Check, Health, HealthStatus, HeldBy, ServiceRow};
use hearth_config::{Kind, Project, Service};
use hearth_core::{Holder, NodeView, ServiceId, State, Want};

use crate::convert;
use crate::owner::Owner;
use crate::well;

/// One service as it is: by the core, or by its file alone if it was never up.
enum Entry {
    Known(Box<NodeView>),
    Unused(ServiceId, Arc<Project>, usize),
}

impl Owner {
    /// Rows of one project, or of all that were ever up under this agent.
    pub(crate) fn rows(&mut self, project: Option<&Arc<str>>) -> Vec<ServiceRow> {
        self.entries(project).into_iter().map(|entry| self.row(entry)).collect()
    }

    /// The services themselves.
    pub(crate) fn names(&mut self, project: Option<&Arc<str>>) -> Vec<ServiceId> {
        let entries = self.entries(project).into_iter();
        let id = |entry| match entry {
            Entry::Known(view) => view.id,
            Entry::Unused(id, _, _) => id,
        };
        entries.map(id).collect()
    }

    /// In file order, project by project; what the file does not have any more comes last.
    fn entries(&mut self, project: Option<&Arc<str>>) -> Vec<Entry> {
        let views = self.world().views(project.map(|project| &**project));
        let Some(project) = project else {
            return views.into_iter().map(|view| Entry::Known(Box::new(view))).collect();
        };
        let Some(file) = self.files().read(project) else {
            return views.into_iter().map(|view| Entry::Known(Box::new(view))).collect();
        };
        let known: HashSet<&str> = views.iter().map(|view| &*view.id.name).collect();
        let unused =
            file.services.iter().enumerate().filter(|(_, s)| !known.contains(s.name.as_str()));
        let mut entries: Vec<Entry> = unused
            .map(|(at, service)| {
                let id = ServiceId::new(Arc::clone(project), service.name.as_str());
                Entry::Unused(id, Arc::clone(&file), at)
            })
            .collect();
        drop(known);
        entries.extend(views.into_iter().map(|view| Entry::Known(Box::new(view))));
        entries.sort_by_cached_key(|entry| match entry {
            Entry::Unused(_, _, at) => *at,
            Entry::Known(view) => {
                let place = file.services.iter().position(|service| *service.name == *view.id.name);
                place.unwrap_or(usize::MAX)
            }
        });
        entries
    }

    fn row(&mut self, entry: Entry) -> ServiceRow {
        let view = match entry {
            Entry::Known(view) => *view,
            Entry::Unused(id, file, at) => {
                let service = &file.services[at];
                return unused(&id, service, self.would_listen_on(&id, service));
            }
        };
        let file = self.files().read(&view.id.project);
        let service = file.as_ref().and_then(|file| file.service(&view.id.name));
        // What is down runs nothing that a file could differ from.
        let differs = service.is_none_or(|service| service.fingerprint != view.fingerprint);
        let node = self.node(&view.id);
        // What is in no file can't differ from it.
        let in_no_file = service.is_none() && node.is_some_and(|node| node.loose);
        let changed = view.state != State::Down && differs && !in_no_file;
        let ports = self.listens_on(&view.id, view.fingerprint);
        ServiceRow {
            project: convert::project(&view.id.project),
            name: view.id.name.to_string(),
            kind: view.kind,
            want: Some(view.want),
            state: view.state,
            pid: view.pid,
            since: node.and_then(|node| node.since).map(rfc3339),
            restarts: Some(view.restarts),
            exit: view.exit,
            health: Some(Health { status: view.health.status, message: view.health.message }),
            ports,
            cpu_percent: None,
            memory_bytes: None,
            changed: Some(changed),
            held_by: view.held_by.into_iter().map(held_by).collect(),
        }
    }

    /// Every node that has a name in health.
    pub(crate) fn health(&mut self, project: Option<&Arc<str>>) -> BTreeMap<String, Check> {
        let found: Vec<Found> =
            self.entries(project).into_iter().filter_map(|entry| self.found(entry)).collect();
        let mut checks = BTreeMap::new();
        for one in &found {
            let name = one.name.as_str();
            let clash =
                found.iter().any(|other| other.name == name && other.project != one.project);
            // Those are the agent's own.
            let clash = clash || well::NAMES.contains(&name);
            let name = if clash { one.prefixed() } else { name.to_owned() };
            checks.insert(name, one.check.clone());
        }
        checks
    }

    fn found(&mut self, entry: Entry) -> Option<Found> {
        match entry {
            Entry::Known(view) => {
                let since = self.node(&view.id).and_then(|node| node.since);
                let status = match (view.want, view.state) {
                    (Want::Down, State::Down) => HealthStatus::Disabled,
                    (_, _) => view.health.status,
                };
                let check =
                    check(status, view.health.message, since.unwrap_or(self.clock().began()));
                Some(Found { project: Arc::clone(&view.id.project), name: view.display?, check })
            }
            Entry::Unused(id, file, at) => {
                let service = &file.services[at];
                let words = if service.enabled { "not started" } else { "switched off" };
                let check = check(HealthStatus::Disabled, words.to_owned(), self.clock().began());
                Some(Found { project: id.project, name: service.display.clone()?, check })
            }
        }
    }
}

/// A check before it has a name of its own.
struct Found {
    project: Arc<str>,
    name: String,
    check: Check,
}

impl Found {
    /// For names that stand in two projects.
    fn prefixed(&self) -> String {
        let base = Path::new(&*self.project).file_name().unwrap_or_default();
        format!("{}/{}", base.to_string_lossy(), self.name)
    }
}

pub(crate) fn check(status: HealthStatus, message: String, at: SystemTime) -> Check {
    let healthy = match status {
        HealthStatus::Success | HealthStatus::Disabled => true,
        HealthStatus::Loading
        | HealthStatus::Starting
        | HealthStatus::Waiting
        | HealthStatus::Failure => false,
    };
    Check { status, healthy, message, at: rfc3339(at) }
}

fn held_by(holder: Holder) -> HeldBy {
    match holder {
        Holder::Up => HeldBy::Up,
        Holder::Dependent(service) => HeldBy::Dependent { service: service.to_string() },
    }
}

/// A service of the file that was never up under this agent.
fn unused(id: &ServiceId, service: &Service, ports: Vec<u16>) -> ServiceRow {
    ServiceRow {
        project: convert::project(&id.project),
        name: service.name.clone(),
        kind: match service.kind {
            Kind::Service => hearth_core::Kind::Service,
            Kind::Oneshot => hearth_core::Kind::Oneshot,
            Kind::Check => hearth_core::Kind::Check,
        },
        want: Some(Want::Down),
        state: State::Down,
        pid: None,
        since: None,
        restarts: Some(0),
        exit: None,
        health: Some(Health { status: HealthStatus::Disabled, message: "not started".to_owned() }),
        ports,
        cpu_percent: None,
        memory_bytes: None,
        changed: Some(false),
        held_by: Vec::new(),
    }
}
