//! `EVFILT_PROC`, by kqueue(2).

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kevent, kqueue};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use super::{OpenError, ProcessHandle};
use crate::{Liveness, Signal, table};

/// A kqueue that is readable once the process has ended.
pub(super) fn open(pid: u32) -> Result<OwnedFd, OpenError> {
    let pid = table::checked(pid).ok_or(OpenError::Gone)?;
    let queue = kqueue().map_err(io::Error::from)?;
    fcntl_setfd(&queue, FdFlags::CLOEXEC).map_err(io::Error::from)?;
    let filter = EventFilter::Proc { pid, flags: ProcessEvents::EXIT };
    let change = [Event::new(filter, EventFlags::ADD, std::ptr::null_mut())];
    let mut none: [Event; 0] = [];
    // SAFETY: the event names a pid, no descriptor that could be closed under it.
    match unsafe { kevent(&queue, &change, &mut none[..], Some(Duration::ZERO)) } {
        Ok(_) => Ok(queue),
        Err(Errno::SRCH) => Err(OpenError::Gone),
        Err(error) => Err(OpenError::Os(error.into())),
    }
}

pub(super) fn signal(handle: &ProcessHandle, signal: Signal) -> io::Result<()> {
    let pid = match handle.id.living() {
        Liveness::Living | Liveness::Ended => table::checked(handle.id.pid),
        Liveness::Recycled | Liveness::OtherWorld | Liveness::Unknown => None,
    };
    let pid = pid.ok_or(Errno::SRCH)?;
    Ok(rustix::process::kill_process(pid, signal.for_syscall())?)
}
