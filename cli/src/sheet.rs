//! What a project's file says of its services, as far as a wait tells of it.
//!
//! Kept true here: it is the file that the verb has read and not the agent's word, so a wait is told
//! with or without one. Where there is none it is empty, and nothing is told by it.

use std::collections::{BTreeMap, BTreeSet};

use hearth_config::{Kind, LaterKind, Probe, Project};

/// What the file says of its services, as far as a story needs it.
#[derive(Debug, Default)]
pub struct Sheet {
    entries: BTreeMap<String, Entry>,
    /// Something listens somewhere: rows from before it was started do not tell where it does now.
    pub has_ports: bool,
}

#[derive(Debug)]
struct Entry {
    needs: Vec<String>,
    /// A test of it speaks HTTP.
    http: bool,
}

impl Sheet {
    /// Of this file.
    pub fn of(project: &Project) -> Self {
        let entry = |service: &hearth_config::Service| {
            let is_http = |probe: &Probe| match probe {
                Probe::Http { .. } => true,
                Probe::Later(later) => later.kind == LaterKind::Http,
                Probe::Tcp { .. }
                | Probe::Exec(_)
                | Probe::Log(_)
                | Probe::Delay(_)
                | Probe::Notify
                | Probe::Unix(_)
                | Probe::File(_) => false,
            };
            let http = service.ready.iter().any(|test| is_http(&test.probe));
            let needs = service.needs.iter().map(|need| need.service.clone()).collect();
            (service.name.clone(), Entry { needs, http })
        };
        Self {
            entries: project.services.iter().map(entry).collect(),
            has_ports: (project.services.iter())
                .any(|s| (s.port.is_some() || !s.ports.is_empty()) && s.kind != Kind::Check),
        }
    }

    /// Of one that is in no file.
    pub fn of_loose(name: &str, http: bool) -> Self {
        let entry = Entry { needs: Vec::new(), http };
        Self { entries: [(name.to_owned(), entry)].into(), has_ports: true }
    }

    /// What a service needs itself.
    pub fn needs(&self, name: &str) -> &[String] {
        self.entries.get(name).map_or(&[], |entry| &entry.needs)
    }

    /// All that need one of `names`, directly or through others.
    pub fn dependents(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        let mut needed_by: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
        for (name, entry) in &self.entries {
            for need in &entry.needs {
                needed_by.entry(need).or_default().push(name);
            }
        }
        let mut found = BTreeSet::new();
        let mut todo: Vec<&String> = names.iter().collect();
        while let Some(name) = todo.pop() {
            for dependent in needed_by.get(name.as_str()).into_iter().flatten() {
                if !names.contains(*dependent) && found.insert((*dependent).clone()) {
                    todo.push(dependent);
                }
            }
        }
        found
    }

    /// Whether a test of it speaks HTTP.
    pub fn speaks_http(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.http)
    }
}
