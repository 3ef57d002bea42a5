//! Who is left writing to pipes whose reader has died.
//!
//! Invariant: only those are found to whom an end of those very pipes has come, by inheritance
//! as a rule, and only if nobody reads from them any more. So what a service started and what has
//! left its session, and lost its parent, can still be told from everybody else's processes once
//! the reader of its output is dead, as long as it has not closed that; and what happens to write
//! to the same terminal pipeline or log collector as somebody's child is never taken for it.

#[cfg(target_os = "linux")]
#[path = "output/linux.rs"]
mod os;
#[cfg(target_os = "macos")]
#[path = "output/macos.rs"]
mod os;

use std::io;

use crate::{Liveness, ProcessId};

/// The pipes behind a process's standard output and error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pipes(Vec<String>);

impl Pipes {
    /// Those of a process; none where it has ended, writes somewhere else, or belongs to somebody
    /// whose descriptors may not be seen.
    ///
    /// Linux: `/proc/PID/fd` (proc_pid_fd(5)). macOS: nothing is seen.
    pub fn of(process: &ProcessId) -> Self {
        let found = os::pipes(process.pid);
        // Read first, then verified: what was read is not a successor's.
        if process.living() == Liveness::Living { Self(found) } else { Self::default() }
    }

    /// Everybody who can write to one of them from which nobody can read, as far as the caller may
    /// see; the caller itself not.
    ///
    /// Errors: that of listing the processes.
    pub fn abandoned(&self) -> io::Result<Vec<ProcessId>> {
        if self.0.is_empty() { Ok(Vec::new()) } else { os::abandoned(&self.0) }
    }
}
