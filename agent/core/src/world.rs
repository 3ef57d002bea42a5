//! The whole of what is known, and the one way in: an event and the time go in, actions come out.
//!
//! Invariant: after every step each node has been looked at since it, or something that it goes
//! by, last changed, and `timers` has each node's next deadline. A change that nobody looks at
//! would be a service that waits for ever for what is long ready.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    action::Action,
    event::Event,
    hold::Hold,
    lease::Register,
    node::Node,
    nouns::{ServiceId, Want},
    project::Project,
    time::Time,
    timers::Timers,
};

/// All services of all projects.
#[derive(Debug, Default)]
pub struct World {
    projects: BTreeMap<Arc<str>, Project>,
    timers: Timers,
    /// Last lives of services that have no node (yet).
    numbers: BTreeMap<ServiceId, u64>,
    /// Where each lease is.
    leases: Register,
    steps: u64,
    /// Names of the project at hand that are to be looked at; empty between steps.
    queue: VecDeque<Arc<str>>,
}

/// One step's work on one project.
pub(crate) struct Turn<'w> {
    pub path: Arc<str>,
    pub project: &'w mut Project,
    pub timers: &'w mut Timers,
    pub numbers: &'w mut BTreeMap<ServiceId, u64>,
    pub queue: &'w mut VecDeque<Arc<str>>,
    pub actions: &'w mut Vec<Action>,
    pub now: Time,
}

impl World {
    /// A world without services.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in one event. The actions are to be done in their order. Never fails: what doesn't
    /// fit changes nothing.
    pub fn step(&mut self, event: Event, now: Time) -> Vec<Action> {
        self.steps += 1;
        let mut actions = Vec::new();
        let out = &mut actions;
        match event {
            Event::Up { project, definitions, targets } => {
                self.found(&project);
                self.turn(&project, out, now, |turn| turn.up(definitions, targets, Hold::Up));
            }
            Event::Lease { lease, project, definitions, targets } => {
                self.for_lease(lease, &project, out, now, |turn, number, lease| {
                    turn.project.note_lease(number, lease);
                    turn.up(definitions, targets, Hold::Lease(number));
                });
            }
            Event::Release { leases } => self.release(&leases, out, now),
            Event::Down { project: Some(project), targets } => {
                self.turn(&project, out, now, |turn| turn.down(&targets));
            }
            Event::Down { project: None, targets } => {
                let all: Vec<Arc<str>> = self.projects.keys().cloned().collect();
                for project in all {
                    self.turn(&project, out, now, |turn| turn.down(&targets));
                }
            }
            Event::Restart { project, definitions, targets, lease: None } => {
                self.found(&project);
                self.turn(&project, out, now, |turn| turn.restart(definitions, targets, None));
            }
            Event::Restart { project, definitions, targets, lease: Some(lease) } => {
                self.for_lease(lease, &project, out, now, |turn, number, lease| {
                    turn.restart(definitions, targets, Some((number, lease)));
                });
            }
            Event::Started { id, life, pid } => {
                self.turn(&id.project, out, now, |turn| turn.started(&id.name, life, pid));
            }
            Event::StartFailed { id, life, reason } => {
                self.turn(&id.project, out, now, |turn| turn.start_failed(&id.name, life, reason));
            }
            Event::Exited { id, life, exit } => {
                self.turn(&id.project, out, now, |turn| turn.exited(&id.name, life, exit));
            }
            Event::Emptied { id, life } => {
                self.turn(&id.project, out, now, |turn| turn.emptied(&id.name, life));
            }
            Event::ShimLost { id, life, at, left } => {
                self.turn(&id.project, out, now, |turn| turn.shim_lost(&id.name, life, at, &left));
            }
            Event::Unstartable { id, life, reason } => {
                self.turn(&id.project, out, now, |turn| turn.unstartable(&id.name, life, reason));
            }
            Event::Missing { id, life, at } => {
                self.turn(&id.project, out, now, |turn| turn.missing(&id.name, life, at));
            }
            Event::Mute { id, definition, life, pid, message } => {
                self.found(&id.project);
                self.turn(&id.project, out, now, |turn| {
                    turn.mute(&id.name, definition, life, pid, message);
                });
            }
            Event::Settled => {
                let all: Vec<Arc<str>> = self.projects.keys().cloned().collect();
                for project in all {
                    self.turn(&project, out, now, |turn| turn.settled());
                }
            }
            Event::Probed { id, life, test, verdict } => {
                self.turn(&id.project, out, now, |turn| {
                    turn.probed(&id.name, life, test, verdict);
                });
            }
            Event::Adopted { id, definition, life, pid, exit, ready, want, restarts, stopping } => {
                self.found(&id.project);
                let found = crate::adoption::Found {
                    definition,
                    life,
                    pid,
                    exit,
                    ready,
                    want,
                    restarts,
                    stopping,
                };
                self.turn(&id.project, out, now, |turn| turn.adopted(&id.name, found));
            }
            Event::Tick => self.tick(out, now),
        }
        actions
    }

