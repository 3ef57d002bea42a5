//! What outlives an agent: all that decisions about a service go by, for the agent that follows.
//!
//! Invariant: a world that is saved, restored and told of its shims decides on as if nobody had
//! died: counts, deadlines and wants go on, nothing begins anew. Until something is heard of a
//! restored service it is *unheard*: what was seen of it last is shown, nothing is started on the
//! ground of it, and nothing is stopped for it. A node without a process is heard with
//! [`crate::Event::Settled`], when all shims that answer have been taken over.
//!
//! Leases are saved beside the services (`lease.rs`), at the same moment: what one of them holds is
//! wanted by the other. After another boot none is put back, for their sessions have ended with it.
//!
//! There is no secret in it: no command, no environment; what probes said last is left out too.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    World,
    definition::{Definition, Need},
    linger::Linger,
    node::{History, Life, Node, Phase},
    nouns::{Exit, ServiceId, Want},
    time::Time,
    world::Turn,
};

/// So many failures of a service are saved, the last ones: a limit above that counts anew from there
/// when an agent dies. Without it, one that is hardly ever given up would fill every save.
const FAILURES: usize = 1000;

/// One service as it was. Times are the driver's, so it must keep one clock over its agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    id: ServiceId,
    want: Want,
    #[serde(default)]
    named: bool,
    #[serde(default)]
    linger: Option<Linger>,
    phase: Phase,
    #[serde(default)]
    message: String,
    since: Time,
    life: SavedLife,
    #[serde(default)]
    history: History,
    #[serde(default)]
    exit: Option<Exit>,
    #[serde(default)]
    again: bool,
    #[serde(default)]
    gone: bool,
    #[serde(default)]
    fault: Option<String>,
    definition: Definition,
    #[serde(default)]
    pending: Option<Definition>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedLife {
    number: u64,
    #[serde(default)]
    pid: Option<u32>,
    began: Time,
    #[serde(default)]
    overdue_at: Option<Time>,
    #[serde(default)]
    kill_at: Option<Time>,
    #[serde(default)]
    killed: bool,
    #[serde(default)]
    met: bool,
    #[serde(default)]
    overdue: bool,
}

impl Saved {
    /// Whose.
    #[must_use]
    pub fn id(&self) -> &ServiceId {
        &self.id
    }

    /// Its life, or the last one.
    #[must_use]
    pub fn life(&self) -> u64 {
        self.life.number
    }

    /// What is left of it when the machine was started anew: its name, how it last ended, and the
    /// number of its last life. Nothing is wanted, so that nothing is started by surprise.
    #[must_use]
    pub fn after_reboot(mut self) -> Self {
        self.want = Want::Down;
        self.named = false;
        self.linger = None;
        self.again = false;
        self.phase = Phase::Down;
        self.message = "not started since the machine was".into();
        self.history = History::default();
        self.definition = self.pending.take().unwrap_or(self.definition);
        let origin = Time::default();
        self.since = origin;
        self.life = SavedLife {
            number: self.life.number,
            pid: None,
            began: origin,
            overdue_at: None,
            kill_at: None,
            killed: false,
            met: false,
            overdue: false,
        };
        self
    }

    fn of(node: &Node) -> Self {
        let living = node.is_living();
        let life = &node.life;
        Self {
            id: node.id.clone(),
            want: node.want,
            named: node.named,
            linger: node.linger,
            phase: node.phase,
            message: node.message.clone(),
            since: node.since,
            life: SavedLife {
                number: life.number,
                pid: life.pid.filter(|_| living),
                began: life.began,
                overdue_at: life.overdue_at.filter(|_| living),
                kill_at: life.kill_at.filter(|_| living),
                killed: living && life.killed,
                met: living && life.met,
                overdue: living && life.overdue,
            },
            history: node.history.last_failures(FAILURES),
            exit: node.exit.clone(),
            again: node.again,
            gone: node.gone,
            fault: node.fault.clone(),
            definition: node.definition.clone(),
            pending: node.pending.as_deref().cloned(),
        }
    }

    /// A clock that was another one (a time namespace) must not make anything wait for ever.
    fn into_node(self, now: Time) -> Node {
        let longest = self.definition.backoff.max.max(self.definition.backoff.min);
        let mut node = Node::new(self.id, self.definition, self.life.number, self.since.min(now));
        node.want = self.want;
        node.named = self.named;
        node.linger = self.linger.map(|linger| linger.restored(now));
        node.phase = match self.phase {
            Phase::Backoff { until } => Phase::Backoff { until: until.min(now.after(longest)) },
            // These are of processes; only a damaged file has them.
            Phase::Spawning | Phase::Stopping(_) | Phase::Ended(_) if node.is_check() => {
                Phase::Down
            }
            other => other,
        };
        node.message = self.message;
        node.life = Life {
            number: self.life.number,
            pid: self.life.pid,
            began: self.life.began.min(now),
            overdue_at: self.life.overdue_at,
            kill_at: self.life.kill_at,
            killed: self.life.killed,
            met: self.life.met,
            overdue: self.life.overdue,
            ..Life::default()
        };
        node.history = self.history;
        node.history.failures.retain(|at| *at <= now);
        node.exit = self.exit;
        node.again = self.again;
        node.gone = self.gone;
        node.fault = self.fault;
        node.pending = self.pending.map(Box::new);
        node.shown = node.state();
        node.unheard = true;
        node.restored = true;
        node.past = self.life.number.saturating_sub(u64::from(node.is_living()));
        node
    }
}

