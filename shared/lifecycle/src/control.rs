//! Ending an agent from outside.
//!
//! "It said that it stops" is not "it has ended": a stop has ended when L is free.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hearth_process::{ProcessHandle, Signal, locked};

use crate::ensure::{Options, call};
use crate::home::Blocked;
use crate::http::Request;
use crate::ready::{Ready, State};
use crate::record::{self, Record, Stage};
use crate::unit::{self, Unit};
use crate::wait::{self, LockWait};
use crate::{AgentConfig, App, CallError, Home, Running, running};

/// How long a manager may take to say whether it runs the agent.
const WORDS: Duration = Duration::from_secs(2);

/// What an agent may take for ending beyond the time that its hooks have.
const SLACK: Duration = Duration::from_secs(5);

/// How an agent is to be stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stop {
    /// How long its end is waited for; `None`: for as long as it says that its hooks may take, and
    /// somewhat longer.
    pub within: Option<Duration>,
    /// Kill one that does not end by then, and wait until the kernel says that it is gone.
    pub force: bool,
}

/// How a stop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// None lived.
    WasDown,
    /// It ended in order.
    Stopped,
    /// It ended, and these did not end in time.
    Hung(Vec<String>),
    /// It did not end by itself, and was killed.
    Killed,
}

/// Why a stop did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The agent could not be told.
    #[error("the agent could not be told: {}", .0.reason.as_deref().unwrap_or(.0.state.as_str()))]
    NotReady(Box<Ready>),
    /// It was told, and had not ended by the deadline.
    #[error(
        "the agent{} has not ended within {} ms",
        record.as_ref().map_or(String::new(), |it| format!(" (pid {})", it.process.pid)),
        after.as_millis()
    )]
    Late {
        /// Its record, where it could be read.
        record: Option<Box<Record>>,
        /// How long it was waited for.
        after: Duration,
    },
    /// It refused, or something else went wrong.
    #[error("{0}")]
    Failed(String),
    /// The home may not be used.
    #[error(transparent)]
    Blocked(#[from] Blocked),
}

impl StopError {
    /// Stable, for programs: the state's word, `shutdown-timeout`, `internal`, `blocked`.
    pub fn code(&self) -> &'static str {
        match self {
            StopError::NotReady(ready) => ready.state.as_str(),
            StopError::Late { .. } => "shutdown-timeout",
            StopError::Failed(_) => "internal",
            StopError::Blocked(_) => "blocked",
        }
    }
}

/// Has the agent stop and waits until L is free. The manager of a unit that runs it is told to end it,
/// and asked nothing more of; where it can't be told, the agent is, which comes to the same.
///
/// With [`Stop::force`], one that has not ended by then is killed through a verified handle.
pub(crate) fn stop(app: &App, home: &Home, how: Stop) -> Result<Ended, StopError> {
    let within = how.within.unwrap_or_else(|| patience(home));
    match stop_in_order(app, home, within) {
        Ok(ended) => Ok(ended),
        Err(StopError::Blocked(blocked)) => Err(StopError::Blocked(blocked)),
        Err(_) if how.force => match kill(home)? {
            // It has ended meanwhile.
            Ended::WasDown => Ok(Ended::Stopped),
            _ => Ok(Ended::Killed),
        },
        Err(StopError::Late { record, .. }) => Err(StopError::Late { record, after: within }),
        Err(error) => Err(error),
    }
}

/// How long the agent that lives may take to end.
pub(crate) fn patience(home: &Home) -> Duration {
    let record = Record::read(&home.agent_lock());
    let says = record.map(|record| record.shutdown_ms).filter(|own| *own > 0);
    says.map_or(AgentConfig::DEFAULT.shutdown_timeout, Duration::from_millis).saturating_add(SLACK)
}

fn stop_in_order(app: &App, home: &Home, timeout: Duration) -> Result<Ended, StopError> {
    let deadline = Instant::now() + timeout;
    let Some(unit) = unit::in_charge(app, home) else {
        return stop_directly(app, home, timeout);
    };
    let record = match running(home)? {
        Running::Living(record) => record,
        Running::Gone(_) | Running::Died(_) => None,
    };
    let left = || deadline.saturating_duration_since(Instant::now());
    if is_its_own(&unit, record.as_ref(), deadline.min(Instant::now() + WORDS)) {
        match unit.stop(deadline) {
            Ok(()) => {
                let ended = wait_until_free(home, record.as_ref(), deadline)?;
                return Ok(if record.is_none() { Ended::WasDown } else { ended });
            }
            Err(_) if left().is_zero() => {
                return Err(StopError::Late { record: record.map(Box::new), after: timeout });
            }
            Err(_) => {}
        }
    }
    stop_directly(app, home, left())
}

/// Whether the manager runs it, or is about to run one; where it does not say, it is told nothing.
fn is_its_own(unit: &Unit, record: Option<&Record>, until: Instant) -> bool {
    let pid = record.map(|record| record.process.pid);
    unit.ask(until).is_ok_and(|answer| answer.standing.has(pid))
}

