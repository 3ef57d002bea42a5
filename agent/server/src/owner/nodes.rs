//! What the server knows of a service beyond what decisions are made by.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use hearth_api::HealthStatus;
use hearth_config::{Resolved, Service};
use hearth_process::ProcessId;
use hearth_shim::frames::Notify;
use tokio::task::AbortHandle;

use crate::capture::Capture;
use crate::execute::link::Link;
use crate::execute::taken::Before;
use crate::owner::checks::Checking;

/// Definitions that are kept: the one in force, the one held back, and one more.
const VERSIONS: usize = 3;

/// One service.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// What its file said, newest last; found by fingerprint.
    versions: Vec<Arc<Service>>,
    /// It is in no file: `hearth run` has brought it.
    pub(crate) loose: bool,
    /// What the shell gave that wanted it up.
    pub(crate) capture: Option<Arc<Capture>>,
    /// When its state last changed.
    pub(crate) since: Option<SystemTime>,
    /// The health that was last told as an event.
    pub(crate) health_told: Option<HealthStatus>,
    /// Its shim.
    pub(crate) running: Option<Running>,
    /// What asks the tests of a check, while they are asked.
    pub(crate) checking: Option<Checking>,
    /// Shims that were acknowledged and have not gone yet.
    pub(crate) closing: Vec<(u64, Link)>,
    /// What a dead shim has left is being ended.
    pub(crate) clearing: bool,
    /// A life that is to begin as soon as those are gone.
    pub(crate) next: Option<u64>,
}

/// One life.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) life: u64,
    pub(crate) link: Link,
    /// Who its shim is, as soon as that has said so.
    pub(crate) shim: Option<ProcessId>,
    /// What it was started with; `None`: nobody knows any more, so its tests can't be asked.
    pub(crate) service: Option<Arc<Service>>,
    /// The same with its `${...}` replaced: what is asked, and where it listens.
    pub(crate) resolved: Option<Arc<Resolved>>,
    /// Where somebody else listened before it.
    pub(crate) before: Arc<Before>,
    /// What the core has been told of it.
    pub(crate) told: Told,
    /// Its shim was refused, for this reason: another one has the service, and is being asked.
    pub(crate) refused: Option<String>,
    /// Probes of our own, by test.
    pub(crate) probes: HashMap<usize, AbortHandle>,
    /// Probes that the shim runs, by the number that it was given.
    pub(crate) execs: HashMap<u64, usize>,
    /// What the service last said of itself.
    pub(crate) notify: Notify,
    /// The number of what its shim holds for its project.
    pub(crate) holds: Option<u64>,
}

/// What the core has been told of a life: a shim that is connected again repeats itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) started: bool,
    pub(crate) exited: bool,
    pub(crate) over: bool,
}

impl Node {
    /// Takes in what the file says now.
    pub(crate) fn offer(&mut self, service: impl Into<Arc<Service>>) -> Arc<Service> {
        let service = service.into();
        self.versions.retain(|known| known.fingerprint != service.fingerprint);
        self.versions.push(Arc::clone(&service));
        let surplus = self.versions.len().saturating_sub(VERSIONS);
        self.versions.drain(..surplus);
        service
    }

    /// The definition with that fingerprint.
    pub(crate) fn version(&self, fingerprint: u64) -> Option<&Arc<Service>> {
        self.versions.iter().find(|known| known.fingerprint == fingerprint)
    }

    /// All definitions that are known, newest last.
    pub(crate) fn versions(&self) -> &[Arc<Service>] {
        &self.versions
    }

    /// Whether it has a shim, or will have: one that was not refused.
    pub(crate) fn has_shim(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.refused.is_none())
    }

    /// Whether a shim was started for it that has not yet said what came of it.
    pub(crate) fn is_being_born(&self) -> bool {
        let unborn = |running: &Running| {
            !running.told.started && !running.told.over && running.refused.is_none()
        };
        self.running.as_ref().is_some_and(unborn)
    }

    /// Whether a new life must wait for what is left of the last one.
    pub(crate) fn is_occupied(&self) -> bool {
        self.running.is_some() || !self.closing.is_empty() || self.clearing
    }

    /// Whether nothing of it lives or is about to.
    pub(crate) fn is_still(&self) -> bool {
        !self.is_occupied() && self.next.is_none()
    }

    /// Its life, if it is this one.
    pub(crate) fn life(&mut self, life: u64) -> Option<&mut Running> {
        self.running.as_mut().filter(|running| running.life == life)
    }

    /// The ways to its shims.
    pub(crate) fn into_links(mut self) -> impl Iterator<Item = Link> {
        if let Some(running) = &mut self.running {
            running.cancel_probes();
        }
        let running = self.running.map(|running| running.link);
        running.into_iter().chain(self.closing.into_iter().map(|(_, link)| link))
    }
}

impl Running {
    /// A life at its beginning, or as it was found.
    pub(crate) fn new(
        life: u64,
        link: Link,
        service: Option<Arc<Service>>,
        resolved: Option<Arc<Resolved>>,
    ) -> Self {
        Self {
            life,
            link,
            shim: None,
            service,
            resolved,
            before: Arc::default(),
            told: Told::default(),
            refused: None,
            probes: HashMap::new(),
            execs: HashMap::new(),
            notify: Notify::default(),
            holds: None,
        }
    }

    /// Ends every probe of our own. Returns those that the shim runs.
    pub(crate) fn cancel_probes(&mut self) -> Vec<u64> {
        for (_, probe) in self.probes.drain() {
            probe.abort();
        }
        self.execs.drain().map(|(number, _)| number).collect()
    }
}
