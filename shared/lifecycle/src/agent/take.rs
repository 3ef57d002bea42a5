//! Taking over what the verb prepared: S, L and the ready pipe; or L alone in the foreground.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearth_process::locked::LockedFile;
use rustix::io::FdFlags;

use super::given::Elsewhere;
use super::handle::Handle;
use super::limits;
use super::manager::Managed;
use super::succeed::{self, Succession};
use crate::failures::Failures;
use crate::health::Checks;
use crate::home::Blocked;
use crate::lifetime::{self, LockError, PublishError};
use crate::record::{Facts, Record, Stage};
use crate::spawn::{HEIR_PIPE, INHERITED_L, INHERITED_PIPE, INHERITED_S, Word};
use crate::{AgentConfig, App, ConfigError, Home};

/// How long an agent in the foreground waits for L: a verb may be testing it.
const FOREGROUND_PATIENCE: Duration = Duration::from_secs(1);

/// How this process became the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A verb spawned it and handed down S, L and the ready pipe.
    Inherited,
    /// A person or a service manager runs it; nothing is inherited.
    Foreground,
    /// It is a part of a process that does other things too, and leaves that process's environment,
    /// descriptors, limits and signals alone. May be taken at any time, and more than once for several
    /// apps or homes.
    InProcess,
    /// A verb spawned it to take the place of the agent that lives, and handed down S and the ready
    /// pipe; L comes from that agent.
    Replacing,
}

/// Why this process could not become the agent.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The locks were not handed down: somebody typed the internal command.
    #[error(
        "this command is for the agent's own use: the locks that a verb hands down are not there"
    )]
    NotInherited,
    /// An agent lives in this home.
    #[error("an agent runs in this home already{}", pid.map_or(String::new(), |pid| format!(" (pid {pid})")))]
    AlreadyRunning {
        /// Its pid, where its record could be read.
        pid: Option<u32>,
        /// Its lifetime lock.
        path: PathBuf,
    },
    /// The lifetime lock can't be written.
    #[error("cannot write {}: {source}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The locks that were handed down are not those of the home that stands there: it was removed meanwhile,
    /// and may have been made anew.
    #[error("{} is not the file that was locked: the home was removed meanwhile", path.display())]
    Moved {
        /// One of them.
        path: PathBuf,
    },
    /// The agent that lives does not hand over.
    #[error("the agent that lives does not hand over: {why}")]
    NotHandedOver {
        /// What it did instead.
        why: String,
    },
    /// The listener that a service manager has given is not this home's.
    #[error(
        "the service manager listens on {}, and this agent's socket is {}",
        given.display(), ours.display()
    )]
    GivenElsewhere {
        /// Where the manager listens.
        given: PathBuf,
        /// Where the home's socket belongs.
        ours: PathBuf,
    },
    /// The home may not be used.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// `agent.toml` is faulty.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl From<LockError> for StartError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held { path, pid } => Self::AlreadyRunning { pid, path },
            LockError::Blocked(blocked) => Self::Blocked(blocked),
            LockError::Record { path, source } => Self::Lock { path, source },
        }
    }
}

impl StartError {
    /// Stable, for programs: `not-inherited`, `already-running`, `lock`, `moved`, `not-handed-over`,
    /// `given-elsewhere`, `blocked`, `bad-config`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotInherited => "not-inherited",
            Self::AlreadyRunning { .. } => "already-running",
            Self::Lock { .. } => "lock",
            Self::Moved { .. } => "moved",
            Self::NotHandedOver { .. } => "not-handed-over",
            Self::GivenElsewhere { .. } => "given-elsewhere",
            Self::Blocked(_) => "blocked",
            Self::Config(_) => "bad-config",
        }
    }

    /// What to do about it; may be empty.
    pub fn remedy(&self, app: &App) -> String {
        match self {
            Self::NotInherited => format!("{} {}", app.name, app.run_args.join(" ")),
            Self::AlreadyRunning { .. } => format!("{} daemon status", app.name),
            Self::Lock { .. } => "make room on that file system, then try again".to_owned(),
            Self::Moved { .. } => "try again".to_owned(),
            Self::NotHandedOver { .. } => format!("{} daemon restart", app.name),
            Self::GivenElsewhere { .. } => {
                format!("`{} install` writes the unit anew, for the home of today", app.name)
            }
            Self::Blocked(blocked) => blocked.remedy.clone(),
            Self::Config(_) => "mend that file, then try again".to_owned(),
        }
    }

    /// The code by which who waits in a manager's queue is refused.
    fn code_in_queue(&self) -> &'static str {
        match self {
            Self::AlreadyRunning { .. } => "already-running",
            Self::NotInherited
            | Self::Lock { .. }
            | Self::Moved { .. }
            | Self::NotHandedOver { .. }
            | Self::GivenElsewhere { .. }
            | Self::Blocked(_)
            | Self::Config(_) => "spawn-failed",
        }
    }
}

