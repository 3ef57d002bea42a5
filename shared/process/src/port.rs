//! TCP ports of this machine: which are free, and who listens.
//!
//! Invariant: somebody is said to have a port only where a socket listens on it, on loopback or on
//! every address. What is left of a connection that has ended (TIME_WAIT, RFC 9293, 3.5) keeps nobody
//! from listening there again, and a socket on the address of one interface is in nobody's way.
//!
//! Nothing here says that a port will be free in a moment: who wants it may still be second.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

#[cfg(target_os = "linux")]
#[path = "port/linux.rs"]
mod os;
#[cfg(target_os = "macos")]
#[path = "port/macos.rs"]
mod os;

/// Somebody who listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Whose socket it is; `None`: the kernel does not tell (macOS).
    pub uid: Option<u32>,
    /// Inode of the socket; `None`: likewise.
    socket: Option<u64>,
}

impl Listener {
    /// The process that holds it: pid and name. Looks at the descriptors of every process, which may
    /// take milliseconds for each hundred of them. `None`: none that may be looked at does.
    pub fn process(&self) -> Option<(u32, String)> {
        os::holder(self.socket?)
    }
}

/// The ports from which the kernel takes one for a connection of its own choice
/// (`ip_local_port_range` in ip(7); macOS: `sysctl net.inet.ip.portrange`). A service there may find
/// its port taken by anybody's connection.
pub fn ephemeral() -> RangeInclusive<u16> {
    // What IANA has for it (RFC 6335, 6), where the kernel does not tell.
    os::ephemeral().unwrap_or(49152..=65535)
}

/// Whether no socket at all is bound to a port, on loopback or on every address.
pub fn is_free(port: u16) -> bool {
    let v4 = [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED].map(|ip| SocketAddr::from((ip, port)));
    let v6 = [Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED].map(|ip| SocketAddr::from((ip, port)));
    v4.into_iter().chain(v6).all(|address| is_bindable(address, false))
}

/// Who listens on a port, on loopback or on every address. `None`: nobody. Where nobody has the port,
/// it takes a few microseconds.
pub fn listener(port: u16) -> Option<Listener> {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    if is_bindable(v4, true) && is_bindable(v6, true) {
        return None;
    }
    os::listener(port)
}

/// `reuse`: although connections that were there have not quite ended (`SO_REUSEADDR` in socket(7)).
fn is_bindable(address: SocketAddr, reuse: bool) -> bool {
    match bind(address, reuse) {
        Ok(()) => true,
        // No such protocol on this machine: nobody can be there.
        Err(error) => matches!(
            rustix::io::Errno::from_io_error(&error),
            Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL)
        ),
    }
}

fn bind(address: SocketAddr, reuse: bool) -> io::Result<()> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket(family)?;
    sockopt::set_socket_reuseaddr(&socket, reuse)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(rustix::net::bind(&socket, &address)?)
}

#[cfg(target_os = "linux")]
fn socket(family: AddressFamily) -> io::Result<std::os::fd::OwnedFd> {
    Ok(rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// Without a flag for it there is a moment in which a child may inherit the socket.
#[cfg(target_os = "macos")]
fn socket(family: AddressFamily) -> io::Result<std::os::fd::OwnedFd> {
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::empty(), None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok(socket)
}
