//! Descriptors that come and go with the bytes of a connection (`SCM_RIGHTS`).
//!
//! Invariant: whatever comes is owned at once and closed on exec, so a peer can neither fill our
//! table of descriptors nor plant one in a service; the kernel closes what there is no room for.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// More than so many are not taken at a time, nor kept while their frame is not whole.
pub const AT_ONCE: usize = 4;

/// Reads once and adds what came with the bytes to `came`. 0: the end.
pub fn receive(socket: impl AsFd, bytes: &mut [u8], came: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(bytes)];
    let got = rustix::net::recvmsg(socket, &mut buffers, &mut control, os::CLOSE_ON_EXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            for fd in fds {
                os::close_on_exec(&fd)?;
                // One too many is closed here.
                if came.len() < AT_ONCE {
                    came.push(fd);
                }
            }
        }
    }
    Ok(got.bytes)
}

/// Writes once, and `fd` with the first byte.
pub fn send(socket: impl AsFd, bytes: &[u8], fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let buffers = [IoSlice::new(bytes)];
    Ok(rustix::net::sendmsg(socket, &buffers, &mut control, SendFlags::empty())?)
}

#[cfg(target_os = "linux")]
mod os {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::net::RecvFlags;

    pub(super) const CLOSE_ON_EXEC: RecvFlags = RecvFlags::CMSG_CLOEXEC;

    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(super) fn close_on_exec(_: &OwnedFd) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::io::{FdFlags, fcntl_setfd};
    use rustix::net::RecvFlags;

    pub(super) const CLOSE_ON_EXEC: RecvFlags = RecvFlags::empty();

    /// There is one thread, so nothing is forked in between.
    pub(super) fn close_on_exec(fd: &OwnedFd) -> io::Result<()> {
        Ok(fcntl_setfd(fd, FdFlags::CLOEXEC)?)
    }
}
