//! Serving: publish, say `ready`, accept, watch over the socket, and stop in order.
//!
//! The order of the start is the whole point: the socket answers before the verb hears `ready`, and
//! S is let go only after that, so who waited on S finds an agent that answers.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hyper::header::HeaderValue;
use sd_notify::NotifyState;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use super::accept::{Front, Routes, routes, serve_connection};
use super::guard::{Watches, changed, watch_over};
use super::manager::Ending;
use super::publish::{DYING, Inode, PublishError, publish};
use super::replace::Heir;
use super::service::AgentService;
use super::stop::{Stopped, run_all};
use super::take::say;
use super::{Agent, Mode, idle};
use crate::failures::Failures;
use crate::home::Blocked;
use crate::http::EXECUTABLE;
use crate::ready::{ApiRange, Version};
use crate::record::Stage;
use crate::spawn::Word;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 1024;
/// An agent that has lived for so long has started well.
const STARTED_WELL: Duration = Duration::from_secs(60);
/// What is left in the queue of a stopping agent gets so long to be answered.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why an agent that had L could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody who is no agent of this home listens at its path.
    #[error("another process listens on {}; this agent steps down", path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
    },
    /// The socket could not be published.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// The system refused something that every agent needs.
    #[error("cannot {doing}: {source}")]
    Os {
        /// What.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Why the agent stops.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    Asked,
    Signal(&'static str, Ending),
    Idle,
    HomeGone,
    /// Somebody else listens at our path: a service manager has begun to.
    Foreign,
    Replaced,
}

/// SIGTERM and SIGINT; none where the process is not the agent's alone.
pub(super) type Signals = [Option<Signal>; 2];

type Opened = (UnixListener, Option<Inode>, Watches, Signals);

pub(super) struct Server {
    pub(super) agent: Agent,
    pub(super) front: Arc<Front>,
    pub(super) listener: UnixListener,
    /// The socket that we published; `None`: a service manager's, with which nothing is done.
    pub(super) inode: Option<Inode>,
    pub(super) watches: Watches,
    places: Arc<Semaphore>,
    pub(super) connections: JoinSet<()>,
    /// A successor that is preparing itself; one at a time.
    pub(super) heir: JoinSet<io::Result<Heir>>,
    /// Its connection, by which it is told that nothing comes of it.
    pub(super) lent: Option<OwnedFd>,
}

impl ServeError {
    /// Stable, for programs: `foreign`, `blocked`, `os`.
    pub fn code(&self) -> &'static str {
        match self {
            ServeError::Foreign { .. } => "foreign",
            ServeError::Blocked(_) => "blocked",
            ServeError::Os { .. } => "os",
        }
    }
}

impl Agent {
    /// Serves until it is told to stop, or has nothing to do; then stops in order.
    ///
    /// The service is one of tower's; axum's routers are, and [`super::service_fn`] and [`super::tower`] make
    /// some. Runs on any tokio runtime with I/O and time. The lock is in what it returns.
    pub async fn serve<S: AgentService>(mut self, service: S) -> Result<Stopped, ServeError> {
        if !self.has_taken_over
            && let Err(error) = self.take_over()
        {
            self.failed(&format!("cannot take over: {error}"));
            return Err(ServeError::Os { doing: "take over", source: error });
        }
        match self.open() {
            Ok((listener, inode, watches, signals)) => {
                let front = Arc::new(self.front(routes(service)));
                self.ready();
                let server = Server {
                    agent: self,
                    front,
                    listener,
                    inode,
                    watches,
                    places: Arc::new(Semaphore::new(CONNECTIONS)),
                    connections: JoinSet::new(),
                    heir: JoinSet::new(),
                    lent: None,
                };
                Ok(server.run(signals).await)
            }
            Err(error) => {
                self.failed(&error.to_string());
                Err(error)
            }
        }
    }

    fn open(&mut self) -> Result<Opened, ServeError> {
        let os = |doing| move |source| ServeError::Os { doing, source };
        let signals = match self.mode {
            Mode::InProcess => [None, None],
            Mode::Inherited | Mode::Foreground | Mode::Replacing => [
                Some(signal(SignalKind::terminate()).map_err(os("take SIGTERM"))?),
                Some(signal(SignalKind::interrupt()).map_err(os("take SIGINT"))?),
            ],
        };
        // Subscribe before publishing: nothing can happen to the socket unseen.
        let watches = watch_over(&self.home);
        let (listener, inode) = match (self.managed.given.listener(), self.handed_over()) {
            (Some(given), _) => (given.map_err(os("listen"))?, None),
            (None, Some((listener, inode))) => (listener, Some(inode)),
            (None, None) => publish(&self.home, DYING)
                .map(|(listener, inode)| (listener, Some(inode)))
                .map_err(|error| match error {
                    PublishError::Foreign(path) => ServeError::Foreign { path },
                    PublishError::Blocked(blocked) => ServeError::Blocked(blocked),
                })?,
        };
        let listener = UnixListener::from_std(listener).map_err(os("listen"))?;
        Ok((listener, inode, watches, signals))
    }

