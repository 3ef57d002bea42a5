//! What routes ask of the owner, and the port by which they do.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearth_api::{Check, Enabled, ServiceRow, SessionRow, Why};
use hearth_config::{Project, Service};
use hearth_core::ServiceId;
use hearth_lifecycle::Luggage;
use hearth_lifecycle::sessions::Session;
use tokio::sync::{mpsc, oneshot};

use crate::capture::{Capture, Taken};
use crate::events::{Subscribe, Subscribed};
use crate::measure::Trees;
use crate::owner::Environment;
use crate::refuse::Refusal;
use crate::upstream::Upstream;

/// One request to the owner. It answers in its turn; who does not wait any more is passed over.
#[derive(Debug)]
pub(crate) enum Command {
    /// These shall run, or begin a new life.
    Up(Up, Reply<Result<Upstream, Refusal>>),
    /// This shall run, which is in no file.
    Run(Box<Run>, Reply<Result<Upstream, Refusal>>),
    /// Tell when these are ready.
    Wait(Wait, Reply<Result<Upstream, Refusal>>),
    /// With which environment does it run?
    Env(Env, Reply<Result<Environment, Refusal>>),
    /// These shall run for as long as a lease lasts. The answer: its name.
    Lease(Box<LeaseAsk>, Reply<Result<Arc<str>, Refusal>>),
    /// This lease is over. The answer: whether there was one.
    GiveBack(Arc<str>, Reply<bool>),
    /// What do these sessions hold?
    Sessions(Vec<Session>, Reply<Vec<SessionRow>>),
    /// Because of whom is this service wanted?
    Why(ServiceId, Reply<Result<Why, Refusal>>),
    /// These shall not.
    Down(Down, Reply<Result<Upstream, Refusal>>),
    /// These shall be up again after a boot, or shall not.
    Enable(Enable, Reply<Result<Enabled, Refusal>>),
    /// Are those up that were to be after the boot? How many are enabled, or who is not up.
    Boot(Reply<Result<usize, String>>),
    /// How are they?
    Rows(Option<Arc<str>>, Reply<Vec<ServiceRow>>),
    /// Which trees of processes are there?
    Trees(Reply<Trees>),
    /// Do you answer?
    Pulse(Reply<()>),
    /// Are they well? What the agent says of itself is not in it.
    Health(Option<Arc<str>>, Reply<BTreeMap<String, Check>>),
    /// Which are there, in file order?
    Names(Option<Arc<str>>, Reply<Vec<ServiceId>>),
    /// Tell of everything that happens.
    Subscribe(Subscribe, Reply<Subscribed>),
    /// The machine, or the user's session on it, comes to its end: everything shall go down, nothing
    /// begins any more. Answered when nothing is left.
    ShutDown(Reply<()>),
    /// A successor takes over: streams end, and nothing more is done or decided until it is known
    /// what came of it.
    Freeze(Reply<Luggage>),
    /// The successor has failed: everything goes on.
    Thaw(Reply<()>),
    /// The agent stops: shims are told, streams end. The last command.
    Leave(Reply<()>),
}

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// `up` and `restart`.
#[derive(Debug)]
pub(crate) struct Up {
    /// Its path; empty: services of no project.
    pub(crate) project: Arc<str>,
    /// Its file, just read.
    pub(crate) file: Arc<Project>,
    /// Names of services and groups; empty: all that are enabled.
    pub(crate) names: Vec<String>,
    /// What the caller's shell gave.
    pub(crate) taken: Taken,
    /// A new life for what is named, although it runs.
    pub(crate) restart: bool,
    /// The session to which they are leased; `None`: `up` holds them.
    pub(crate) session: Option<Arc<str>>,
    /// The request's id: one that was carried out already is only waited for.
    pub(crate) request: Option<String>,
    /// Who asked is told of what tests say, too.
    pub(crate) words: bool,
}

/// A lease.
#[derive(Debug)]
pub(crate) struct LeaseAsk {
    /// Whose.
    pub(crate) session: Arc<str>,
    /// As in [`Up`].
    pub(crate) project: Arc<str>,
    /// As in [`Up`].
    pub(crate) file: Arc<Project>,
    /// As in [`Up`].
    pub(crate) names: Vec<String>,
    /// As in [`Up`].
    pub(crate) taken: Taken,
    /// The request's id: the same one gets the same lease.
    pub(crate) request: Option<String>,
}

/// `run`.
#[derive(Debug)]
pub(crate) struct Run {
    /// The path of its project; empty: none.
    pub(crate) project: Arc<str>,
    /// The project's file, just read: whose names are taken.
    pub(crate) file: Arc<Project>,
    /// What is to run.
    pub(crate) service: Service,
    /// What the caller's shell gave.
    pub(crate) taken: Taken,
    /// As in [`Up`].
    pub(crate) session: Option<Arc<str>>,
    /// As in [`Up`].
    pub(crate) request: Option<String>,
    /// As in [`Up`].
    pub(crate) words: bool,
}

/// `wait`.
#[derive(Debug)]
pub(crate) struct Wait {
    /// Its path; empty: services of no project.
    pub(crate) project: Arc<str>,
    /// Names of services and groups; empty: all that are enabled.
    pub(crate) names: Vec<String>,
    /// As in [`Up`].
    pub(crate) words: bool,
    /// Transitions are told after the outcome too, until the client leaves.
    pub(crate) stay: bool,
}

/// `env`.
#[derive(Debug)]
pub(crate) struct Env {
    /// Its path; empty: services of no project.
    pub(crate) project: Arc<str>,
    /// Its file, just read, or why it can't be: not needed for what runs.
    pub(crate) file: Result<Arc<Project>, Refusal>,
    /// Its name; `None`: what a client of all needs.
    pub(crate) service: Option<String>,
    /// What the caller's shell gives, for what is not up.
    pub(crate) capture: Capture,
}

/// `enable` and `disable`.
#[derive(Debug)]
pub(crate) enum Enable {
    /// These, from now on.
    On {
        /// Its path.
        project: Arc<str>,
        /// Its file, just read.
        file: Arc<Project>,
        /// Names of services and groups; empty: all services that the file enables.
        names: Vec<String>,
    },
    /// These no longer.
    Off {
        /// Its path, whether there is a file or not, or that of a directory below.
        project: Arc<str>,
        /// Names of services and groups; empty: all that are enabled.
        names: Vec<String>,
    },
}

/// `down`.
#[derive(Debug)]
pub(crate) struct Down {
    /// Its path; empty: services of no project; `None`: every project.
    pub(crate) project: Option<Arc<str>>,
    /// Names of services and groups; empty: all.
    pub(crate) names: Vec<String>,
    /// Who asks: its own leases stand in no way.
    pub(crate) session: Option<Arc<str>>,
    /// Those of others don't either.
    pub(crate) force: bool,
}

/// The way to the owner.
#[derive(Clone, Debug)]
pub(crate) struct Port(mpsc::Sender<Command>);

impl Port {
    /// A port, and the end at which the owner listens.
    pub(crate) fn open() -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(64);
        (Self(sender), receiver)
    }

    /// Asks, and waits for the answer. Errors: the agent is stopping.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.map_err(|_| Refusal::stopping())?;
        answer.await.map_err(|_| Refusal::stopping())
    }
}
