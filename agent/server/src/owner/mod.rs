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
mod boot;
mod checks;
mod ends;
mod environment;
mod events;
mod hand_over;
mod hear;
mod in_words;
mod kept;
mod leased;
mod leases;
mod loose;
mod meant;
mod nodes;
mod resume;
mod said;
mod secrets;
mod shut_down;
mod streams;
mod take_over;
mod trees;
mod watched;
mod why;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use hearth_api::event::EndReason;
use hearth_core::{Action, Event, ServiceId, World};
use hearth_lifecycle::agent::{BusyGuard, Ending, Handle};
use hearth_lifecycle::sessions::Sessions;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Duration, Instant, sleep_until};
use tracing::info;

use crate::adopt;
use crate::bundle::Held;
use crate::clock::Clock;
use crate::command::{Command, Reply};
use crate::events::Events;
use crate::execute::link::Told;
use crate::execute::one_shot::Faces;
use crate::files::Files;
use crate::place::Place;
use crate::ports::Ports;
use crate::store::Store;
use boot::Boot;
pub(crate) use environment::Environment;
use events::Snapshot;
use leases::{Granted, Happened};
pub(crate) use nodes::Node;
use said::Said;
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
    said: Said,
    /// What happens, for who hears of everything.
    events: Events,
    /// How things were when somebody last asked.
    last_snapshot: Option<Snapshot>,
    /// Sessions that were told there, or were there before; empty where nobody hears of them.
    sessions_told: HashSet<Arc<str>>,
    /// Something has changed that the service manager is told in words.
    is_news: bool,
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
    /// Who may hold leases.
    sessions: Sessions,
    /// What the registry tells of them.
    heard_of: mpsc::UnboundedReceiver<Happened>,
    /// What watches over them.
    watching: Option<JoinHandle<()>>,
    granted: Granted,
    /// What is up again after a boot.
    boot: Boot,
    /// Who waits until nothing is left, as everything comes to its end; see [`Command::ShutDown`].
    shutting_down: Option<Vec<Reply<()>>>,
    probes: u64,
    store: Store,
    ports: Ports,
    /// A successor is about to take over: what would begin now is left to it.
    freezing: bool,
    /// Requests that wait until the dead of their project are buried.
    parked: Vec<Command>,
    /// Shims that may go as soon as their ends are saved.
    owed: Vec<(ServiceId, u64)>,
    /// What the shims of each project hold.
    bundles: BTreeMap<Arc<str>, Held>,
    answers_late: adopt::Late,
    /// What runs the commands of checks.
    faces: Faces,
    tell: mpsc::Sender<Told>,
    news: mpsc::Receiver<Told>,
}

impl Owner {
    /// Knows nothing yet.
    pub(crate) fn new(
        place: Place,
        clock: Clock,
        handle: Handle,
        sessions: Sessions,
        events: Events,
    ) -> Self {
        let (tell, news) = mpsc::channel(NEWS);
        let heard_of = leases::hear_of(&sessions);
        let store = Store::new(place.home());
        Self {
            world: World::new(),
            nodes: BTreeMap::new(),
            files: Files::default(),
            listeners: Vec::new(),
            said: Said::default(),
            events,
            last_snapshot: None,
            sessions_told: HashSet::new(),
            is_news: true,
            done: VecDeque::new(),
            ours: HashSet::new(),
            awaited: HashSet::new(),
            later: VecDeque::new(),
            acted_at: SystemTime::now(),
            place,
            clock,
            handle,
            busy: None,
            sessions,
            heard_of,
            watching: None,
            granted: Granted::default(),
            boot: Boot::default(),
            shutting_down: None,
            probes: 0,
            store,
            ports: Ports::default(),
            freezing: false,
            parked: Vec::new(),
            owed: Vec::new(),
            bundles: BTreeMap::new(),
            answers_late: adopt::Late::default(),
            faces: Faces::new(),
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

    /// Serves commands until the agent leaves.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.watch_sessions();
        loop {
            let (flush, said) = (self.store.due(), self.said.due());
            let due = self.world.next_deadline().and_then(|time| self.clock.instant(time));
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Leave(reply)) => {
                        let (word, reason) = match self.handle.ending() {
                            // Who comes again finds the next one.
                            Ending::Restart | Ending::Replaced => {
                                (hearth_api::Result::Replaced, EndReason::Replaced)
                            }
                            Ending::Ordinary | Ending::Shutdown => {
                                (hearth_api::Result::Interrupted, EndReason::Stopping)
                            }
                        };
                        self.end_streams(word);
                        self.end_events(reason);
                        self.save();
                        self.settle();
                        return self.leave(reply).await;
                    }
                    Some(Command::Freeze(reply)) => {
                        if let Some(reply) = self.freeze(reply, &mut commands).await {
                            return self.leave(reply).await;
                        }
                    }
                    Some(command) => self.answer(command),
                    None => return,
                },
                Some(told) = self.news.recv() => self.hear(told),
                Some(happened) = self.heard_of.recv() => self.hear_of_sessions(Some(happened)),
                () = come(due) => self.step(Event::Tick),
                () = come(said) => self.tell_said(),
                () = come(flush) => {}
            }
            // What has come together is saved together.
            for _ in 0..NEWS {
                let Ok(told) = self.news.try_recv() else { break };
                self.hear(told);
            }
            self.settle();
            self.note_busy();
            self.note_shut_down();
            self.tell_manager();
        }
    }

    /// One event for the core, and all that follows from it.
    fn step(&mut self, event: Event) {
        self.later.push_back(event);
        while let Some(event) = self.later.pop_front() {
            ends::tell(&event);
            // Of no transition, and yet worth knowing: the pid.
            if matches!(event, Event::Started { .. }) {
                self.store.touch();
            }
            // A check that was not ready in time is `unhealthy` as before, and yet an outcome.
            let is_tick = matches!(event, Event::Tick);
            self.may_be_said(&event);
            let now = self.clock.now();
            let touched = self.touched(&event, now);
            let actions = self.world.step(event, now);
            self.carry_out(actions);
            touched.iter().for_each(|id| self.tell_health(id));
            if is_tick {
                self.tell_outcomes();
            }
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        let mut changed = false;
        self.acted_at = SystemTime::now();
        for action in actions {
            changed |= matches!(action, Action::Changed(_));
            if !matches!(action, Action::Probe { .. } | Action::CancelProbes { .. }) {
                self.store.touch();
            }
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

    /// Shims are told; services stay.
    async fn leave(mut self, reply: Reply<()>) {
        self.leave_sessions_alone().await;
        let mut farewells = JoinSet::new();
        for node in self.nodes.into_values() {
            for link in node.into_links() {
                farewells.spawn(link.leave());
            }
        }
        // Links that wait for room to tell us something end with this.
        drop(self.news);
        let shims = farewells.len();
        tokio::join!(farewells.join_all(), self.faces.end());
        info!(shims, "left the shims to the next agent");
        let _ = reply.send(());
    }
}

/// Until then; for ever where nothing is due.
async fn come(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