    /// The listener of the agent before this one, where it still stands at its path.
    fn handed_over(&self) -> Option<(std::os::unix::net::UnixListener, Inode)> {
        let listener = self.succession.as_ref()?.listener.try_clone().ok()?;
        listener.set_nonblocking(true).ok()?;
        Some((listener, Inode::of(&self.home.socket()).ok()?))
    }

    fn front(&self, service: Routes) -> Front {
        let version = Version {
            name: self.app.name.to_owned(),
            version: self.app.version.to_owned(),
            api: ApiRange { min: self.app.api.0, max: self.app.api.1 },
            instance: self.record.instance.clone(),
            pid: self.record.process.pid,
            started_at: self.record.started_at.clone(),
            executable: None,
        };
        let executable = {
            let name = format!("{}{EXECUTABLE}", self.app.name).parse().ok();
            let path = self.record.executable.as_os_str().as_encoded_bytes();
            name.zip(HeaderValue::from_bytes(path).ok())
        };
        let is_given = !self.managed.given.is_none();
        let (handle, api_header) = (self.handle.clone(), self.app.api_header());
        let health = self.health.clone();
        Front { service, handle, version, executable, api_header, is_given, health }
    }

    /// Says that it is ready: the verb that started it is told, the stage is written, S is let go by
    /// closing. [`Agent::serve`] does it when the socket answers; it is for who serves by other means,
    /// where its verbs would look for it.
    pub fn ready(&mut self) {
        self.set_stage(Stage::Running);
        let word = Word::Ready {
            instance: self.record.instance.clone(),
            version: self.record.version.clone(),
        };
        say(&mut self.pipe, &word);
        self.spawn_lock = None;
        if let Some(succession) = self.succession.take() {
            succession.serving();
        }
        self.tell_ready();
        info!(
            pid = self.record.process.pid,
            version = self.record.version,
            instance = self.record.instance,
            socket = %self.record.socket.display(),
            "ready"
        );
    }

    /// The same word for the service manager; from now on it is told whatever the agent has to say.
    fn tell_ready(&self) {
        let notify = &self.managed.notify;
        if notify.is_heard() {
            tokio::spawn(notify.clone().keep_telling(self.handle.clone()));
        }
    }

    pub(super) fn set_stage(&mut self, stage: Stage) {
        self.record.stage = stage;
        if let Err(error) = self.record.write(&self.lock) {
            warn!(%error, "cannot write the record of the lifetime lock");
        }
        self.handle.0.stage.send_replace(stage);
    }
}

impl Server {
    async fn run(mut self, mut signals: Signals) -> Stopped {
        let cause = self.until_stop(&mut signals).await;
        let ending = match cause {
            Cause::Signal(_, ending) => ending,
            // The manager whose socket it is has an agent for who comes again.
            Cause::Foreign => Ending::Restart,
            Cause::Replaced => Ending::Replaced,
            Cause::Asked | Cause::Idle | Cause::HomeGone => Ending::Ordinary,
        };
        let _ = self.agent.handle.0.ending.set(ending);
        let why = match cause {
            Cause::Asked => "asked to",
            Cause::Signal(name, _) => name,
            Cause::Idle => "nothing to do",
            Cause::HomeGone => "the home is not ours any more",
            Cause::Foreign => "another process listens at our path",
            Cause::Replaced => return self.leave_to_the_other(&mut signals).await,
        };
        if matches!(cause, Cause::HomeGone) {
            // First of all, or the next agent, which waits for no lock of ours, takes us for a
            // stranger at its path.
            self.withdraw();
        }
        info!(?ending, "stopping: {why}");
        let words = format!("stopping: {why}");
        let notify = &self.agent.managed.notify;
        notify.tell(&[NotifyState::Stopping, NotifyState::Status(&words)]);
        self.agent.set_stage(Stage::Stopping);
        self.take_back().await;
        // Who comes to a manager's queue now is the next agent's, where there will be one.
        let accepting = self.inode.is_some() || ending == Ending::Shutdown;
        let hung = self.hooks(&mut signals, accepting).await;
        self.withdraw();
        self.farewell().await;
        self.agent.record.hung.clone_from(&hung);
        self.agent.set_stage(Stage::Stopped);
        info!("stopped");
        Stopped { hung, _lock: self.agent.lock }
    }

