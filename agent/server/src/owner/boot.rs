//! Services that are up again when an agent starts after a boot, or after its user was logged out.
//!
//! Invariant: that they are to be brought up is on disk until what is wanted by it is. An agent that dies
//! in between leaves it to the next one; one that only replaces another brings up nothing. Their
//! environment is of files: what this agent has by the allow-list, `env_file`, `env`; never a shell's.
//!
//! A project that can't be brought up holds no other up. It is told in the log and by the check `boot`,
//! until its services are wanted again or enabled no longer; its names are kept, as files come back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use hearth_api::{Code, Enabled, Problem};
use hearth_config::{FILE, Kind, Project};
use hearth_core::{ServiceId, Want};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::Owner;
use super::ask::Brought;
use super::meant::meant;
use crate::capture::Taken;
use crate::command::{Enable, Up};
use crate::refuse::{self, Refusal};
use crate::{store, unasked};

type Names = BTreeSet<Arc<str>>;

/// What is enabled, and what became of it at this agent's start.
#[derive(Debug, Default)]
pub(super) struct Boot {
    enabled: BTreeMap<Arc<str>, Names>,
    /// They are still to be brought up.
    due: bool,
    faults: Vec<Fault>,
}

/// Services that were to come up, and did not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Fault {
    project: Arc<str>,
    services: Names,
    /// One line, for people.
    reason: String,
}

impl Boot {
    /// As an earlier agent has left it.
    pub(super) fn put_back(&mut self, left: store::Boot, other_world: bool) {
        let store::Boot { enabled, due } = left;
        self.enabled = enabled.into_iter().map(|of| (of.project, of.services)).collect();
        self.due = due || other_world;
    }

    /// For the next agent.
    pub(super) fn to_save(&self) -> store::Boot {
        let of = |(project, services): (&Arc<str>, &Names)| store::Enabled {
            project: Arc::clone(project),
            services: services.clone(),
        };
        store::Boot { enabled: self.enabled.iter().map(of).collect(), due: self.due }
    }

    /// The next agent is to bring them up, whatever boot it is.
    pub(super) fn is_due(&mut self) {
        self.due = true;
    }

    /// For the agent that takes this one's place.
    pub(super) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What the agent whose place this one takes had to tell.
    pub(super) fn tell(&mut self, faults: Vec<Fault>) {
        self.faults.extend(faults);
    }

    fn has(&self, id: &ServiceId) -> bool {
        self.enabled.get(&id.project).is_some_and(|names| names.contains(&id.name))
    }

    fn count(&self) -> usize {
        self.enabled.values().map(BTreeSet::len).sum()
    }

    /// The project itself; where there is none any more, the nearest one above of which something is
    /// enabled.
    fn nearest(&self, project: &Arc<str>) -> Arc<str> {
        if Path::new(&**project).join(FILE).symlink_metadata().is_ok() {
            return Arc::clone(project);
        }
        let above = Path::new(&**project).ancestors().filter_map(Path::to_str);
        let known = above.filter_map(|dir| self.enabled.get_key_value(dir)).next();
        known.map_or_else(|| Arc::clone(project), |(known, _)| Arc::clone(known))
    }

    fn fault(&mut self, project: &Arc<str>, services: Names, reason: String) {
        let listed = listed(&services);
        warn!(%project, services = listed, reason, "enabled, and not brought up");
        self.faults.push(Fault { project: Arc::clone(project), services, reason });
    }
}

impl Fault {
    fn words(&self) -> String {
        let Self { project, services, reason } = self;
        format!("{} of {project} did not come up after the boot: {reason}", listed(services))
    }
}

fn listed(names: &Names) -> String {
    names.iter().map(|name| &**name).collect::<Vec<_>>().join(", ")
}

impl Owner {
    /// Whether it is up again after a boot.
    pub(crate) fn is_enabled(&self, id: &ServiceId) -> bool {
        self.boot.has(id)
    }

    /// `POST /v1/enable`, saved before it is answered. Errors: a name that is not known; one that is in
    /// no file.
    pub(super) fn enable(&mut self, enable: Enable) -> Result<Enabled, Refusal> {
        let services = match enable {
            Enable::On { project, file, names } => self.switch_on(project, &file, &names)?,
            Enable::Off { project, names } => self.switch_off(&project, names)?,
        };
        self.save();
        let services = services.iter().map(|name| name.to_string()).collect();
        Ok(Enabled { services, left: self.boot.count() })
    }

    fn switch_on(
        &mut self,
        project: Arc<str>,
        file: &Project,
        names: &[String],
    ) -> Result<Vec<Arc<str>>, Refusal> {
        if let Some(name) = names.iter().find(|name| self.is_loose(&project, file, name)) {
            let words = format!(
                "{name} can't be enabled: `hearth run` began it, and no file says how to start it"
            );
            let hint = format!("put it into {}", file.file.display());
            return Err(Problem::new(Code::BadRequest, words, hint).into());
        }
        let mut targets = meant(&project, file, names)?;
        if names.is_empty() {
            let all = file.services.iter().filter(|s| s.enabled && s.kind != Kind::Check);
            targets = all.map(|service| Arc::from(service.name.as_str())).collect();
        }
        if !targets.is_empty() {
            self.boot.enabled.entry(project).or_default().extend(targets.iter().cloned());
        }
        Ok(targets)
    }

