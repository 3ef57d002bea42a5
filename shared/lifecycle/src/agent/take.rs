//! Taking over what the verb prepared: S, L and the ready pipe; or L alone in the foreground.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use hearth_process::ProcessId;
use hearth_process::locked::{LockedFile, TryError};
use rustix::io::FdFlags;

use super::given::Elsewhere;
use super::handle::Handle;
use super::limits;
use super::manager::Managed;
use super::succeed::{self, Succession};
use crate::failures::Failures;
use crate::home::Blocked;
use crate::record::{self, Record, Stage};
use crate::spawn::{HEIR_PIPE, INHERITED_L, INHERITED_PIPE, INHERITED_S, Word};
use crate::wait::{self, LockWait};
use crate::{AgentConfig, App, ConfigError, Home};

/// How long an agent in the foreground waits for L: a verb may be testing it.
const FOREGROUND_PATIENCE: Duration = Duration::from_secs(1);
/// How long it waits for one that is stopping, where verbs wait in a queue meanwhile.
const QUEUED_PATIENCE: Duration = Duration::from_secs(6);

/// How this process became the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A verb spawned it and handed down S, L and the ready pipe.
    Inherited,
    /// A person or a service manager runs it; nothing is inherited.
    Foreground,
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

impl StartError {
    /// What to do about it; may be empty.
    pub fn remedy(&self, app: &App) -> String {
        match self {
            Self::NotInherited => format!("{} {}", app.name, app.run_args.join(" ")),
            Self::AlreadyRunning { .. } => format!("{} daemon status", app.name),
            Self::NotHandedOver { .. } => format!("{} daemon restart", app.name),
            Self::GivenElsewhere { .. } => {
                format!("`{} install` writes the unit anew, for the home of today", app.name)
            }
            Self::Blocked(blocked) => blocked.remedy.clone(),
            Self::Config(_) => "mend that file, then try again".to_owned(),
        }
    }

