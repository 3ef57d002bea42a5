//! Looking at an agent from outside, and ending it: what `daemon status` and `daemon down` need.
//!
//! "It said that it stops" is not "it has ended": a stop has ended when L is free.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hearth_process::{ProcessHandle, Signal, locked};

use crate::ensure::{CallError, Options, call};
use crate::home::Blocked;
use crate::http::Request;
use crate::ready::{Ready, State};
use crate::record::{self, Record, Stage};
use crate::unit::{self, Unit};
use crate::wait::{self, LockWait};
use crate::{App, Home};

/// How long a manager may take to say whether it runs the agent.
const WORDS: Duration = Duration::from_secs(2);

/// Whether an agent lives in a home, told by L alone, without asking it.
#[derive(Clone, Debug)]
pub enum Presence {
    /// None lives. The record is that of the last one, where there is one.
    None(Option<Record>),
    /// One lives. No record: it has not written it yet.
    Living(Option<Record>),
}

/// Tests L and reads its record.
///
/// Without S: a verb that takes L at this very moment loses a try by it and looks again.
pub fn inspect(home: &Home) -> Result<Presence, Blocked> {
    let path = home.agent_lock();
    let held = locked::is_held(&path).map_err(|e| Blocked::io("test the lock of", &path, &e))?;
    let record = Record::read(&path);
    Ok(if held { Presence::Living(record) } else { Presence::None(record) })
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
}

/// Why a stop did not succeed.
#[derive(Debug)]
pub enum StopError {
    /// The agent could not be told.
    NotReady(Box<Ready>),
    /// It was told, and had not ended by the deadline.
    Late {
        /// Its record, where it could be read.
        record: Option<Box<Record>>,
    },
    /// It refused, or something else went wrong.
    Failed(String),
    /// The home may not be used.
    Blocked(Blocked),
}

/// Has the agent stop and waits until L is free. The manager of a unit that runs it is told to end it,
/// and asked nothing more of; where it can't be told, the agent is, which comes to the same.
pub fn stop(app: &App, home: &Home, timeout: Duration) -> Result<Ended, StopError> {
    let deadline = Instant::now() + timeout;
    let Some(unit) = unit::in_charge(app, home) else {
        return stop_directly(app, home, timeout);
    };
    let record = match inspect(home).map_err(StopError::Blocked)? {
        Presence::Living(record) => record,
        Presence::None(_) => None,
    };
    let left = || deadline.saturating_duration_since(Instant::now());
    if is_its_own(&unit, record.as_ref(), deadline.min(Instant::now() + WORDS)) {
        match unit.stop(deadline) {
            Ok(()) => {
                let ended = wait_until_free(home, record.as_ref(), deadline)?;
                return Ok(if record.is_none() { Ended::WasDown } else { ended });
            }
            Err(_) if left().is_zero() => {
                return Err(StopError::Late { record: record.map(Box::new) });
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
    let record = match inspect(home).map_err(StopError::Blocked)? {
        Presence::Living(record) => record,
        Presence::None(record) => {
            // It died a moment ago, and somebody may be about to bring one back.
            if let Some(record) = record.filter(Record::is_unclean) {
                note_that_it_was_to_end(home, record);
            }
            return Ok(Ended::WasDown);
        }
    };
    let options = Options { no_spawn: true, timeout: Some(timeout), ..Options::default() };
    let request = Request::post("/v1/shutdown", b"{}".to_vec()).repeatable();
    match call(app, home, &options, &request) {
        Ok((_, reply)) if reply.is_success() => {}
        Ok((_, mut reply)) => {
            let words = String::from_utf8_lossy(&reply.bytes().unwrap_or_default()).into_owned();
            return Err(StopError::Failed(format!("the agent answered {}: {words}", reply.status)));
        }
        // It ended, or began to, on its own.
        Err(CallError::NotReady(ready)) if ready.state == State::Down => return Ok(Ended::Stopped),
        Err(CallError::NotReady(ready)) => return Err(StopError::NotReady(ready)),
        // Any agent knows this route: ask the older way, by signal.
        Err(CallError::Version { .. }) => drop(signal(record.as_ref(), Signal::TERM)?),
        Err(CallError::Broken(e)) => return Err(StopError::Failed(e.to_string())),
    }
    wait_until_free(home, record.as_ref(), deadline)
}

/// Kills the agent that holds L, through a verified handle, and waits until L is free.
pub fn kill(home: &Home, timeout: Duration) -> Result<Ended, StopError> {
    let Presence::Living(record) = inspect(home).map_err(StopError::Blocked)? else {
        return Ok(Ended::WasDown);
    };
    let deadline = Instant::now() + timeout;
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
fn note_that_it_was_to_end(home: &Home, killed: Record) {
    let lock = record::open(&home.agent_lock()).ok().map(locked::LockedFile::try_exclusive);
    if let Some(Ok(lock)) = lock
        && Record::read(&home.agent_lock()).is_some_and(|now| now.instance == killed.instance)
    {
        // Where it fails, one is brought back: the worst that can come of it.
        let _ = Record { stage: Stage::Stopping, ..killed }.write(&lock);
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
    let path = home.agent_lock();
    let failed =
        |e: io::Error| StopError::Failed(format!("cannot wait on {}: {e}", path.display()));
    let waiting = record::open(&path).and_then(LockWait::begin).map_err(failed)?;
    let process = record.and_then(|record| ProcessHandle::open(&record.process).ok());
    let mut fds = vec![waiting.as_fd()];
    fds.extend(process.as_ref().map(AsFd::as_fd));
    let ended = wait::any_readable(&fds, deadline).map_err(failed)?;
    if !ended.contains(&true) {
        return Err(StopError::Late { record: Record::read(&path).map(Box::new) });
    }
    waiting.take().transpose().map_err(failed)?;
    Ok(match Record::read(&path) {
        Some(record) if record.stage == Stage::Stopped && !record.hung.is_empty() => {
            Ended::Hung(record.hung)
        }
        Some(_) | None => Ended::Stopped,
    })
}
