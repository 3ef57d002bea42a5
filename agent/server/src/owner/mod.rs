//! The one task that owns all state: commands and news in, deeds out.
//!
//! Theory of operation. Everything that happens comes in through two queues, requests by
//! [`Command`] and news of executors by [`Told`], or is the core's next deadline. Each becomes at
//! most one event for the core at a time; the actions that the core answers with are handed to
//! executors, which never block, and its transitions go to whoever listens. So there is one order
//! of events, and no lock.
//!
//! Invariant: between two turns of the loop, nothing that the core decided is left undone, and
//! everybody who waits and has an outcome has been told.

mod act;
mod ask;
mod hand_over;
mod hear;
mod nodes;
mod streams;
mod take_over;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::time::SystemTime;

use hearth_core::{Action, Event, ServiceId, World};
use hearth_lifecycle::agent::{BusyGuard, Handle};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep_until, timeout};
use tracing::{info, warn};

use crate::adopt;
use crate::clock::Clock;
use crate::command::{Command, Reply};
use crate::execute::link::Told;
use crate::files::Files;
use crate::place::Place;
pub(crate) use nodes::Node;
use streams::Listener;

/// A shim that lives answers within this, or the agent starts without it.
const ADOPTION: Duration = Duration::from_secs(2);
/// News that may wait for their turn.
const NEWS: usize = 1024;
/// Requests that are known again when they come a second time.
const REPEATABLE: usize = 128;

/// All state.
pub(crate) struct Owner {
    world: World,
    nodes: BTreeMap<ServiceId, Node>,
    files: Files,
    listeners: Vec<Listener>,
    /// Ids of requests that were carried out, oldest first.
    done: VecDeque<String>,
    /// Names of the shims that this agent has begun or taken over.
    ours: HashSet<String>,
    /// Records of shims that do not answer and whose end is awaited.
    awaited: HashSet<PathBuf>,
    /// Events that follow from deeds, for after the turn.
    later: VecDeque<Event>,
    /// When what is being done was decided: for rows, for transitions and for shims the same.
    acted_at: SystemTime,
    place: Place,
    clock: Clock,
    handle: Handle,
    busy: Option<BusyGuard>,
    probes: u64,
    tell: mpsc::Sender<Told>,
    news: mpsc::Receiver<Told>,
}

impl Owner {
    /// Knows nothing yet.
    pub(crate) fn new(place: Place, clock: Clock, handle: Handle) -> Self {
        let (tell, news) = mpsc::channel(NEWS);
        Self {
            world: World::new(),
            nodes: BTreeMap::new(),
            files: Files::default(),
            listeners: Vec::new(),
            done: VecDeque::new(),
            ours: HashSet::new(),
            awaited: HashSet::new(),
            later: VecDeque::new(),
            acted_at: SystemTime::now(),
            place,
            clock,
            handle,
            busy: None,
            probes: 0,
            tell,
            news,
        }
    }

    /// What is decided.
    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// What the files say.
    pub(crate) fn files(&mut self) -> &mut Files {
        &mut self.files
    }

    /// What else is known of a service.
    pub(crate) fn node(&self, id: &ServiceId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The time.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Takes over the shims of this home. Who has not answered in time is heard later. Only a
    /// predecessor that died may have left one that is still on its way: without, there is no watch
    /// and no timer.
    pub(crate) async fn adopt(&mut self, predecessor_died: bool) {
        // Subscribe, then look.
        let watched = if predecessor_died { adopt::watch(&self.place, &self.tell) } else { Ok(()) };
        let looked = watched.and_then(|()| adopt::look(&self.place, &self.tell));
        let found = match looked {
            Ok(found) => found,
            Err(error) => {
                warn!(%error, "cannot look for shims");
                return;
            }
        };
        for (record, clearing) in &found.dead {
            let id = ServiceId::new(record.project.as_str(), record.service.as_str());
            self.world.set_last_life(&id, record.life);
            self.nodes.entry(id).or_default().clearing = *clearing;
        }
        let mut asked = found.asked;
        let all = async {
            while !asked.is_empty() {
                let Some(told) = self.news.recv().await else { return };
                match &told {
                    Told::Answered { state, .. } => {
                        let id = ServiceId::new(state.project.as_str(), state.service.as_str());
                        let path = self.place.record(&Place::shim(&id));
                        asked.retain(|known| *known != path);
                    }
                    Told::Unanswered(path) => asked.retain(|known| known != path),
                    Told::Appeared(_)
                    | Told::Released(_)
                    | Told::Frame { .. }
                    | Told::Gone { .. }
                    | Told::Overdue { .. }
                    | Told::Cleared(_)
                    | Told::Probed { .. } => {}
                }
                self.hear(told);
            }
        };
        if timeout(ADOPTION, all).await.is_err() {
            for record in asked {
                warn!(record = %record.display(), "a shim lives and does not answer: its service is left alone");
            }
        }
        self.note_busy();
    }

    /// Serves commands until the agent leaves.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let due = self.world.next_deadline().and_then(|time| self.clock.instant(time));
            let tick = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Leave(reply)) => return self.leave(reply).await,
                    Some(Command::Freeze(reply)) => {
                        if let Some(reply) = self.freeze(reply, &mut commands).await {
                            return self.leave(reply).await;
                        }
                    }
                    Some(command) => self.answer(command),
                    None => return,
                },
                Some(told) = self.news.recv() => self.hear(told),
                () = tick => self.step(Event::Tick),
            }
            self.note_busy();
        }
    }

    /// One event for the core, and all that follows from it.
    fn step(&mut self, event: Event) {
        self.later.push_back(event);
        while let Some(event) = self.later.pop_front() {
            let actions = self.world.step(event, self.clock.now());
            self.carry_out(actions);
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        let mut changed = false;
        self.acted_at = SystemTime::now();
        for action in actions {
            changed |= matches!(action, Action::Changed(_));
            self.act(action);
        }
        if changed {
            self.tell_outcomes();
        }
    }

    /// The agent does not go for idleness while a shim lives or anything is wanted.
    fn note_busy(&mut self) {
        let idle = self.world.is_idle() && self.nodes.values().all(Node::is_still);
        match (idle, &self.busy) {
            (true, Some(_)) => self.busy = None,
            (false, None) => self.busy = Some(self.handle.busy()),
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// Streams end, shims are told; services stay.
    async fn leave(mut self, reply: Reply<()>) {
        self.end_streams(hearth_api::Result::Interrupted);
        let mut farewells = JoinSet::new();
        for node in self.nodes.into_values() {
            for link in node.into_links() {
                farewells.spawn(link.leave());
            }
        }
        // Links that wait for room to tell us something end with this.
        drop(self.news);
        let shims = farewells.len();
        farewells.join_all().await;
        info!(shims, "left the shims to the next agent");
        let _ = reply.send(());
    }
}
