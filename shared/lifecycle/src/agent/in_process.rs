//! An agent inside of a process that does other things too: started and stopped by a handle, as often as
//! one likes.
//!
//! Kept true here: at most one is started at a time; it touches nothing of the process around it, neither
//! signals nor environment nor limits, so that several may stand in one process.

use std::io;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use super::handle::{Handle, Stages};
use super::{Agent, AgentService, Mode, ServeError, StartError};
use crate::record::Stage;
use crate::{App, Home};

/// Why an agent could not be started, or stopped, by its handle.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// One lives in this home: this one, or another process's.
    #[error("an agent runs in this home already{}", pid.map_or(String::new(), |pid| format!(" (pid {pid})")))]
    AlreadyRunning {
        /// Of who holds the lock, where its record could be read.
        pid: Option<u32>,
        /// The lock.
        path: PathBuf,
    },
    /// It is not started.
    #[error("no agent of this handle runs")]
    NotRunning,
    /// It has stopped, and some of its hooks had not ended in time.
    #[error("these did not end within {} ms: {}", after.as_millis(), hung.join(", "))]
    ShutdownTimeout {
        /// Their names.
        hung: Vec<String>,
        /// The time that they had.
        after: Duration,
    },
    /// The lifetime lock can't be written.
    #[error("cannot write {}: {source}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Anything else that kept it from starting.
    #[error("the agent could not be started: {0}")]
    StartFailed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AgentError {
    /// Stable, for programs: `already-running`, `not-running`, `shutdown-timeout`, `lock`,
    /// `start-failed`.
    pub fn code(&self) -> &'static str {
        match self {
            AgentError::AlreadyRunning { .. } => "already-running",
            AgentError::NotRunning => "not-running",
            AgentError::ShutdownTimeout { .. } => "shutdown-timeout",
            AgentError::Lock { .. } => "lock",
            AgentError::StartFailed(_) => "start-failed",
        }
    }
}

impl From<StartError> for AgentError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::AlreadyRunning { pid, path } => Self::AlreadyRunning { pid, path },
            StartError::Lock { path, source } => Self::Lock { path, source },
            other => Self::StartFailed(other.into()),
        }
    }
}

/// An agent of this process, by its handle. At first it is stopped.
///
/// ```
/// # use std::convert::Infallible;
/// # use hearth_lifecycle::{App, Client, Home, Options, Stage, agent::InProcess};
/// # const NOTES: App = App::new("notes", "1.0.0");
/// # let dir = tempfile::tempdir().unwrap();
/// # let home = Home::resolve(&NOTES, Some(&dir.path().join("home"))).unwrap();
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # use http_body_util::Full;
/// # use hyper::{Request, Response, body::Bytes};
/// let agent = InProcess::new(&NOTES, home.clone());
/// let hello = hyper::service::service_fn(|_: Request<Full<Bytes>>| async {
///     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("\"hello\""))))
/// });
/// # struct Hello;
/// agent.start(|_| {}, hearth_lifecycle::agent::tower(hello)).await?;
/// assert_eq!(agent.stage(), Stage::Running);
/// let said = tokio::task::spawn_blocking(move || {
///     Client::at(&NOTES, home).get::<String>("/hello", &Options::default())
/// });
/// assert_eq!(said.await.unwrap().unwrap(), "hello");
/// agent.stop().await?;
/// # Ok::<(), hearth_lifecycle::agent::AgentError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct InProcess {
    app: App,
    home: Home,
    // Held across a start and a stop, so that there is one at a time.
    current: Mutex<Option<Current>>,
    /// The one that was started last. A std mutex is right: it is held for a look.
    last: std::sync::Mutex<Option<Handle>>,
    stage: watch::Sender<Stage>,
}

#[derive(Debug)]
struct Current {
    handle: Handle,
    budget: Duration,
    /// What hung at its end.
    task: JoinHandle<Result<Vec<String>, ServeError>>,
}

impl InProcess {
    /// One that is not started.
    pub fn new(app: &App, home: Home) -> Self {
        let (app, stage) = (app.clone(), watch::Sender::new(Stage::Stopped));
        Self { app, home, current: Mutex::new(None), last: std::sync::Mutex::new(None), stage }
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map_or(Stage::Stopped, Handle::stage)
    }

    /// Every change of it, the present one first, over starts and stops.
    pub fn stages(&self) -> Stages {
        Stages::of(&self.stage)
    }

    /// Takes the lock, calls `prepare` for what is to be said or hooked before anybody asks, and serves on
    /// the tokio runtime of the caller. Returns when it answers.
    pub async fn start<S: AgentService>(
        &self,
        prepare: impl FnOnce(&mut Agent),
        service: S,
    ) -> Result<Handle, AgentError> {
        let mut current = self.current.lock().await;
        if let Some(known) = &*current
            && known.handle.stage() != Stage::Stopped
        {
            let (pid, path) = (Some(std::process::id()), self.home.agent_lock());
            return Err(AgentError::AlreadyRunning { pid, path });
        }
        let (app, home) = (self.app.clone(), self.home.clone());
        // It waits for a lock that is about to be let go of.
        let taken = spawn_blocking(move || Agent::take(&app, home, Mode::InProcess)).await;
        let mut agent = taken.map_err(|error| AgentError::StartFailed(error.into()))??;
        prepare(&mut agent);
        let (handle, budget) = (agent.handle(), agent.config().shutdown_timeout);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle.clone());
        self.follow(&handle);
        // Whoever has it end, the lock falls with its end: `Stopped` holds it.
        let served = async move { agent.serve(service).await.map(|stopped| stopped.hung) };
        let task = tokio::spawn(served);
        if handle.running().await {
            *current = Some(Current { handle: handle.clone(), budget, task });
            return Ok(handle);
        }
        Err(match task.await {
            Ok(Err(error)) => AgentError::StartFailed(error.into()),
            Ok(Ok(_)) => AgentError::StartFailed("it was told to stop meanwhile".into()),
            Err(error) => AgentError::StartFailed(error.into()),
        })
    }

    /// Stops it, and returns when it has ended and another one may begin.
    ///
    /// Errors: it is not started; or hooks hung, and it has ended all the same.
    pub async fn stop(&self) -> Result<(), AgentError> {
        let mut current = self.current.lock().await;
        let Some(Current { handle, budget, task }) = current.take() else {
            return Err(AgentError::NotRunning);
        };
        if handle.stage() == Stage::Stopped {
            // It was told by somebody else, or had nothing to do.
            let _ = task.await;
            return Err(AgentError::NotRunning);
        }
        handle.stop();
        match task.await {
            Ok(Ok(hung)) if hung.is_empty() => Ok(()),
            Ok(Ok(hung)) => Err(AgentError::ShutdownTimeout { hung, after: budget }),
            // It has ended, and whatever broke in it was told in the log.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    fn follow(&self, handle: &Handle) {
        let (mut stages, stage) = (handle.stages(), self.stage.clone());
        tokio::spawn(async move {
            while let Some(next) = stages.next().await {
                stage.send_replace(next);
                if next == Stage::Stopped {
                    return;
                }
            }
        });
    }
}