    async fn until_stop(&mut self, signals: &mut Signals) -> Cause {
        let handle = self.agent.handle.clone();
        let mut idle = std::pin::pin!(idle::idle_for(&handle, self.agent.config.idle_timeout));
        let [term, int] = signals;
        // Only where there is a failure to forgive: an idle agent has no timer.
        let forgive_at = Instant::now() + STARTED_WELL;
        let mut unforgiven = Failures::read(&self.agent.home.failures()).is_some();
        let mut facts = handle.0.facts.subscribe();
        // What was said before anybody served is not lost.
        facts.mark_changed();
        let heirs = handle.0.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut heirs) = heirs else { return Cause::Asked };
        // What the manager is about, asked by a thread: until it is known this agent serves.
        let mut asked: JoinSet<Ending> = JoinSet::new();
        loop {
            let place = Arc::clone(&self.places);
            tokio::select! {
                stream = accept(&self.listener, place) => self.take_connection(stream).await,
                () = changed(&self.watches) => {
                    if let Some(cause) = self.check_home().await {
                        return cause;
                    }
                }
                () = heard(term) => match (&self.agent.managed.manager, asked.is_empty()) {
                    (Some(manager), true) => {
                        let manager = manager.clone();
                        asked.spawn_blocking(move || manager.ask());
                    }
                    // Nobody to ask; or somebody is in a hurry.
                    (_, _) => return Cause::Signal("SIGTERM", Ending::Ordinary),
                },
                Some(ending) = asked.join_next() => {
                    return Cause::Signal("SIGTERM", ending.unwrap_or_default());
                }
                () = heard(int) => return Cause::Signal("SIGINT", Ending::Ordinary),
                Ok(()) = facts.changed() => {
                    let said = facts.borrow_and_update().clone();
                    if let Some(said) = said {
                        self.agent.record.tell(said);
                        self.agent.set_stage(Stage::Running);
                    }
                }
                () = handle.0.stop.notified() => return Cause::Asked,
                () = idle.as_mut() => return Cause::Idle,
                () = sleep_until(forgive_at), if unforgiven => {
                    unforgiven = false;
                    let _ = std::fs::remove_file(self.agent.home.failures());
                }
                Some(stream) = heirs.recv() => self.lend(stream),
                Some(heir) = self.heir.join_next() => match heir {
                    Ok(Ok(heir)) => {
                        if self.hand_over(heir).await {
                            return Cause::Replaced;
                        }
                    }
                    Ok(Err(error)) => warn!(%error, "an agent that was to replace this one failed"),
                    Err(error) => error!(%error, "cannot hand over"),
                },
                Some(_) = self.connections.join_next() => {}
            }
        }
    }

    async fn take_connection(&mut self, accepted: io::Result<Accepted>) {
        match accepted {
            Ok(Accepted { stream, place }) => {
                let served = serve_connection(Arc::clone(&self.front), stream);
                self.connections.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(error) => {
                // EMFILE, ENFILE, ENOMEM: the queue stays readable and nothing tells when there is
                // room again, so this is the one place where time must pass by itself.
                warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Runs the hooks while new requests get their 503, where we are still who answers. A second
    /// signal forces.
    pub(super) async fn hooks(&mut self, signals: &mut Signals, accepting: bool) -> Vec<String> {
        let handle = self.agent.handle.clone();
        let budget = self.agent.config.shutdown_timeout;
        let mut hooks = std::pin::pin!(run_all(&handle, budget));
        let [term, int] = signals;
        loop {
            let place = Arc::clone(&self.places);
            tokio::select! {
                hung = hooks.as_mut() => return hung,
                stream = accept(&self.listener, place), if accepting => {
                    self.take_connection(stream).await;
                }
                () = heard(term) => return vec!["a second SIGTERM came first".into()],
                () = heard(int) => return vec!["a second SIGINT came first".into()],
                Some(_) = self.connections.join_next() => {}
            }
        }
    }

    /// Closes the listener for new ones, answers who is in its queue, and lets replies run out.
    async fn farewell(&mut self) {
        // Ours alone and not a manager's, so shutting it down takes it from nobody. Linux: connect(2)
        // is refused from here on, and what was queued can still be accepted.
        if cfg!(target_os = "linux") && self.inode.is_some() {
            let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        }
        // A manager's queue is left to the next agent, where there will be one.
        let answered = self.inode.is_some() || self.agent.handle.ending() == Ending::Shutdown;
        while answered && let Some(stream) = take_queued(&self.listener) {
            let front = Arc::clone(&self.front);
            self.connections.spawn(serve_connection(front, stream));
        }
        self.let_replies_run_out().await;
    }

    pub(super) async fn let_replies_run_out(&mut self) {
        self.agent.handle.0.closing.send_replace(true);
        let all = async { while self.connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FAREWELL, all).await;
    }
}

/// Returns when a signal comes; never where it is not ours to hear.
pub(super) async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

struct Accepted {
    stream: tokio::net::UnixStream,
    place: tokio::sync::OwnedSemaphorePermit,
}

/// A place first, then the connection: over the limit, clients wait in the kernel's queue.
async fn accept(listener: &UnixListener, places: Arc<Semaphore>) -> io::Result<Accepted> {
    if places.available_permits() == 0 {
        warn!("{CONNECTIONS} connections are open: further ones wait until one of them ends");
    }
    let place = places.acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok(Accepted { stream, place })
}

/// The next connection that is in the queue already.
pub(super) fn take_queued(listener: &UnixListener) -> Option<tokio::net::UnixStream> {
    let socket = rustix::net::accept(listener).ok()?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).ok()?;
    let stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(true).ok()?;
    tokio::net::UnixStream::from_std(stream).ok()
}
