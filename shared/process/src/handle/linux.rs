//! pidfds, by `pidfd_open(2)`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

use super::{OpenError, ProcessHandle};
use crate::Signal;
use crate::table::{self, ProcPath};

/// Close-on-exec is what the kernel always sets on a pidfd.
pub(super) fn open(pid: u32) -> Result<OwnedFd, OpenError> {
    let pid = table::checked(pid).ok_or(OpenError::Gone)?;
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Ok(fd),
        Err(Errno::SRCH) => Err(OpenError::Gone),
        // The number of a thread that leads no process (ENOENT since 6.9): no process has it.
        Err(Errno::INVAL | Errno::NOENT) => Err(OpenError::Gone),
        Err(error) => Err(OpenError::Os(error.into())),
    }
}

pub(super) fn signal(handle: &ProcessHandle, signal: Signal) -> io::Result<()> {
    Ok(pidfd_send_signal(&handle.fd, signal.for_syscall())?)
}

/// The `Pid:` line of the descriptor's fdinfo: -1 once it is reaped, 0 in another pid namespace.
pub(super) fn pid_of(fd: BorrowedFd<'_>) -> Result<u32, OpenError> {
    let path = ProcPath::new(format_args!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path.as_str(), flags, Mode::empty()).map_err(io::Error::from)?;
    let mut buffer = [0; 1024];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer[..]))
        .map_err(io::Error::from)?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    match pid.and_then(|pid| pid.trim().parse::<i64>().ok()) {
        Some(-1) => Err(OpenError::Gone),
        Some(0) => Err(OpenError::OtherWorld),
        Some(pid) => u32::try_from(pid).map_err(|_| OpenError::Gone),
        None => Err(OpenError::Os(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the descriptor is no pidfd",
        ))),
    }
}
