//! `sysctl`, and what a bind tells: who listens is told by nothing that needs no privilege.

use std::ffi::CStr;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use rustix::io::Errno;

use super::Listener;

pub(super) fn ephemeral() -> Option<RangeInclusive<u16>> {
    let number = |name| u16::try_from(number(name)?).ok();
    Some(number(c"net.inet.ip.portrange.first")?..=number(c"net.inet.ip.portrange.last")?)
}

fn number(name: &CStr) -> Option<i32> {
    let mut value: i32 = 0;
    let mut length = size_of::<i32>();
    // SAFETY: the buffer is as large as `length` says; nothing is set.
    let result = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            (&raw mut value).cast(),
            &mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    (result == 0 && length == size_of::<i32>()).then_some(value)
}

/// With `SO_REUSEADDR`, a bind fails by what listens alone.
pub(super) fn listener(port: u16) -> Option<Listener> {
    let taken = |address: SocketAddr| {
        let bound = super::bind(address, true);
        bound.is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::ADDRINUSE))
    };
    let addresses = [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ];
    addresses.into_iter().any(taken).then_some(Listener { uid: None, socket: None })
}

pub(super) fn holder(_socket: u64) -> Option<(u32, String)> {
    None
}
