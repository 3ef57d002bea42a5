//! Credentials with each message, and sockets without a path (`unix(7)`).
//!
//! Not rustix's messages: its credentials can't hold pid 0, which is what the kernel says of a
//! sender in another pid namespace.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;

use super::Message;

/// Descriptors of one message that are taken, to be closed; the kernel closes what is beyond.
const FDS: usize = 4;

/// Under a name that the kernel chooses: one of our own could be taken by anybody before.
pub(super) fn without_path() -> io::Result<(UnixDatagram, String)> {
    let socket = UnixDatagram::unbound()?;
    // SAFETY: an address of the family alone, as long as said, asks for such a name.
    let bound = unsafe {
        let mut address: libc::sockaddr_un = std::mem::zeroed();
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        let length = size_of::<libc::sa_family_t>() as libc::socklen_t;
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length)
    };
    if bound != 0 {
        return Err(io::Error::last_os_error());
    }
    let address = socket.local_addr()?;
    let name = address.as_abstract_name().and_then(|name| std::str::from_utf8(name).ok());
    let name = name.ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((socket, format!("@{name}")))
}

pub(super) fn name_senders(socket: &UnixDatagram) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_passcred(socket, true)?)
}

/// One message. All descriptors that come with it are closed, which is what a barrier waits for.
pub(super) fn receive(socket: &UnixDatagram, bytes: &mut [u8]) -> io::Result<Message> {
    const ROOM: usize = {
        // SAFETY: arithmetic.
        let (credentials, fds) = unsafe {
            let fds = (FDS * size_of::<libc::c_int>()) as u32;
            (libc::CMSG_SPACE(size_of::<libc::ucred>() as u32), libc::CMSG_SPACE(fds))
        };
        (credentials + fds) as usize
    };
    /// Aligned as control messages are.
    #[repr(C, align(8))]
    struct Control([MaybeUninit<u8>; ROOM]);
    let mut control = Control([MaybeUninit::zeroed(); ROOM]);
    let mut buffer = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: zeroes are a value; both buffers live through the call and are as large as said.
    let (received, head) = unsafe {
        let mut head: libc::msghdr = std::mem::zeroed();
        head.msg_iov = &raw mut buffer;
        head.msg_iovlen = 1;
        head.msg_control = control.0.as_mut_ptr().cast();
        head.msg_controllen = ROOM as _;
        let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
        (libc::recvmsg(socket.as_raw_fd(), &raw mut head, flags), head)
    };
    let length = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let mut uid = None;
    // SAFETY: the kernel has filled `head`; each message is read within the length that it names,
    // and each descriptor is ours alone.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const head);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                    uid = Some(data.cast::<libc::ucred>().read_unaligned().uid);
                }
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    let held = (*message).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                    for place in 0..held / size_of::<libc::c_int>() {
                        let fd = data.cast::<libc::c_int>().add(place).read_unaligned();
                        drop(OwnedFd::from_raw_fd(fd));
                    }
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(&raw const head, message);
        }
    }
    // Without credentials, which the kernel always sends here, nobody is listened to.
    let uid = Some(uid.unwrap_or(u32::MAX));
    Ok(Message { length, uid, truncated: head.msg_flags & libc::MSG_TRUNC != 0 })
}