impl World {
    /// All services, for [`World::restore`].
    #[must_use]
    pub fn saved(&self) -> Vec<Saved> {
        let nodes = self.projects(None).flat_map(|project| project.nodes.values());
        nodes.map(Saved::of).collect()
    }

    /// Whether a service has this life, as far as is known.
    #[must_use]
    pub fn lives(&self, id: &ServiceId, life: u64) -> bool {
        let node = self.project(&id.project).and_then(|project| project.nodes.get(&id.name));
        node.is_some_and(|node| node.lives(life))
    }

    /// For how long the life of a service has lasted, whichever agent began it; zero where it has none.
    #[must_use]
    pub fn lived(&self, id: &ServiceId, now: Time) -> std::time::Duration {
        let node = self.project(&id.project).and_then(|project| project.nodes.get(&id.name));
        let living = node.filter(|node| node.is_living());
        living.map_or_else(std::time::Duration::default, |node| now.since(node.life.began))
    }

    /// Services that were living when they were saved and of which nothing was heard since, with
    /// their lives.
    #[must_use]
    pub fn unheard(&self) -> Vec<(ServiceId, u64)> {
        let nodes = self.projects(None).flat_map(|project| project.nodes.values());
        // A check has no shim that could be heard of.
        let unheard = nodes.filter(|node| node.unheard && node.is_living() && !node.is_check());
        unheard.map(|node| (node.id.clone(), node.life.number)).collect()
    }

    /// Puts back what an earlier agent has saved, where nothing is known yet. No action follows
    /// before [`crate::Event::Settled`], or news of the services. Saved twice counts once.
    pub fn restore(&mut self, saved: Vec<Saved>, now: Time) {
        let mut ignored = Vec::new();
        // Where a file is being changed, what a life needed that is about to end and what is needed
        // from then on may go in a circle: it is broken where it matters least.
        let mut old = Vec::new();
        for mut one in saved {
            let id = one.id.clone();
            self.found(&id.project);
            if self.definition(&id).is_some() {
                continue;
            }
            if one.pending.is_some() {
                old.push((id.clone(), std::mem::take(&mut one.definition.needs)));
            }
            self.turn(&id.project, &mut ignored, now, |turn| turn.put_back(&id.name, one));
        }
        for (id, needs) in old {
            self.turn(&id.project, &mut ignored, now, |turn| {
                turn.put_back_needs(&id.name, needs);
            });
        }
    }
}

impl Turn<'_> {
    fn put_back(&mut self, name: &Arc<str>, saved: Saved) {
        self.project.edition += 1;
        self.numbers.remove(&saved.id);
        let mut node = saved.into_node(self.now);
        // No file was ever so, but a saved one can be damaged, and a cycle would never stop.
        let definitions = std::iter::once(&mut node.definition).chain(node.pending.as_deref_mut());
        for definition in definitions {
            definition.needs.retain(|need| !self.project.closes_cycle(name, &need.service));
        }
        self.project.shows(name, node.shown);
        self.project.nodes.insert(name.clone(), node);
        self.project.link(name);
    }

    /// What a life needs that another definition follows.
    fn put_back_needs(&mut self, name: &Arc<str>, mut needs: Vec<Need>) {
        needs.retain(|need| !self.project.closes_cycle(name, &need.service));
        if let Some(node) = self.project.nodes.get_mut(name) {
            node.definition.needs = needs;
        }
        self.project.link(name);
    }

    /// All shims that answer were taken over: what has no process is decided about again.
    pub fn settled(&mut self) {
        for node in self.project.nodes.values_mut().filter(|node| !node.is_living()) {
            node.unheard = false;
        }
        let checks = self.project.nodes.values().filter(|node| node.is_check());
        for name in checks.map(|node| node.id.name.clone()).collect::<Vec<_>>() {
            self.resume_check(&name);
        }
        self.look_at_all();
    }

    /// Neither shim nor record is left of a life.
    pub fn missing(&mut self, name: &Arc<str>, life: u64, at: String) {
        let Some(node) = self.process(name, life) else { return };
        let never = match node.phase {
            Phase::Spawning => true,
            Phase::Stopping(_) => node.life.pid.is_none(),
            Phase::Starting | Phase::Ready | Phase::Unhealthy | Phase::Ended(_) => false,
            Phase::Down | Phase::Waiting | Phase::Backoff { .. } | Phase::Done | Phase::Failed => {
                false
            }
        };
        if never {
            node.message = "its start never happened".into();
            self.over(name, crate::node::Next::Down);
        } else {
            self.shim_lost(name, life, at, &[]);
        }
    }

    /// A shim lives and can't be spoken with.
    pub fn mute(
        &mut self,
        name: &Arc<str>,
        definition: Definition,
        life: u64,
        pid: Option<u32>,
        message: String,
    ) {
        let now = self.now;
        let known = self.project.nodes.get(name);
        if known.is_some_and(|node| node.is_living() && !node.unheard) {
            return;
        }
        // The end of that life was taken and saved: it is about to go, and tells nothing new.
        if known.is_some_and(|node| !node.is_living() && node.past >= life) {
            return;
        }
        if known.is_none() {
            let id = self.id(name);
            self.numbers.remove(&id);
            let mut node = Node::new(id, definition, life, now);
            node.named = true;
            node.want = Want::Up;
            self.project.edition += 1;
            self.project.nodes.insert(name.clone(), node);
        }
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        if !node.is_living() {
            let number = node.life.number.max(life);
            node.life = Life { number, pid, began: now, ..Life::default() };
            node.phase = Phase::Starting;
        }
        node.life.pid = pid.filter(|_| node.life.number == life).or(node.life.pid);
        node.unheard = true;
        node.message = message;
        self.look_at(name);
    }
}