/// An agent that holds L and does not answer yet.
#[derive(Debug)]
pub struct Agent {
    pub(super) app: App,
    pub(super) home: Home,
    pub(super) config: AgentConfig,
    pub(super) lock: LockedFile,
    pub(super) spawn_lock: Option<LockedFile>,
    pub(super) pipe: Option<File>,
    pub(super) record: Record,
    pub(super) predecessor: Option<Record>,
    pub(super) handle: Handle,
    pub(super) succession: Option<Succession>,
    /// Whether what the predecessor hands over was asked for.
    pub(super) has_taken_over: bool,
    pub(super) managed: Managed,
    pub(super) mode: Mode,
    pub(super) health: Option<Checks>,
}

/// What there is before anything of the agent's own.
struct Taken {
    lock: LockedFile,
    spawn_lock: Option<LockedFile>,
    pipe: Option<File>,
    succession: Option<Succession>,
    managed: Managed,
}

impl Agent {
    /// Becomes the agent of `home`. To be called before any thread or child is made, but for
    /// [`Mode::InProcess`]: what was inherited must not be inherited further.
    ///
    /// A failure has been told to the verb that waits at the pipe when this returns, or to all that
    /// wait in the queue that a service manager gave. What the manager left in the environment is gone
    /// from it.
    pub fn take(app: &App, mut home: Home, mode: Mode) -> Result<Self, StartError> {
        let managed = Managed::default();
        let taken = match mode {
            Mode::Inherited => {
                let (spawn_lock, lock, pipe) = inherited(&home)?;
                let (spawn_lock, pipe) = (Some(spawn_lock), Some(pipe));
                Taken { lock, spawn_lock, pipe, succession: None, managed }
            }
            Mode::Foreground => {
                let mut managed = Managed::take(app);
                let lock = foreground(app, &home, &mut managed).inspect_err(|error| {
                    managed.refuse(
                        app,
                        error.code_in_queue(),
                        &error.to_string(),
                        &error.remedy(app),
                    )
                })?;
                Taken { lock, spawn_lock: None, pipe: None, succession: None, managed }
            }
            Mode::InProcess => {
                home.prepare()?;
                let lock = lifetime::take(app, &home, FOREGROUND_PATIENCE, || false)?;
                Taken { lock, spawn_lock: None, pipe: None, succession: None, managed }
            }
            Mode::Replacing => {
                // The listener that is lent stands where it stands.
                if let Some(socket) = home.published_socket() {
                    home = home.with_socket(&socket);
                }
                let spawn_lock = inherited_lock(take_descriptor(INHERITED_S)?, &home.spawn_lock())?;
                let mut pipe = Some(File::from(take_descriptor(HEIR_PIPE)?));
                let (succession, lock) = succeed::ask(&home)
                    .inspect_err(|error| say(&mut pipe, &Word::error(&error.to_string())))?;
                let spawn_lock = Some(spawn_lock);
                Taken { lock, spawn_lock, pipe, succession: Some(succession), managed }
            }
        };
        Self::begin(app, home, taken, mode)
    }

    fn begin(app: &App, home: Home, taken: Taken, mode: Mode) -> Result<Self, StartError> {
        let predecessor = Record::read(&home.agent_lock());
        let mut record = Record::new(app, &home);
        record.open_files = limits::now();
        let Taken { lock, spawn_lock, pipe, succession, managed } = taken;
        // What the services of a living agent may open does not change with its version.
        if let (Some(_), Some(before)) = (&succession, &predecessor) {
            record.open_files = before.open_files.or(record.open_files);
        }
        let is_heard = managed.notify.is_heard();
        let handle = Handle::new(record.instance.clone(), is_heard, record.open_files);
        let (known, config) = (app.clone(), app.config.clone());
        let mut agent = Self {
            app: known,
            home,
            config,
            lock,
            spawn_lock,
            pipe,
            record,
            predecessor,
            handle,
            succession,
            has_taken_over: false,
            managed,
            mode,
            health: None,
        };
        // Whose record L has until the predecessor has let go, is not ours to say.
        let written = if agent.succession.is_some() { Ok(()) } else { agent.write_record() };
        let path = agent.home.agent_lock();
        let config = written
            .map_err(|e| StartError::from(Blocked::io("write", &path, &e)))
            .and_then(|()| Ok(app.config.clone().with_file(agent.home.config())?));
        match config {
            Ok(config) => {
                let lock = match mode {
                    // The process is not ours alone, and neither are its limits and descriptors.
                    Mode::InProcess => agent.lock,
                    Mode::Inherited | Mode::Foreground | Mode::Replacing => {
                        limits::raise();
                        agent.lock.let_go_first()
                    }
                };
                let own = u64::try_from(config.shutdown_timeout.as_millis()).unwrap_or(u64::MAX);
                agent.record.shutdown_ms = own;
                Ok(Self { config, lock, ..agent })
            }
            Err(error) => {
                agent.give_up(&error.to_string(), &error.remedy(app));
                Err(error)
            }
        }
    }

    pub(super) fn write_record(&self) -> io::Result<()> {
        self.record.write(&self.lock)
    }

