//! What is shown of a node. A view is a copy: it holds no reference into the world.

use std::sync::Arc;

use crate::{
    World, health,
    lease::Lease,
    node::Node,
    nouns::{Exit, HealthStatus, Kind, ServiceId, State, Want},
    project::Project,
    time::Time,
};

/// One service as it is seen now.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// Whose.
    pub id: ServiceId,
    /// What kind of node.
    pub kind: Kind,
    /// Its name in health; `None`: it is left out of health.
    pub display: Option<String>,
    /// Its place in the file.
    pub order: u32,
    /// What was asked for. `Up` also while it lingers.
    pub want: Want,
    /// What is seen.
    pub state: State,
    /// The words of the last change of state; of one that waits, what it waits for and how that is
    /// now; of one that lingers, for how long.
    pub message: String,
    /// The leader's pid while there is one.
    pub pid: Option<u32>,
    /// Last change of state.
    pub since: Time,
    /// Automatic restarts since want went up.
    pub restarts: u32,
    /// How the last finished life ended.
    pub exit: Option<Exit>,
    /// For people.
    pub health: Health,
    /// Of the definition that it runs with; a file with another one has changed.
    pub fingerprint: u64,
    /// Number of the current life, or of the last; 0: none yet.
    pub life: u64,
    /// What it needs that is not there, while it waits.
    pub waits_for: Vec<Arc<str>>,
    /// Why it is wanted; empty where it is not, and where it lingers.
    pub held_by: Vec<Holder>,
    /// When it goes, for nobody holds it any more; `None`: it does not linger.
    pub lingers_until: Option<Time>,
}

/// Health of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Which of the six.
    pub status: HealthStatus,
    /// Why, in a few words.
    pub message: String,
}

/// Somebody because of whom a service stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// `up` named it.
    Up,
    /// A session holds it by this lease. There may be several of one session.
    Lease(Lease),
    /// This one needs it and is wanted.
    Dependent(Arc<str>),
}

/// A oneshot that has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Its name.
    pub name: Arc<str>,
    /// Of what it ran.
    pub fingerprint: u64,
    /// Its place in the file.
    pub order: u32,
    /// Which life of it succeeded.
    pub life: u64,
    /// How it ended.
    pub exit: Exit,
}

impl World {
    /// The oneshots that a service stands on, itself or through others, and that are done.
    #[must_use]
    pub fn done_below(&self, id: &ServiceId) -> Vec<Done> {
        let project = self.project(&id.project);
        let nodes = project.into_iter().flat_map(|project| project.done_below(&id.name));
        let done = |node: &Node| {
            Some(Done {
                name: node.id.name.clone(),
                fingerprint: node.definition.fingerprint,
                order: node.definition.order,
                life: node.life.number,
                exit: node.exit.clone()?,
            })
        };
        nodes.filter_map(done).collect()
    }

    /// One service; `None` where it is unknown.
    #[must_use]
    pub fn view(&self, id: &ServiceId) -> Option<NodeView> {
        let project = self.project(&id.project)?;
        Some(view(project, project.nodes.get(&id.name)?))
    }

    /// All services, of one project or of all: by project, then in file order.
    #[must_use]
    pub fn views(&self, project: Option<&str>) -> Vec<NodeView> {
        let mut rows: Vec<NodeView> = self
            .projects(project)
            .flat_map(|project| project.nodes.values().map(|node| view(project, node)))
            .collect();
        // Stable, and they come by name: equal places in the file stay in order.
        rows.sort_by(|a, b| (&a.id.project, a.order).cmp(&(&b.id.project, b.order)));
        rows
    }
}

fn view(project: &Project, node: &Node) -> NodeView {
    NodeView {
        id: node.id.clone(),
        kind: node.definition.kind,
        display: node.definition.display.clone(),
        order: node.definition.order,
        want: node.want,
        state: node.state(),
        message: project.said(node),
        pid: if node.has_leader() { node.life.pid } else { None },
        since: node.since,
        // Of a check: those of a service that had the name.
        restarts: if node.is_check() { 0 } else { node.history.restarts },
        exit: node.exit.clone().filter(|_| !node.is_check()),
        health: health::of(project, node),
        fingerprint: node.definition.fingerprint,
        life: node.life.number,
        waits_for: project.waits_for(node),
        held_by: project.holders(node),
        lingers_until: node.linger.map(|linger| linger.until),
    }
}
