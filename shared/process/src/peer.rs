//! Who is at the other end of a Unix socket, by the kernel's word.
//!
//! Invariant: nothing that the client says about itself is used. The credentials are those of
//! the moment of connect(2) or socketpair(2); the pid may have been recycled since, so only
//! [`peer_handle`] gives something to act on.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::{OpenError, ProcessHandle, ProcessId};

/// The process that connected.
#[derive(Debug)]
pub struct Peer {
    /// Its effective user.
    pub uid: u32,
    /// Its pid; `None` where our pid namespace does not show it.
    pub pid: Option<u32>,
    /// A handle that cannot be recycled: Linux 6.5 and newer (`SO_PEERPIDFD`), else `None`.
    /// [`ProcessHandle::from_pidfd`] says whose it is.
    pub pidfd: Option<OwnedFd>,
}

impl Peer {
    /// Who it is.
    ///
    /// With `SO_PEERPIDFD` it is the process that connected, without a doubt; without, the one that has
    /// its pid now, with the race that [`peer_handle`] tells of.
    ///
    /// Errors: `Gone` if it has ended and was reaped, `OtherWorld` if our pid namespace does not show
    /// it.
    pub fn process(&self) -> Result<ProcessId, OpenError> {
        #[cfg(target_os = "linux")]
        if let Some(pidfd) = &self.pidfd {
            return crate::handle::process_of(pidfd.as_fd());
        }
        let pid = self.pid.ok_or(OpenError::OtherWorld)?;
        ProcessId::of(pid).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::Gone,
            _ => OpenError::Os(error),
        })
    }
}

/// All that the kernel tells about the peer of a connected Unix stream.
///
/// Linux: `SO_PEERCRED` and `SO_PEERPIDFD`. macOS: `LOCAL_PEERCRED` and `LOCAL_PEERPID`.
pub fn peer(stream: impl AsFd) -> io::Result<Peer> {
    os::peer(stream.as_fd())
}

/// The effective user of the peer alone, in one system call: what every connection is asked.
pub fn peer_uid(stream: impl AsFd) -> io::Result<u32> {
    os::peer_uid(stream.as_fd())
}

/// A handle on the peer, verified.
///
/// With `SO_PEERPIDFD` it is the process that connected, without a doubt. Without (Linux before
/// 6.5, macOS) it is the one that has its pid now: known race, the peer may have ended and its
/// pid been recycled between its connect and this call.
///
/// Errors: `Gone` if the peer has ended and was reaped, `OtherWorld` if it is in another pid
/// namespace.
pub fn peer_handle(stream: impl AsFd) -> Result<ProcessHandle, OpenError> {
    let peer = peer(stream)?;
    #[cfg(target_os = "linux")]
    if let Some(pidfd) = peer.pidfd {
        return ProcessHandle::from_pidfd(pidfd);
    }
    ProcessHandle::open(&peer.process()?)
}

/// getsockopt(2) for one plain value.
fn option<T>(fd: std::os::fd::BorrowedFd<'_>, level: i32, name: i32) -> io::Result<T>
where
    T: Plain,
{
    use std::os::fd::AsRawFd;
    let mut value = std::mem::MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the buffer is as large as `length` says.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `Plain` promises that all bytes, zeroes as well as the kernel's, are a value.
    Ok(unsafe { value.assume_init() })
}

/// # Safety
/// Every pattern of bytes is a value of the type.
unsafe trait Plain {}
// SAFETY: an integer.
unsafe impl Plain for i32 {}

#[cfg(target_os = "linux")]
mod os {
    use std::io;
    use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

    use super::{Peer, Plain, option};

    // SAFETY: three integers.
    unsafe impl Plain for libc::ucred {}

    /// Not rustix's `socket_peercred`, whose pid cannot be 0, which is what the kernel says of a
    /// peer in another pid namespace.
    fn credentials(fd: BorrowedFd<'_>) -> io::Result<libc::ucred> {
        option(fd, libc::SOL_SOCKET, libc::SO_PEERCRED)
    }

    pub(super) fn peer(fd: BorrowedFd<'_>) -> io::Result<Peer> {
        let credentials = credentials(fd)?;
        // Refused (ENOPROTOOPT, or ESRCH where the peer was reaped): do without.
        let pidfd = option::<i32>(fd, libc::SOL_SOCKET, libc::SO_PEERPIDFD).ok();
        Ok(Peer {
            uid: credentials.uid,
            pid: u32::try_from(credentials.pid).ok().filter(|pid| *pid != 0),
            // SAFETY: the kernel has just made this descriptor for us.
            pidfd: pidfd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
        })
    }

    pub(super) fn peer_uid(fd: BorrowedFd<'_>) -> io::Result<u32> {
        credentials(fd).map(|credentials| credentials.uid)
    }
}

#[cfg(target_os = "macos")]
mod os {
    use std::io;
    use std::os::fd::BorrowedFd;

    use super::{Peer, Plain, option};

    // SAFETY: integers.
    unsafe impl Plain for libc::xucred {}

    pub(super) fn peer(fd: BorrowedFd<'_>) -> io::Result<Peer> {
        let pid = option::<i32>(fd, libc::SOL_LOCAL, libc::LOCAL_PEERPID)?;
        Ok(Peer {
            uid: peer_uid(fd)?,
            pid: u32::try_from(pid).ok().filter(|pid| *pid != 0),
            pidfd: None,
        })
    }

    pub(super) fn peer_uid(fd: BorrowedFd<'_>) -> io::Result<u32> {
        let credentials: libc::xucred = option(fd, libc::SOL_LOCAL, libc::LOCAL_PEERCRED)?;
        Ok(credentials.cr_uid)
    }
}
