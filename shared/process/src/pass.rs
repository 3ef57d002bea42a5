//! Descriptors that pass from one process to another over a Unix socket (SCM_RIGHTS, unix(7)).
//!
//! Invariant: what is received is closed on exec and owned at once, so that nothing that arrives
//! unasked stays open. Descriptors travel with the first of the bytes that they are sent with, and
//! the kernel never puts those of two sends into one reception: who takes them in the order in
//! which they come can pair them with the messages of a stream.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// So many descriptors go with one send at most.
pub const MOST: usize = 8;

/// Sends `bytes`, and with the first of them `fds`: [`MOST`] at most. Says how many bytes went; the
/// descriptors went with them if that is any.
///
/// Errors: those of sendmsg(2); a peer that is gone is EPIPE, without a signal.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut room);
    let fit = fds.len() <= MOST;
    if !fit || (!fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds))) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    loop {
        #[cfg(not(target_os = "macos"))]
        let flags = SendFlags::NOSIGNAL;
        #[cfg(target_os = "macos")]
        let flags = SendFlags::empty();
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut ancillary, flags) {
            Err(rustix::io::Errno::INTR) => {}
            sent => return sent.map_err(io::Error::from),
        }
    }
}

/// Receives into `bytes` once, and puts what came with them behind `fds`. 0: the end.
///
/// Errors: those of recvmsg(2).
pub fn receive(socket: impl AsFd, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut room);
    #[cfg(not(target_os = "macos"))]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(target_os = "macos")]
    let flags = RecvFlags::empty();
    let received = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, flags) {
            Err(rustix::io::Errno::INTR) => {}
            received => break received?,
        }
    };
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            for fd in passed {
                #[cfg(target_os = "macos")]
                rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
                fds.push(fd);
            }
        }
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptors_come_in_the_order_of_their_messages_and_close_on_exec() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"inside").unwrap();
        assert_eq!(send(&ours, b"one", &[file.as_fd()]).unwrap(), 3);
        assert_eq!(send(&ours, b"two", &[ours.as_fd(), file.as_fd()]).unwrap(), 3);
        assert_eq!(send(&ours, b"bare", &[]).unwrap(), 4);
        let (mut bytes, mut fds) = ([0; 64], Vec::new());
        assert_eq!(receive(&theirs, &mut bytes, &mut fds).unwrap(), 3);
        assert_eq!((&bytes[..3], fds.len()), (&b"one"[..], 1));
        assert!(rustix::io::fcntl_getfd(&fds[0]).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        let mut copy = std::fs::File::from(fds.remove(0));
        let mut text = String::new();
        copy.rewind().unwrap();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside");
        receive(&theirs, &mut bytes, &mut fds).unwrap();
        assert_eq!(fds.len(), 2);
        drop(ours);
        receive(&theirs, &mut bytes, &mut fds).unwrap();
        fds.clear();
        assert_eq!(receive(&theirs, &mut bytes, &mut fds).unwrap(), 0);
    }

    #[test]
    fn too_many_are_refused_and_a_peer_that_is_gone_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let many = vec![ours.as_fd(); MOST + 1];
        assert_eq!(send(&ours, b"x", &many).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        drop(theirs);
        assert_eq!(send(&ours, b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
