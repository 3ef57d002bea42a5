//! A path alone: there are no sockets without one, and who cannot enter the home cannot speak.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;

use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags};

use super::Message;

pub(super) fn without_path() -> io::Result<(UnixDatagram, String)> {
    let why = "a service of another user has no way to a notify socket on this system";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(super) fn name_senders(_: &UnixDatagram) -> io::Result<()> {
    Ok(())
}

/// One message. All descriptors that come with it are closed, which is what a barrier waits for.
pub(super) fn receive(socket: &UnixDatagram, bytes: &mut [u8]) -> io::Result<Message> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(bytes)];
    let got = rustix::net::recvmsg(socket, &mut buffers, &mut control, RecvFlags::DONTWAIT)?;
    control.drain().for_each(drop);
    let truncated = got.flags.contains(ReturnFlags::TRUNC);
    Ok(Message { length: got.bytes.min(bytes.len()), uid: None, truncated })
}