    /// The code by which who waits in a manager's queue is refused.
    fn code(&self) -> &'static str {
        match self {
            Self::AlreadyRunning { .. } => "already-running",
            Self::NotInherited
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
    pub(super) managed: Managed,
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
    /// Becomes the agent of `home`. To be called before any thread or child is made: what was
    /// inherited must not be inherited further.
    ///
    /// A failure has been told to the verb that waits at the pipe when this returns, or to all that
    /// wait in the queue that a service manager gave. What the manager left in the environment is gone
    /// from it.
    pub fn take(app: &App, home: Home, mode: Mode) -> Result<Self, StartError> {
        let managed = Managed::default();
        let taken = match mode {
            Mode::Inherited => {
                let (spawn_lock, lock, pipe) = inherited(&home)?;
                let (spawn_lock, pipe) = (Some(spawn_lock), Some(pipe));
                Taken { lock, spawn_lock, pipe, succession: None, managed }
            }
            Mode::Foreground => {
                let mut managed = Managed::take(app);
                let lock = foreground(&home, &mut managed).inspect_err(|error| {
                    managed.refuse(app, error.code(), &error.to_string(), &error.remedy(app))
                })?;
                Taken { lock, spawn_lock: None, pipe: None, succession: None, managed }
            }
            Mode::Replacing => {
                let spawn_lock = inherited_lock(INHERITED_S, &home.spawn_lock())?;
                let mut pipe = Some(File::from(take_descriptor(HEIR_PIPE)?));
                let (succession, lock) = succeed::ask(&home)
                    .inspect_err(|error| say(&mut pipe, &Word::error(&error.to_string())))?;
                let spawn_lock = Some(spawn_lock);
                Taken { lock, spawn_lock, pipe, succession: Some(succession), managed }
            }
        };
        Self::begin(app, home, taken)
    }

    fn begin(app: &App, home: Home, taken: Taken) -> Result<Self, StartError> {
        let predecessor = Record::read(&home.agent_lock());
        let mut record = new_record(app, &home);
        let Taken { lock, spawn_lock, pipe, succession, managed } = taken;
        let handle = Handle::new(record.instance.clone(), managed.notify.is_heard());
        // What the services of a living agent may open does not change with its version.
        if let (Some(_), Some(before)) = (&succession, &predecessor) {
            record.open_files = before.open_files.or(record.open_files);
        }
        let (known, config) = (app.clone(), AgentConfig::default());
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
            managed,
        };
        // Whose record L has until the predecessor has let go, is not ours to say.
        let written = if agent.succession.is_some() { Ok(()) } else { agent.write_record() };
        let path = agent.home.agent_lock();
        let config = written
            .map_err(|e| StartError::from(Blocked::io("write", &path, &e)))
            .and_then(|()| AgentConfig::load(agent.home.config()).map_err(StartError::from));
        match config {
            Ok(config) => {
                limits::raise(agent.record.open_files);
                let lock = agent.lock.let_go_first();
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

    /// Gives up, and tells who waits why.
    pub fn fail(mut self, reason: &str) {
        self.give_up(reason, "");
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
        self.predecessor.as_ref().filter(|record| record.is_unclean())
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
    let spawn_lock = inherited_lock(INHERITED_S, &home.spawn_lock())?;
    let lock = inherited_lock(INHERITED_L, &home.agent_lock())?;
    let pipe = File::from(take_descriptor(INHERITED_PIPE)?);
    Ok((spawn_lock, lock, pipe))
}

fn inherited_lock(fd: i32, path: &Path) -> Result<LockedFile, StartError> {
    let file = File::from(take_descriptor(fd)?);
    if !same_file(&file, path) {
        return Err(StartError::NotInherited);
    }
    LockedFile::try_exclusive(file).map_err(|_| StartError::NotInherited)
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
fn foreground(home: &Home, managed: &mut Managed) -> Result<LockedFile, StartError> {
    home.prepare()?;
    managed
        .given
        .settle(home)
        .map_err(|Elsewhere(given)| StartError::GivenElsewhere { given, ours: home.socket() })?;
    foreground_lock(home, !managed.given.is_none())
}

/// `queued`: verbs wait in a queue of ours, and another one may be about to step down.
fn foreground_lock(home: &Home, queued: bool) -> Result<LockedFile, StartError> {
    let path = home.agent_lock();
    let open = || record::open(&path).map_err(|e| Blocked::io("open", &path, &e));
    let file = match LockedFile::try_exclusive(open()?) {
        Ok(lock) => return Ok(lock),
        Err((file, TryError::Held)) => file,
        Err((_, TryError::Unsupported(e))) => {
            return Err(crate::ensure::locks::no_flock(home, &e).into());
        }
        Err((_, TryError::Os(e))) => {
            return Err(Blocked::io("lock", &path, &e).into());
        }
    };
    let cannot = |e: io::Error| Blocked::io("wait for", &path, &e);
    let waiting = LockWait::begin(file).map_err(cannot)?;
    let began = Instant::now();
    wait::any_readable(&[waiting.as_fd()], began + FOREGROUND_PATIENCE).map_err(cannot)?;
    let stops = || Record::read(&path).is_some_and(|record| record.stage == Stage::Stopping);
    if queued && stops() {
        wait::any_readable(&[waiting.as_fd()], began + QUEUED_PATIENCE).map_err(cannot)?;
    }
    match waiting.take() {
        Some(lock) => Ok(lock.map_err(cannot)?),
        None => Err(StartError::AlreadyRunning {
            pid: Record::read(&path).map(|record| record.process.pid),
        }),
    }
}

fn new_record(app: &App, home: &Home) -> Record {
    Record {
        process: ProcessId::current(),
        mount_ns: hearth_process::facts::mount_namespace(),
        hostname: hearth_process::facts::hostname(),
        instance: new_instance(),
        version: app.version.to_owned(),
        executable: env::current_exe().unwrap_or_default(),
        socket: home.socket(),
        stage: Stage::Starting,
        started_at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        hung: Vec::new(),
        open_files: limits::open_files(),
    }
}

/// 64 random bits: never the same for two starts, whatever the clock and the pids do.
fn new_instance() -> String {
    let mut bytes = [0; 8];
    crate::random(&mut bytes);
    format!("{:016x}", u64::from_ne_bytes(bytes))
}
