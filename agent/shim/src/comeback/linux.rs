//! A child of our own parent: a child of ours would be listed as the service's tree.

use std::io;

/// Makes a process that hangs where this one hangs. True in that one, which may do only what is
/// async-signal-safe before it executes something.
pub(super) fn fork_away() -> io::Result<bool> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    let none = 0_usize;
    // SAFETY: without a stack and with no address to write to, it is fork(2) with another parent.
    match unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(true),
        _ => Ok(false),
    }
}
