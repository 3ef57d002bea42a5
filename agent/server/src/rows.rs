//! How services are, as `/v1/services` shows it.
//!
//! Invariant: a row says what was seen and nothing that was not; what nobody measured is null.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use hearth_api::time::rfc3339;
use hearth_api::{Health, HealthStatus, ServiceRow};
use hearth_config::{Kind, Project, Service};
use hearth_core::{NodeView, ServiceId, State, Want};

use crate::convert;
use crate::owner::Owner;

/// One service as it is: by the core, or by its file alone if it was never up.
pub(crate) enum Entry {
    Known(Box<NodeView>),
    Unused(ServiceId, Arc<Project>, usize),
}

impl Owner {
    /// Rows of one project, or of all that were ever up under this agent.
    pub(crate) fn rows(&mut self, project: Option<&Arc<str>>) -> Vec<ServiceRow> {
        let entries = self.entries(project);
        let files = self.files_of(&entries);
        let services: HashMap<&str, HashMap<&str, &Service>> =
            files.iter().map(|(project, file)| (&**project, file.by_name())).collect();
        let row = |entry| match entry {
            Entry::Known(view) => {
                let of_project = services.get(&*view.id.project);
                let service = of_project.and_then(|known| known.get(&*view.id.name));
                self.row(*view, service.copied())
            }
            Entry::Unused(id, file, at) => {
                let service = &file.services[at];
                let boot = self.is_enabled(&id);
                unused(&id, service, self.would_listen_on(&id, service), boot)
            }
        };
        entries.into_iter().map(row).collect()
    }

    /// The files of those that are known, each looked at once.
    fn files_of(&mut self, entries: &[Entry]) -> BTreeMap<Arc<str>, Arc<Project>> {
        let projects: BTreeSet<&Arc<str>> = entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Known(view) => Some(&view.id.project),
                Entry::Unused(..) => None,
            })
            .collect();
        let file = |project: &Arc<str>| Some((Arc::clone(project), self.files().read(project)?));
        projects.into_iter().filter_map(file).collect()
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
    pub(crate) fn entries(&mut self, project: Option<&Arc<str>>) -> Vec<Entry> {
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
        let named = file.services.iter().enumerate();
        let places: HashMap<&str, usize> =
            named.map(|(at, service)| (service.name.as_str(), at)).collect();
        entries.sort_by_key(|entry| match entry {
            Entry::Unused(_, _, at) => *at,
            Entry::Known(view) => places.get(&*view.id.name).copied().unwrap_or(usize::MAX),
        });
        entries
    }

    /// One that is known; `service`: as its file has it now.
    fn row(&self, view: NodeView, service: Option<&Service>) -> ServiceRow {
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
            boot: Some(self.is_enabled(&view.id)),
            held_by: self.held_by(view.held_by),
        }
    }
}

/// A service of the file that was never up under this agent.
fn unused(id: &ServiceId, service: &Service, ports: Vec<u16>, boot: bool) -> ServiceRow {
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
        boot: Some(boot),
        held_by: Vec::new(),
    }
}
