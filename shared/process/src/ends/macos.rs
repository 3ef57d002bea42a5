//! `EVFILT_PROC`, by kqueue(2).

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kevent, kqueue};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use crate::{Liveness, OpenError, ProcessId, table};

/// Ends taken in one call.
const AT_ONCE: usize = 256;

#[derive(Debug)]
pub(super) struct Ends {
    queue: OwnedFd,
    held: Mutex<Held>,
}

/// The kernel tells pids.
#[derive(Debug, Default)]
struct Held {
    tokens: HashMap<u32, u64>,
    pids: HashMap<u64, u32>,
}

impl Ends {
    pub(super) fn new() -> io::Result<Self> {
        let queue = kqueue()?;
        fcntl_setfd(&queue, FdFlags::CLOEXEC)?;
        Ok(Self { queue, held: Mutex::default() })
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.queue
    }

    pub(super) fn add(&self, id: &ProcessId, token: u64) -> Result<(), OpenError> {
        if !id.same_world() {
            return Err(OpenError::OtherWorld);
        }
        let mut held = self.held();
        self.change(id.pid, EventFlags::ADD | EventFlags::ONESHOT)?;
        let gone = match id.living() {
            Liveness::Living | Liveness::Unknown => None,
            // NOTE_EXIT is not told of one that had ended before it was asked for.
            Liveness::Ended => Some(OpenError::Gone),
            Liveness::Recycled => Some(OpenError::Recycled),
            Liveness::OtherWorld => Some(OpenError::OtherWorld),
        };
        if let Some(gone) = gone {
            if !held.tokens.contains_key(&id.pid) {
                let _ = self.change(id.pid, EventFlags::DELETE);
            }
            return Err(gone);
        }
        if let Some(before) = held.tokens.insert(id.pid, token) {
            held.pids.remove(&before);
        }
        held.pids.insert(token, id.pid);
        Ok(())
    }

    pub(super) fn remove(&self, token: u64) {
        let mut held = self.held();
        if let Some(pid) = held.pids.remove(&token) {
            held.tokens.remove(&pid);
            // It may have ended already, and then there is nothing to take out.
            let _ = self.change(pid, EventFlags::DELETE);
        }
    }

    fn change(&self, pid: u32, how: EventFlags) -> Result<(), OpenError> {
        let pid = table::checked(pid).ok_or(OpenError::Gone)?;
        let filter = EventFilter::Proc { pid, flags: ProcessEvents::EXIT };
        let change = [Event::new(filter, how, std::ptr::null_mut())];
        let mut none: [Event; 0] = [];
        // SAFETY: the event names a pid, no descriptor that could be closed under it.
        match unsafe { kevent(&self.queue, &change, &mut none[..], Some(Duration::ZERO)) } {
            Ok(_) => Ok(()),
            Err(Errno::SRCH | Errno::NOENT) => Err(OpenError::Gone),
            Err(error) => Err(OpenError::Os(error.into())),
        }
    }

    pub(super) fn drain(&self) -> io::Result<Vec<u64>> {
        let mut ended = Vec::new();
        let mut events: Vec<Event> = Vec::with_capacity(AT_ONCE);
        loop {
            let mut held = self.held();
            let spare = rustix::buffer::spare_capacity(&mut events);
            // SAFETY: nothing is changed, so no descriptor is named.
            match unsafe { kevent(&self.queue, &[], spare, Some(Duration::ZERO)) } {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if events.is_empty() {
                return Ok(ended);
            }
            for event in events.drain(..) {
                let EventFilter::Proc { pid, .. } = event.filter() else { continue };
                let pid = pid.as_raw_nonzero().get().cast_unsigned();
                if let Some(token) = held.tokens.remove(&pid) {
                    held.pids.remove(&token);
                    ended.push(token);
                }
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
