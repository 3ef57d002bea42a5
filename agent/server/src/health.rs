//! How the nodes are, for people: `/v1/health`, less what the agent says of itself.
//!
//! Invariant: each node has a line of its own. Names for people need not be unique, and a line that
//! stood for two would hide the failure of one.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use hearth_api::time::rfc3339;
use hearth_api::{Check, HealthStatus};
use hearth_core::{ServiceId, State, Want};

use crate::owner::Owner;
use crate::rows::Entry;
use crate::well;

impl Owner {
    /// Every node that has a name in health.
    pub(crate) fn health(&mut self, project: Option<&Arc<str>>) -> BTreeMap<String, Check> {
        let found: Vec<(Named, Check)> =
            self.entries(project).into_iter().filter_map(|entry| self.found(entry)).collect();
        let (named, checks): (Vec<Named>, Vec<Check>) = found.into_iter().unzip();
        names(&named).into_iter().zip(checks).collect()
    }

    fn found(&mut self, entry: Entry) -> Option<(Named, Check)> {
        let began = self.clock().began();
        match entry {
            Entry::Known(view) => {
                let since = self.node(&view.id).and_then(|node| node.since);
                let status = match (view.want, view.state) {
                    (Want::Down, State::Down) => HealthStatus::Disabled,
                    (_, _) => view.health.status,
                };
                let check = check(status, view.health.message, since.unwrap_or(began));
                Some((Named { id: view.id, display: view.display? }, check))
            }
            Entry::Unused(id, file, at) => {
                let service = &file.services[at];
                let words = if service.enabled { "not started" } else { "switched off" };
                let check = check(HealthStatus::Disabled, words.to_owned(), began);
                Some((Named { id, display: service.display.clone()? }, check))
            }
        }
    }
}

/// One line of `/v1/health`.
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

/// A node and what it is called.
struct Named {
    id: ServiceId,
    display: String,
}

impl Named {
    /// What it may be called, the shortest first; no two nodes share the last.
    fn candidates(&self) -> [String; 4] {
        let (display, name, project) = (&self.display, &self.id.name, &self.id.project);
        let base = match Path::new(&**project).file_name() {
            Some(base) => base.to_string_lossy(),
            None => "(no project)".into(),
        };
        [
            display.clone(),
            format!("{base}/{display}"),
            format!("{display} ({name})"),
            format!("{project}/{display} ({name})"),
        ]
    }
}

/// For each the first of its candidates that is no other's, nor a name of the agent's own checks.
fn names(all: &[Named]) -> Vec<String> {
    let candidates: Vec<[String; 4]> = all.iter().map(Named::candidates).collect();
    let mut count: HashMap<&str, usize> = well::NAMES.iter().map(|name| (*name, 1)).collect();
    for name in candidates.iter().flatten() {
        *count.entry(name).or_default() += 1;
    }
    let alone = |each: &[String; 4]| {
        let name = each.iter().find(|name| count.get(name.as_str()) == Some(&1));
        name.unwrap_or(&each[3]).clone()
    };
    candidates.iter().map(alone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_nodes_share_a_line() {
        let named = |project: &str, name: &str, display: &str| Named {
            id: ServiceId::new(project, name),
            display: display.to_owned(),
        };
        let all = [
            named("/a/app", "api", "API"),
            named("/a/app", "db", "database"),
            named("/b/shop", "db", "database"),
            named("/b/shop", "replica", "the other"),
            named("/b/shop", "second", "the other"),
            named("/c/shop", "x", "home"),
            named("", "loose", "agent"),
            named("/d/x", "one", "same"),
            named("/e/x", "one", "same"),
        ];
        let expected = [
            "API",
            "app/database",
            "shop/database",
            "the other (replica)",
            "the other (second)",
            "shop/home",
            "(no project)/agent",
            "/d/x/same (one)",
            "/e/x/same (one)",
        ];
        assert_eq!(names(&all), expected);
    }
}