/// Asks the agent itself to stop and waits until L is free.
pub(crate) fn stop_directly(app: &App, home: &Home, timeout: Duration) -> Result<Ended, StopError> {
    let deadline = Instant::now() + timeout;
    let record = match running(home)? {
        Running::Living(record) => record,
        Running::Gone(_) => return Ok(Ended::WasDown),
        Running::Died(record) => {
            // It died a moment ago, and somebody may be about to bring one back.
            note_that_it_was_to_end(home, record);
            return Ok(Ended::WasDown);
        }
    };
    let options = Options { no_spawn: true, timeout: Some(timeout), ..Options::default() };
    let request = Request::post("/v1/shutdown", b"{}".to_vec()).repeatable();
    let mut record = record;
    match call(app, home, &options, &request) {
        Ok((ready, reply)) if reply.is_success() => {
            // Who was about to start when we looked has said who it is by now; who has ended meanwhile is not
            // to be taken for the next one, which somebody else wants.
            let asked = ready.version.map(|version| version.instance);
            let is_asked = |record: &Record| asked.as_ref() == Some(&record.instance);
            if !record.as_ref().is_some_and(is_asked) {
                record = Record::read(&home.agent_lock());
                if record.as_ref().is_some_and(|record| !is_asked(record)) {
                    return Ok(Ended::Stopped);
                }
            }
        }
        Ok((_, mut reply)) => {
            let words = String::from_utf8_lossy(&reply.bytes().unwrap_or_default()).into_owned();
            return Err(StopError::Failed(format!("the agent answered {}: {words}", reply.status)));
        }
        // It ended, or began to, on its own.
        Err(CallError::NotReady(ready)) if ready.state == State::Down => return Ok(Ended::Stopped),
        Err(CallError::NotReady(ready)) => return Err(StopError::NotReady(ready)),
        // Any agent knows this route: ask the older way, by signal.
        Err(CallError::Version { .. }) => drop(signal(record.as_ref(), Signal::TERM)?),
        Err(error) => return Err(StopError::Failed(error.to_string())),
    }
    wait_until_free(home, record.as_ref(), deadline)
}

/// Kills the agent that holds L, through a verified handle, and waits until L is free.
pub(crate) fn kill(home: &Home) -> Result<Ended, StopError> {
    let Running::Living(record) = running(home)? else { return Ok(Ended::WasDown) };
    let deadline = Instant::now() + SLACK;
    let killed = signal(record.as_ref(), Signal::KILL)?;
    let ended = wait_until_free(home, record.as_ref(), deadline)?;
    // The lock goes first: who asks for the pid after this is to find nobody. Where that takes longer,
    // the kernel is at it.
    let _ = killed.wait_timeout(deadline.saturating_duration_since(Instant::now()));
    if let Some(record) = record {
        note_that_it_was_to_end(home, record);
    }
    Ok(ended)
}

/// Who would bring back an agent that died must know that this one was not to live. Unless the
/// next one has L already, which has its own record.
fn note_that_it_was_to_end(home: &Home, mut killed: Record) {
    let lock = record::open(&home.agent_lock()).ok().map(locked::LockedFile::try_exclusive);
    if let Some(Ok(lock)) = lock
        && Record::read(&home.agent_lock()).is_some_and(|now| now.instance == killed.instance)
    {
        // Where it fails, one is brought back: the worst that can come of it.
        killed.stage = Stage::Stopping;
        let _ = killed.write(&lock);
    }
}

fn signal(record: Option<&Record>, signal: Signal) -> Result<ProcessHandle, StopError> {
    let Some(record) = record else {
        return Err(StopError::Failed("the agent has not said who it is yet: try again".into()));
    };
    let handle = ProcessHandle::open(&record.process).map_err(|e| {
        StopError::Failed(format!("pid {} cannot be signalled: {e}", record.process.pid))
    })?;
    handle.signal(signal).map_err(|e| StopError::Failed(e.to_string()))?;
    Ok(handle)
}

/// Waits until L is free, or the process that `record` names has ended: between the two another
/// verb may have taken L for the next agent, which is not the one to wait for.
fn wait_until_free(
    home: &Home,
    record: Option<&Record>,
    deadline: Instant,
) -> Result<Ended, StopError> {
    let (path, began) = (home.agent_lock(), Instant::now());
    let failed =
        |e: io::Error| StopError::Failed(format!("cannot wait on {}: {e}", path.display()));
    let waiting = record::open(&path).and_then(LockWait::begin).map_err(failed)?;
    let process = record.and_then(|record| ProcessHandle::open(&record.process).ok());
    let mut fds = vec![waiting.as_fd()];
    fds.extend(process.as_ref().map(AsFd::as_fd));
    let ended = wait::any_readable(&fds, deadline).map_err(failed)?;
    if !ended.contains(&true) {
        let after = began.elapsed();
        return Err(StopError::Late { record: Record::read(&path).map(Box::new), after });
    }
    waiting.take().transpose().map_err(failed)?;
    Ok(match Record::read(&path) {
        Some(record) if record.stage == Stage::Stopped && !record.hung.is_empty() => {
            Ended::Hung(record.hung)
        }
        Some(_) | None => Ended::Stopped,
    })
}
