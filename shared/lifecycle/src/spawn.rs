//! Starting the agent: one process, detached from everything of the verb that starts it.
//!
//! The child inherits S, L and the ready pipe, and nothing else: no descriptor of the caller's (a
//! pipe kept open would hang `x=$(hearth up)` for as long as the agent lives), no signal mask, no
//! environment beyond an allow-list. The locks pass with their open file descriptions, so at no
//! moment between the verb and the agent is either of them free.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

pub(crate) use hearth_process::executable;
use hearth_process::locked::LockedFile;
use hearth_process::{ProcessHandle, ProcessId};
use serde::{Deserialize, Serialize};

use crate::exec::{self, Exec};
use crate::home::Blocked;
use crate::{App, Home, wait};

/// Where the agent finds what it inherits, in this order.
#[cfg(feature = "agent")]
pub(crate) const INHERITED_S: i32 = 3;
#[cfg(feature = "agent")]
pub(crate) const INHERITED_L: i32 = 4;
pub(crate) const INHERITED_PIPE: i32 = 5;
/// Who is to replace another agent inherits S and this; L comes from that one.
pub(crate) const HEIR_PIPE: i32 = 4;
/// Behind [`App::spawn_args`], the argument that makes the difference.
pub(crate) const REPLACE: &str = "--replace";

/// How much of the log a failure quotes.
const TAIL_BYTES: u64 = 16 * 1024;
const TAIL_LINES: usize = 12;

/// The one line that the agent writes to the ready pipe.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word {
    /// It answers.
    Ready { instance: String, version: String },
    /// It gave up.
    Error { reason: String },
    /// What it was handed is not this home's any more: somebody has removed the home meanwhile.
    Moved {},
}

impl Word {
    /// It gave up, for this reason.
    #[cfg(feature = "agent")]
    pub(crate) fn error(reason: &str) -> Self {
        Self::Error { reason: reason.to_owned() }
    }
}

/// A child that is becoming the agent.
#[derive(Debug)]
pub(crate) struct Spawned {
    child: Child,
    program: PathBuf,
    pipe: File,
    log: PathBuf,
    log_start: u64,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Became {
    /// The agent, under this instance.
    Ready(String),
    /// Nothing: it died or refused.
    Failed { reason: String, log_tail: Vec<String> },
    /// Not known in time; it lives on.
    Starting(u32),
    /// Nothing, and by nobody's fault: there is another home at its path now. Look again.
    Moved,
}

/// Starts the agent. Both locks are ours no more when this returns. Without L, it is to take the
/// place of the agent that lives.
pub(crate) fn spawn(
    app: &App,
    home: &Home,
    spawn_lock: LockedFile,
    agent_lock: Option<LockedFile>,
) -> Result<Spawned, Blocked> {
    let log_path = home.log();
    let cannot = |e: io::Error| Blocked::io("open", &log_path, &e);
    let mut log = crate::log::append_to(&log_path).map_err(cannot)?;
    let log_start = log.seek(SeekFrom::End(0)).map_err(cannot)?;
    let (reader, writer) =
        wait::pipe().map_err(|e| Blocked::io("make a pipe for", &log_path, &e))?;
    let program = executable();
    let inherited = Inherited { spawn_lock, agent_lock, pipe: writer };
    let child = command(app, home, &program, &log, &inherited)
        .and_then(|mut command| command.spawn())
        .map_err(|e| Blocked::io("execute", &program, &e))?;
    Ok(Spawned { child, program, pipe: File::from(reader), log: log_path, log_start })
}

/// What the child gets.
struct Inherited {
    spawn_lock: LockedFile,
    agent_lock: Option<LockedFile>,
    pipe: OwnedFd,
}

fn command(
    app: &App,
    home: &Home,
    program: &Path,
    log: &File,
    inherited: &Inherited,
) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    let mut arguments: Vec<_> = [app.name].iter().chain(app.spawn_args).copied().collect();
    let (spawn_lock, pipe) = (as_raw(&inherited.spawn_lock), inherited.pipe.as_raw_fd());
    let (kept, pipe) = match &inherited.agent_lock {
        Some(agent_lock) => (vec![spawn_lock, as_raw(agent_lock), pipe], INHERITED_PIPE),
        None => {
            arguments.push(REPLACE);
            (vec![spawn_lock, pipe], HEIR_PIPE)
        }
    };
    let exec = Exec::new(program, &arguments, environment(app, home))?;
    // SAFETY: only async-signal-safe calls, no allocation, between fork and exec.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
            hearth_process::child::default_signals();
            hearth_process::child::keep_only(&kept)?;
            exec.run(pipe)
        });
    }
    Ok(command)
}

