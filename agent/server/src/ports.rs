//! The ports of services: those that files name, and those that were chosen for `port = "auto"`.
//!
//! Invariant: what was chosen for a service stays its own, over lives, agents and reboots, for as
//! long as its file asks for one; no two services of any project get the same, and none gets one that
//! a file names. It is chosen outside of the range from which the kernel serves connections, where
//! any client might sit on it when the service is started again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use hearth_config::{Port, Project, Service};
use hearth_core::ServiceId;
use hearth_process::port;
use serde::{Deserialize, Serialize};

use crate::place::Place;

/// Below this, people and well-known services have theirs: taken only where there is no other.
const COMMON: u16 = 10_000;
/// Below this, only root may listen (ip_unprivileged_port_start in ip(7)).
const PRIVILEGED: u16 = 1024;

/// What was chosen for one service, as it is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chosen {
    /// Whose.
    #[serde(flatten)]
    pub(crate) id: ServiceId,
    /// Which.
    pub(crate) port: u16,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    chosen: BTreeMap<ServiceId, u16>,
    /// Of every service that has one, by project and name.
    known: BTreeMap<Arc<str>, BTreeMap<String, u16>>,
    /// What the tests of the files connect to.
    tested: BTreeMap<Arc<str>, BTreeSet<u16>>,
}

/// For projects of which nothing is known.
static NONE: BTreeMap<String, u16> = BTreeMap::new();

impl Ports {
    /// Those of a project, by name.
    pub(crate) fn of(&self, project: &str) -> &BTreeMap<String, u16> {
        self.known.get(project).unwrap_or(&NONE)
    }

    /// What was chosen for a service.
    pub(crate) fn chosen(&self, id: &ServiceId) -> Option<u16> {
        self.chosen.get(id).copied()
    }

    /// For the disk.
    pub(crate) fn all(&self) -> Vec<Chosen> {
        let each = |(id, port): (&ServiceId, &u16)| Chosen { id: id.clone(), port: *port };
        self.chosen.iter().map(each).collect()
    }

    /// What an earlier agent has chosen; the first word counts.
    pub(crate) fn put_back(&mut self, id: ServiceId, port: u16) {
        if port >= PRIVILEGED && !self.chosen.values().any(|other| *other == port) {
            self.chosen.entry(id).or_insert(port);
        }
    }

    /// Takes in one service, as it runs or would.
    pub(crate) fn learn(&mut self, id: &ServiceId, service: &Service) {
        let port = match service.port {
            Some(Port::Fixed(port)) => Some(port),
            Some(Port::Auto) => self.chosen(id),
            None => None,
        };
        let known = self.known.entry(Arc::clone(&id.project)).or_default();
        match port {
            Some(port) => drop(known.insert(id.name.to_string(), port)),
            None => drop(known.remove(&*id.name)),
        }
    }

    /// Takes in a whole file, with a port for each service that asks for one. `stays`: whether a
    /// service keeps what was chosen, although somebody else listens there: because it is that service
    /// itself, or because it is not to begin. Returns what the caller should know.
    pub(crate) fn take_in(
        &mut self,
        project: &Arc<str>,
        file: &Project,
        stays: impl Fn(&ServiceId) -> bool,
    ) -> Vec<String> {
        let known = file.by_name();
        let asks = |name: &str| known.get(name).is_some_and(|s| s.port == Some(Port::Auto));
        self.chosen.retain(|id, _| id.project != *project || asks(&id.name));
        let tested = file.services.iter().flat_map(|service| service.ports.iter().copied());
        self.tested.insert(Arc::clone(project), tested.collect());
        self.known.remove(project);
        let all: Vec<(ServiceId, &Service)> = file
            .services
            .iter()
            .map(|service| (ServiceId::new(Arc::clone(project), service.name.as_str()), service))
            .collect();
        // First what is fixed: none of it is chosen for others.
        for (id, service) in all.iter().filter(|(_, s)| s.port != Some(Port::Auto)) {
            self.learn(id, service);
        }
        let mut notes = Vec::new();
        for (id, service) in all.iter().filter(|(_, s)| s.port == Some(Port::Auto)) {
            notes.extend(self.settle(id, &stays));
            self.learn(id, service);
        }
        notes
    }

    /// One that asks for a port.
    fn settle(&mut self, id: &ServiceId, stays: impl Fn(&ServiceId) -> bool) -> Option<String> {
        let had = self.chosen(id);
        let named = had.filter(|port| self.is_anothers(*port, id));
        if let Some(port) = had
            && named.is_none()
            && (stays(id) || port::listener(port).is_none())
        {
            return None;
        }
        self.chosen.remove(id);
        let (range, name) = (port::ephemeral(), &id.name);
        let start = u64::from_str_radix(&Place::shim(id), 16).unwrap_or_default();
        let taken = |port| self.is_anothers(port, id) || Some(port) == had || !port::is_free(port);
        let port = choose(start, &range, taken);
        if let Some(port) = port {
            self.chosen.insert(id.clone(), port);
        }
        match (had, port) {
            (None, Some(_)) => None,
            (Some(had), Some(port)) => {
                let why =
                    if named.is_some() { "a file names it" } else { "somebody listens there" };
                Some(format!("{name} has port {port} now instead of {had}: {why}"))
            }
            (_, None) => Some(format!("{name} has no port: {}", none_left(&range))),
        }
    }

    /// Whether a file names it, or another service has it.
    fn is_anothers(&self, port: u16, id: &ServiceId) -> bool {
        let known = self.known.iter().flat_map(|(project, ports)| {
            ports.iter().map(move |(name, known)| (&**project, name.as_str(), *known))
        });
        let chosen = self.chosen.iter().map(|(id, known)| (&*id.project, &*id.name, *known));
        let mut others = known
            .chain(chosen)
            .filter(|(project, name, _)| (*project, *name) != (&*id.project, &*id.name));
        others.any(|(_, _, known)| known == port)
            || self.tested.values().any(|tested| tested.contains(&port))
    }
}

