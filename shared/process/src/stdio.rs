//! The three standard descriptors of this process.
//!
//! Invariant: 0, 1 and 2 are open before anything else is opened. Otherwise the next socket
//! becomes descriptor 1, and a line printed to "stdout" goes into the protocol.

use std::io;
use std::os::fd::RawFd;

/// Opens `/dev/null` in the place of each of 0, 1 and 2 that is closed.
///
/// To be called first in `main`, while there is one thread. Rust's runtime does the same before
/// `main`; this is for programs that come in by another door, and costs three system calls.
pub fn ensure_open() -> io::Result<()> {
    for fd in 0..=2 {
        if !is_open(fd)? {
            // SAFETY: a C string that lives for ever; the descriptor is meant to stay open.
            let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
            if opened < 0 {
                return Err(io::Error::last_os_error());
            }
            // The lowest free number: all below it are open by now.
            debug_assert_eq!(opened, fd);
        }
    }
    Ok(())
}

fn is_open(fd: RawFd) -> io::Result<bool> {
    // SAFETY: F_GETFD takes a number, open or not, and touches no memory.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EBADF) { Ok(false) } else { Err(error) }
}