fn as_raw(lock: &LockedFile) -> i32 {
    use std::os::fd::AsFd;
    lock.as_fd().as_raw_fd()
}

fn environment(app: &App, home: &Home) -> impl Iterator<Item = (OsString, OsString)> {
    let keeps = |name: &str| is_allowed(name) || app.variables.contains(&name);
    let theirs = env::vars_os().filter(move |(name, _)| name.to_str().is_some_and(keeps));
    let home = home.is_given().then(|| (app.var_name("HOME").into(), home.dir().into()));
    theirs.chain([(app.var_name("NO_AUTOSPAWN").into(), "1".into())]).chain(home)
}

/// Whether a variable of this name is one that an agent may take from the verb that happens to start it:
/// who and where we are, never what that shell was doing.
#[must_use]
pub fn is_allowed(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "PATH",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "RUST_BACKTRACE",
    ];
    NAMES.contains(&name) || name.starts_with("LC_") || name.starts_with("XDG_")
}

impl Spawned {
    /// Waits until the child says that it is ready, or dies, or `deadline` has passed.
    pub(crate) fn wait(&mut self, deadline: Instant) -> io::Result<Became> {
        use std::os::fd::AsFd;
        let mut said = Vec::new();
        loop {
            if !wait::any_readable(&[self.pipe.as_fd()], deadline)?[0] {
                return Ok(Became::Starting(self.child.id()));
            }
            let mut buffer = [0; 4096];
            let got = self.pipe.read(&mut buffer)?;
            said.extend_from_slice(&buffer[..got]);
            if got == 0 || said.ends_with(b"\n") {
                break;
            }
        }
        match serde_json::from_slice(&said) {
            Ok(Word::Ready { instance, .. }) => Ok(Became::Ready(instance)),
            Ok(Word::Error { reason }) => self.reap(deadline, Some(reason)),
            Ok(Word::Moved {}) => self.reap(deadline, None).map(|_| Became::Moved),
            Err(_) => {
                let reason = exec::failure(&said)
                    .map(|error| format!("cannot execute {}: {error}", self.program.display()));
                self.reap(deadline, reason)
            }
        }
    }

    /// Ends the child: it was to replace somebody who is still there, and is of no use any more.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The pipe has ended: so will the child.
    fn reap(&mut self, deadline: Instant, reason: Option<String>) -> io::Result<Became> {
        if let Ok(handle) = ProcessId::of(self.child.id()).map_err(drop).and_then(|id| {
            // It is ours and not reaped, so the pid can't have been recycled.
            ProcessHandle::open(&id).map_err(drop)
        }) {
            handle.wait_timeout(deadline.saturating_duration_since(Instant::now()))?;
        }
        let ended = match self.child.try_wait() {
            Ok(Some(status)) => in_words(status),
            Ok(None) => return Ok(Became::Starting(self.child.id())),
            // ECHILD: our caller ignores SIGCHLD, and then the kernel reaps and tells nobody.
            Err(_) => "ended".into(),
        };
        let reason = reason.unwrap_or_else(|| format!("the agent {ended} before it was ready"));
        Ok(Became::Failed { reason, log_tail: tail(&self.log, self.log_start) })
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// The last lines of the log from `start` on; empty if it cannot be read.
pub(crate) fn tail(log: &Path, start: u64) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let length = fs::metadata(log)?.len();
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(start.max(length.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let lines: Vec<_> = String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec()
}