/// Why there is none.
pub(crate) fn none_left(range: &RangeInclusive<u16>) -> String {
    format!(
        "every port outside of {}-{}, which the kernel gives out by itself, is taken; \
         `port = 8080` names one",
        range.start(),
        range.end()
    )
}

/// The first that is not taken, beginning somewhere that only `start` decides: a service whose
/// choice was forgotten is likely to get the same again.
fn choose(start: u64, ephemeral: &RangeInclusive<u16>, taken: impl Fn(u16) -> bool) -> Option<u16> {
    [COMMON..=u16::MAX, PRIVILEGED..=COMMON - 1].into_iter().find_map(|range| {
        let ports: Vec<u16> = range.filter(|port| !ephemeral.contains(port)).collect();
        let first = usize::try_from(start % (ports.len().max(1) as u64)).unwrap_or(0);
        let (before, from) = ports.split_at(first);
        from.iter().chain(before).copied().find(|port| !taken(*port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(text: &str) -> Project {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        hearth_config::parse(text, &root.join("hearth.toml"), &root).unwrap()
    }

    /// Services `a`, `b`, … with `port = "auto"`.
    fn with_auto(names: &[&str]) -> Project {
        let text = names.iter().map(|name| format!("[services.{name}]\nrun = 'x'\n"));
        let mut project = project(&text.collect::<String>());
        project.services.iter_mut().for_each(|service| service.port = Some(Port::Auto));
        project
    }

    #[test]
    fn the_same_service_begins_its_search_at_the_same_place() {
        let range = 32768..=60999;
        let first = choose(7, &range, |_| false).unwrap();
        assert_eq!(choose(7, &range, |_| false), Some(first));
        assert_eq!(choose(7, &range, |port| port == first), Some(first + 1));
        assert!(
            (0..100)
                .filter_map(|n| choose(n * 33_331, &range, |_| false))
                .all(|port| { port >= COMMON && !range.contains(&port) })
        );
        // Nothing above: then below, and then none.
        let all = COMMON..=u16::MAX;
        assert!(choose(7, &all, |_| false).is_some_and(|port| port < COMMON));
        assert_eq!(choose(7, &(0..=u16::MAX), |_| false), None);
        assert_eq!(choose(7, &range, |_| true), None);
    }

    #[test]
    fn what_was_chosen_stays_and_is_nobody_elses() {
        let (one, other): (Arc<str>, Arc<str>) = ("/one".into(), "/other".into());
        let mut ports = Ports::default();
        assert!(ports.take_in(&one, &with_auto(&["a", "b"]), |_| false).is_empty());
        let before = ports.all();
        assert_eq!(before.len(), 2);
        assert_ne!(before[0].port, before[1].port);
        // Another project is given what the first one has to begin with.
        let mut later = Ports::default();
        later.put_back(ServiceId::new(Arc::clone(&one), "a"), before[0].port);
        later.put_back(ServiceId::new(Arc::clone(&other), "thief"), before[0].port);
        later.take_in(&other, &with_auto(&["a", "b", "c"]), |_| false);
        later.take_in(&one, &with_auto(&["a"]), |_| false);
        assert_eq!(later.chosen(&before[0].id), Some(before[0].port));
        assert_eq!(later.of("/one")["a"], before[0].port);
        let all: BTreeSet<u16> = later.all().into_iter().map(|chosen| chosen.port).collect();
        assert_eq!(all.len(), 4);
        // It has left its file.
        later.take_in(&one, &with_auto(&[]), |_| false);
        assert_eq!(later.chosen(&before[0].id), None);
        assert!(later.of("/one").is_empty());
    }

    #[test]
    fn one_that_somebody_took_is_given_up_unless_it_is_the_service_itself() {
        let path: Arc<str> = "/p".into();
        let (mut ports, file) = (Ports::default(), with_auto(&["a"]));
        ports.take_in(&path, &file, |_| false);
        let had = ports.all()[0].clone();
        let _stranger = std::net::TcpListener::bind(("127.0.0.1", had.port)).unwrap();
        assert!(ports.take_in(&path, &file, |_| true).is_empty());
        assert_eq!(ports.chosen(&had.id), Some(had.port));
        let notes = ports.take_in(&path, &file, |_| false);
        assert!(notes[0].contains(&format!("instead of {}", had.port)), "{notes:?}");
        assert_ne!(ports.chosen(&had.id), Some(had.port));
    }

    #[test]
    fn one_that_a_file_names_is_not_chosen() {
        let path: Arc<str> = "/p".into();
        let mut ports = Ports::default();
        ports.take_in(&path, &with_auto(&["a"]), |_| false);
        let had = ports.all()[0].clone();
        let mut file = with_auto(&["a", "b"]);
        file.services[1].port = Some(Port::Fixed(had.port));
        let notes = ports.take_in(&path, &file, |_| true);
        assert!(notes[0].contains("a file names it"), "{notes:?}");
        assert_ne!(ports.of("/p")["a"], ports.of("/p")["b"]);
    }

    #[test]
    fn it_is_read_back_as_it_was_written() {
        let chosen = Chosen { id: ServiceId::new("/p", "a"), port: 12345 };
        let text = serde_json::to_string(&chosen).unwrap();
        assert_eq!(text, r#"{"project":"/p","name":"a","port":12345}"#);
        assert_eq!(serde_json::from_str::<Chosen>(&text).unwrap(), chosen);
    }
}