    /// Gives up, and tells who waits why: the verb that started it, through the pipe, or all that wait in
    /// a manager's queue.
    pub fn failed(mut self, reason: &str) {
        self.give_up(reason, "");
    }

    /// Says what the app wants known of it, before it serves; [`Handle::publish`] says it later.
    pub fn publish(&mut self, facts: Facts) -> Result<(), PublishError> {
        facts.check()?;
        self.record.tell(facts);
        let path = self.home.agent_lock();
        // A successor writes its record when it has everything.
        let written = if self.succession.is_some() { Ok(()) } else { self.write_record() };
        Ok(written.map_err(|source| LockError::Record { path, source })?)
    }

    /// Has `GET /v1/health` answered by these checks; without this call, that is the service's to do.
    pub fn serve_health(&mut self, checks: &Checks) {
        self.health = Some(checks.clone());
    }

    /// Tells who waits, and notes it for those after it: that one may be gone, or have
    /// waited for as long as it could. What nobody spawned is nobody's failed start, and where the
    /// predecessor serves on, none has failed.
    fn give_up(&mut self, reason: &str, remedy: &str) {
        let lent = self.succession.is_some();
        if self.pipe.is_some() && !lent {
            Failures::note(&self.home, reason);
        }
        say(&mut self.pipe, &Word::error(reason));
        self.managed.refuse(&self.app, "spawn-failed", reason, remedy);
        if !lent {
            self.record.stage = Stage::Stopped;
            let _ = self.write_record();
        }
        self.handle.0.stage.send_replace(Stage::Stopped);
    }

    /// How it became the agent.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Its settings.
    pub fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// Its home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Whether a service manager runs it: what it writes on stderr is kept by that.
    pub fn is_managed(&self) -> bool {
        self.managed.is_managed
    }

    /// What it wrote into L: who it is.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The agent that held L before and did not say that it had ended: it was killed, or the
    /// machine stopped under it.
    pub fn died_before(&self) -> Option<&Record> {
        self.predecessor.as_ref().filter(|record| record.stage != Stage::Stopped)
    }

    /// The handle by which the rest of the agent speaks to its lifecycle.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

pub(super) fn say(pipe: &mut Option<File>, word: &Word) {
    // The verb may be gone; the agent goes on without it.
    if let Some(mut pipe) = pipe.take()
        && let Ok(mut line) = serde_json::to_vec(word)
    {
        line.push(b'\n');
        let _ = pipe.write_all(&line);
    }
}

/// Checks that 3, 4 and 5 are S, L and a pipe, and makes them close on exec.
fn inherited(home: &Home) -> Result<(LockedFile, LockedFile, File), StartError> {
    let (spawn_lock, lock) = (take_descriptor(INHERITED_S)?, take_descriptor(INHERITED_L)?);
    let pipe = File::from(take_descriptor(INHERITED_PIPE)?);
    let locks = inherited_lock(spawn_lock, &home.spawn_lock())
        .and_then(|spawn_lock| Ok((spawn_lock, inherited_lock(lock, &home.agent_lock())?)));
    match locks {
        Ok((spawn_lock, lock)) => Ok((spawn_lock, lock, pipe)),
        Err(error) => {
            if matches!(error, StartError::Moved { .. }) {
                say(&mut Some(pipe), &Word::Moved {});
            }
            Err(error)
        }
    }
}

/// Errors: it is no lock that was handed down; or it is, and not the one that stands there now.
fn inherited_lock(fd: OwnedFd, path: &Path) -> Result<LockedFile, StartError> {
    let file = File::from(fd);
    let was_one = file.metadata().is_ok_and(|found| found.is_file());
    match (same_file(&file, path), was_one) {
        (true, _) => LockedFile::try_exclusive(file).map_err(|_| StartError::NotInherited),
        (false, true) => Err(StartError::Moved { path: path.to_owned() }),
        (false, false) => Err(StartError::NotInherited),
    }
}

/// Whether an open file is the one at `path`.
pub(super) fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
        (_, _) => false,
    }
}

fn take_descriptor(fd: i32) -> Result<OwnedFd, StartError> {
    // SAFETY: borrowed for one call that fails with EBADF if the descriptor is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC).map_err(|_| StartError::NotInherited)?;
    // SAFETY: it is open, and nothing else in this process owns it: we are its first code.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What was given must be this home's; then L.
fn foreground(app: &App, home: &Home, managed: &mut Managed) -> Result<LockedFile, StartError> {
    home.prepare()?;
    managed
        .given
        .settle(home)
        .map_err(|Elsewhere(given)| StartError::GivenElsewhere { given, ours: home.socket() })?;
    // Where verbs wait in a queue of ours, another one may be about to step down.
    let queued = !managed.given.is_none();
    let path = home.agent_lock();
    let stops = || Record::read(&path).is_some_and(|record| record.stage == Stage::Stopping);
    Ok(lifetime::take(app, home, FOREGROUND_PATIENCE, || queued && stops())?)
}
