//! Taking over what the verb prepared: S, L and the ready pipe; or L alone in the foreground.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use hearth_process::ProcessId;
use hearth_process::locked::{LockedFile, TryError};
use rustix::io::FdFlags;

use super::handle::Handle;
use crate::failures::Failures;
use crate::home::Blocked;
use crate::record::{self, Record, Stage};
use crate::spawn::{INHERITED_L, INHERITED_PIPE, INHERITED_S, Word};
use crate::wait::{self, LockWait};
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
    /// The home may not be used.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// `agent.toml` is faulty.
    #[error(transparent)]
    Config(#[from] ConfigError),
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
}

impl Agent {
    /// Becomes the agent of `home`. To be called before any thread or child is made: what was
    /// inherited must not be inherited further.
    ///
    /// A failure has been told to the verb that waits at the pipe when this returns.
    pub fn take(app: &App, home: Home, mode: Mode) -> Result<Self, StartError> {
        match mode {
            Mode::Inherited => {
                let (spawn_lock, lock, pipe) = inherited(&home)?;
                Self::begin(app, home, lock, Some(spawn_lock), Some(pipe))
            }
            Mode::Foreground => {
                home.prepare()?;
                let lock = foreground_lock(&home)?;
                Self::begin(app, home, lock, None, None)
            }
        }
    }

    fn begin(
        app: &App,
        home: Home,
        lock: LockedFile,
        spawn_lock: Option<LockedFile>,
        mut pipe: Option<File>,
    ) -> Result<Self, StartError> {
        let predecessor = Record::read(&home.agent_lock());
        let record = new_record(app, &home);
        let written = record.write(&lock).map_err(|e| Blocked::io("write", &home.agent_lock(), &e));
        let config = written
            .map_err(StartError::from)
            .and_then(|()| AgentConfig::load(home.config()).map_err(StartError::from));
        match config {
            Ok(config) => {
                raise_limits();
                let handle = Handle::new(record.instance.clone());
                Ok(Self {
                    app: app.clone(),
                    home,
                    config,
                    lock,
                    spawn_lock,
                    pipe,
                    record,
                    predecessor,
                    handle,
                })
            }
            Err(error) => {
                give_up(&home, &mut pipe, &error.to_string());
                let _ = Record { stage: Stage::Stopped, ..record }.write(&lock);
                Err(error)
            }
        }
    }

    /// Gives up, and tells the verb that waits why.
    pub fn fail(mut self, reason: &str) {
        give_up(&self.home, &mut self.pipe, reason);
        let _ = Record { stage: Stage::Stopped, ..self.record }.write(&self.lock);
    }

    /// Its settings.
    pub fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// Its home.
    pub fn home(&self) -> &Home {
        &self.home
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

/// Tells the verb that waits, and notes it for those after it: that one may be gone, or have
/// waited for as long as it could. What nobody spawned is nobody's failed start.
fn give_up(home: &Home, pipe: &mut Option<File>, reason: &str) {
    if pipe.is_some() {
        Failures::note(home, reason);
    }
    say(pipe, &Word::Error { reason: reason.to_owned() });
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
    let same =
        |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(theirs)) if same(&ours, &theirs) => {
            LockedFile::try_exclusive(file).map_err(|_| StartError::NotInherited)
        }
        (_, _) => Err(StartError::NotInherited),
    }
}

fn take_descriptor(fd: i32) -> Result<OwnedFd, StartError> {
    // SAFETY: borrowed for one call that fails with EBADF if the descriptor is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC).map_err(|_| StartError::NotInherited)?;
    // SAFETY: it is open, and nothing else in this process owns it: we are its first code.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn foreground_lock(home: &Home) -> Result<LockedFile, StartError> {
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
    wait::any_readable(&[waiting.as_fd()], Instant::now() + FOREGROUND_PATIENCE).map_err(cannot)?;
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
    }
}

/// 64 random bits: never the same for two starts, whatever the clock and the pids do.
fn new_instance() -> String {
    let mut bytes = [0; 8];
    #[cfg(target_os = "linux")]
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    #[cfg(not(target_os = "linux"))]
    // SAFETY: fills exactly the bytes of the buffer.
    unsafe {
        libc::arc4random_buf(bytes.as_mut_ptr().cast(), bytes.len());
    }
    format!("{:016x}", u64::from_ne_bytes(bytes))
}

/// The agent serves many and lives long, and may have been started from a shell with low limits.
/// What a service gets is what its own caller had.
fn raise_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    for resource in [Resource::Nofile, Resource::Fsize, Resource::Cpu, Resource::As, Resource::Data]
    {
        let limit = getrlimit(resource);
        if limit.current != limit.maximum {
            let _ = setrlimit(resource, Rlimit { current: limit.maximum, maximum: limit.maximum });
        }
    }
}