    /// When the next `Tick` is due; it may come later. `None`: nothing waits for time to pass.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.first()
    }

    /// How many events it has taken in: as long as that stays, so does everything else.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Whom a `Tick` at this time would be about, by deadline.
    #[must_use]
    pub fn due(&self, now: Time) -> Vec<ServiceId> {
        self.timers.due(now)
    }

    /// Says which life of a service was its last, as its log or record has it, so that the next
    /// one gets a number of its own. To be called before the command that may start it.
    pub fn set_last_life(&mut self, id: &ServiceId, life: u64) {
        let project = self.projects.get_mut(&id.project);
        match project.and_then(|project| project.nodes.get_mut(&id.name)) {
            // A living one's number is its life's: it must not change under it.
            Some(node) if node.is_living() => {}
            Some(node) => node.life.number = node.life.number.max(life),
            None => {
                let number = self.numbers.entry(id.clone()).or_default();
                *number = life.max(*number);
            }
        }
    }

    /// Whether nothing runs and nothing is wanted: an agent has no reason to stay for services.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let mut nodes = self.projects.values().flat_map(|project| project.nodes.values());
        nodes.all(|node| node.want == Want::Down && !node.is_living())
    }

    /// What is known of one service's definition: that with which it runs, or would.
    #[must_use]
    pub fn definition(&self, id: &ServiceId) -> Option<&crate::Definition> {
        Some(&self.project(&id.project)?.nodes.get(&id.name)?.definition)
    }

    /// A project that may be unknown yet.
    pub(crate) fn found(&mut self, path: &Arc<str>) {
        self.projects.entry(path.clone()).or_default();
    }

    pub(crate) fn project(&self, path: &str) -> Option<&Project> {
        self.projects.get(path)
    }

    pub(crate) fn projects(&self, only: Option<&str>) -> impl Iterator<Item = &Project> {
        let mine =
            move |(path, _): &(&Arc<str>, &Project)| only.is_none_or(|only| ***path == *only);
        self.projects.iter().filter(mine).map(|(_, project)| project)
    }

    pub(crate) fn project_mut(&mut self, path: &str) -> Option<&mut Project> {
        self.projects.get_mut(path)
    }

    pub(crate) fn by_path(&self) -> impl Iterator<Item = (&Arc<str>, &Project)> {
        self.projects.iter()
    }

    pub(crate) fn register(&self) -> &Register {
        &self.leases
    }

    pub(crate) fn register_mut(&mut self) -> &mut Register {
        &mut self.leases
    }

    /// Every node whose deadline has come, by deadline.
    fn tick(&mut self, actions: &mut Vec<Action>, now: Time) {
        for id in self.timers.due(now) {
            self.turn(&id.project, actions, now, |turn| turn.tick(&id.name));
        }
    }

    /// Does `work` on a project, where it is known, and then whatever follows from it.
    pub(crate) fn turn(
        &mut self,
        path: &str,
        actions: &mut Vec<Action>,
        now: Time,
        work: impl FnOnce(&mut Turn<'_>),
    ) {
        let Some((path, _)) = self.projects.get_key_value(path) else { return };
        let path = path.clone();
        let Some(project) = self.projects.get_mut(&path) else { return };
        let mut turn = Turn {
            path,
            project,
            timers: &mut self.timers,
            numbers: &mut self.numbers,
            queue: &mut self.queue,
            actions,
            now,
        };
        work(&mut turn);
        turn.finish();
    }
}

impl Turn<'_> {
    /// The node, where it is known and in this life. There is news of it, so it was heard.
    pub fn living(&mut self, name: &str, life: u64) -> Option<&mut Node> {
        let node = self.project.nodes.get_mut(name).filter(|node| node.lives(life))?;
        // A check is heard when its agent begins to ask.
        node.unheard &= node.is_check();
        Some(node)
    }

    /// The same, where the life is that of a process.
    pub fn process(&mut self, name: &str, life: u64) -> Option<&mut Node> {
        let known = self.project.nodes.get(name);
        if known.is_some_and(Node::is_check) { None } else { self.living(name, life) }
    }

    pub fn id(&self, name: &Arc<str>) -> ServiceId {
        ServiceId { project: self.path.clone(), name: name.clone() }
    }

    /// Puts a node on the list of those to be looked at.
    pub fn look_at(&mut self, name: &Arc<str>) {
        if let Some(node) = self.project.nodes.get_mut(name)
            && !node.queued
        {
            node.queued = true;
            self.queue.push_back(name.clone());
        }
    }

    pub fn look_at_all(&mut self) {
        let names: Vec<Arc<str>> = self.project.nodes.keys().cloned().collect();
        for name in &names {
            self.look_at(name);
        }
    }

    /// Brings the node's entry among the timers up to date.
    pub fn arm(&mut self, name: &str) {
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        let deadline = node.deadline();
        if node.armed != deadline {
            node.armed = deadline;
            self.timers.set(&mut node.timer, &node.id, deadline);
        }
    }
}