    fn is_loose(&self, project: &Arc<str>, file: &Project, name: &str) -> bool {
        let node = self.node(&ServiceId::new(Arc::clone(project), name));
        file.service(name).is_none() && node.is_some_and(|node| node.loose)
    }

    /// By what is enabled, and by the file as far as there is one: what is gone from it can be disabled.
    fn switch_off(
        &mut self,
        project: &Arc<str>,
        names: Vec<String>,
    ) -> Result<Vec<Arc<str>>, Refusal> {
        let project = self.boot.nearest(project);
        let enabled = self.boot.enabled.get(&project).cloned().unwrap_or_default();
        let targets: Vec<Arc<str>> = match names.is_empty() {
            true => enabled.iter().cloned().collect(),
            false => self.known(&project, &enabled, names)?,
        };
        if let Some(left) = self.boot.enabled.get_mut(&project) {
            left.retain(|name| !targets.contains(name));
            if left.is_empty() {
                self.boot.enabled.remove(&project);
            }
        }
        Ok(targets)
    }

    fn known(
        &mut self,
        project: &Arc<str>,
        enabled: &Names,
        names: Vec<String>,
    ) -> Result<Vec<Arc<str>>, Refusal> {
        let file = self.files.read(project);
        let mut known = Vec::new();
        for name in names {
            if let Some(name) = enabled.get(name.as_str()) {
                known.push(Arc::clone(name));
                continue;
            }
            let asked = [name];
            match file.as_ref().and_then(|file| file.expand(&asked).ok()) {
                Some(services) => known.extend(services.into_iter().map(Arc::from)),
                None => {
                    let there: Names = match &file {
                        Some(file) => {
                            let names = file.services.iter().map(|service| service.name.as_str());
                            names.map(Arc::from).chain(enabled.iter().cloned()).collect()
                        }
                        None => enabled.clone(),
                    };
                    let there: Vec<&str> = there.iter().map(|name| &**name).collect();
                    return Err(refuse::no_such_service(&asked[0], project, &there));
                }
            }
        }
        Ok(known)
    }

    /// How many are enabled. Errors: which did not come up at this agent's start, and why.
    pub(super) fn booted(&mut self) -> Result<usize, String> {
        let (world, enabled) = (&self.world, &self.boot.enabled);
        self.boot.faults.retain_mut(|Fault { project, services, .. }| {
            services.retain(|name| {
                let id = ServiceId::new(Arc::clone(project), Arc::clone(name));
                let wanted = world.view(&id).is_some_and(|view| view.want == Want::Up);
                !wanted && enabled.get(project).is_some_and(|names| names.contains(name))
            });
            !services.is_empty()
        });
        match &self.boot.faults[..] {
            [] => Ok(self.boot.count()),
            faults => Err(faults.iter().map(Fault::words).collect::<Vec<_>>().join("; ")),
        }
    }

    /// Brings up what is enabled, where that is due. To be called when nothing is left to be adopted.
    pub(super) async fn bring_up_enabled(&mut self) {
        if !self.boot.due {
            return;
        }
        let enabled = self.boot.enabled.clone();
        let mut read = unasked::read_all(enabled.keys().cloned()).await;
        let mut decided = Vec::new();
        for (project, names) in enabled {
            let file = match read.remove(&project) {
                Some(Ok(file)) => file,
                Some(Err(reason)) => {
                    self.boot.fault(&project, names, reason);
                    continue;
                }
                None => continue,
            };
            let (names, lost): (Names, Names) =
                names.into_iter().partition(|name| file.service(name).is_some());
            if !lost.is_empty() {
                let reason = format!("not in {} any more", file.file.display());
                self.boot.fault(&project, lost, reason);
            }
            if names.is_empty() {
                continue;
            }
            match self.bring_up_of(&project, file, &names) {
                Ok(brought) => decided.push((project, brought.actions)),
                Err(Refusal(problem)) => self.boot.fault(&project, names, problem.detail),
            }
        }
        self.boot.due = false;
        // What was decided is on disk, with what it was decided by, before anything is begun.
        self.save();
        for (project, actions) in decided {
            self.carry_out_and_tell(actions);
            self.begin_all_next(&project);
        }
    }

    fn bring_up_of(
        &mut self,
        project: &Arc<str>,
        file: Arc<Project>,
        names: &Names,
    ) -> Result<Brought, Refusal> {
        let up = Up {
            project: Arc::clone(project),
            file,
            names: names.iter().map(|name| name.to_string()).collect(),
            taken: of_no_shell()?,
            restart: false,
            session: None,
            request: None,
            words: false,
        };
        let brought = self.bring_up(up, None)?;
        info!(%project, services = listed(names), "brought up after a boot");
        for note in &brought.notes {
            info!(%project, note, "as it was brought up");
        }
        Ok(brought)
    }
}

/// What a service gets besides its files: of this agent's own, what any agent may have; and its home, by
/// which services that run `hearth` find it.
fn of_no_shell() -> Result<Taken, Refusal> {
    let all = std::env::vars_os();
    let text =
        all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let ours = text.filter(|(name, _)| hearth_lifecycle::is_allowed(name) || name == "HEARTH_HOME");
    Taken::of(ours.collect(), None, BTreeMap::new())
}
