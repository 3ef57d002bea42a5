//! Two forks: the first child ends at once, and its child goes to launchd.

use std::io;

/// Makes a process that hangs where this one hangs. True in that one, which may do only what is
/// async-signal-safe before it executes something.
pub(super) fn fork_away() -> io::Result<bool> {
    // SAFETY: there is one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: as above; the first child ends without running what belongs to the shim.
        0 => unsafe {
            match libc::fork() {
                0 => Ok(true),
                _ => libc::_exit(0),
            }
        },
        first => {
            crate::reap::reap(first as u32);
            Ok(false)
        }
    }
}
