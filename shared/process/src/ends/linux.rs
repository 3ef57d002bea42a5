//! `epoll(7)` over pidfds.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::{OpenError, ProcessHandle, ProcessId};

/// Ends taken in one call.
const AT_ONCE: usize = 256;
/// So many descriptors below the limit (a quarter of it at most) are not taken for pidfds, or who
/// watches many could open no file any more, nor accept a connection.
const SPARED: u64 = 64;

#[derive(Debug)]
pub(super) struct Ends {
    epoll: OwnedFd,
    /// The pidfds by token.
    held: Mutex<HashMap<u64, OwnedFd>>,
}

impl Ends {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, held: Mutex::default() })
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.epoll
    }

    pub(super) fn add(&self, id: &ProcessId, token: u64) -> Result<(), OpenError> {
        let pidfd = OwnedFd::from(ProcessHandle::open(id)?);
        if is_spared(&pidfd) {
            return Err(OpenError::Os(Errno::MFILE.into()));
        }
        let mut held = self.held();
        let data = epoll::EventData::new_u64(token);
        epoll::add(&self.epoll, &pidfd, data, epoll::EventFlags::IN).map_err(io::Error::from)?;
        if let Some(other) = held.insert(token, pidfd) {
            self.let_go(&other);
        }
        Ok(())
    }

    pub(super) fn remove(&self, token: u64) {
        if let Some(pidfd) = self.held().remove(&token) {
            self.let_go(&pidfd);
        }
    }

    /// Closing alone would not do: a child of ours has a copy of it until it executes something, and
    /// until then epoll goes on telling of it (epoll(7), questions and answers).
    fn let_go(&self, pidfd: &OwnedFd) {
        let _ = epoll::delete(&self.epoll, pidfd);
    }

    pub(super) fn drain(&self) -> io::Result<Vec<u64>> {
        let mut ended = Vec::new();
        let mut events = Vec::with_capacity(AT_ONCE);
        loop {
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, Some(&now)) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if events.is_empty() {
                return Ok(ended);
            }
            for event in events.drain(..) {
                let token = event.data.u64();
                self.remove(token);
                ended.push(token);
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, OwnedFd>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kernel gives the lowest number that is free.
fn is_spared(fd: &OwnedFd) -> bool {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return false };
    let number = u64::try_from(fd.as_raw_fd()).unwrap_or(0);
    number >= limit - SPARED.min(limit / 4)
}
