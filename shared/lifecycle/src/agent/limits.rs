//! The agent's own resource limits, and what they were before.
//!
//! Invariant: the agent's own needs are no reason for its children to run with other limits than those
//! they would have had without it.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

// The limit is this process's, and so is what it was: nothing of one app or another.
static OPEN_FILES: OnceLock<Option<u64>> = OnceLock::new();

/// The soft limit of open files that children of the agent are to have where nobody says otherwise:
/// the one that this process was started with, before it raised its own to the hard one; and in a
/// successor the one that the first of the agents was started with. `None`: unlimited.
pub fn open_files() -> Option<u64> {
    *OPEN_FILES.get().unwrap_or(&getrlimit(Resource::Nofile).current)
}

/// The agent serves many and lives long, and may have been started from a shell with low limits.
/// What a service gets is what its own caller had. `open_files`: see [`open_files`].
pub(super) fn raise(open_files: Option<u64>) {
    let _ = OPEN_FILES.set(open_files);
    for resource in [Resource::Nofile, Resource::Fsize, Resource::Cpu, Resource::As, Resource::Data]
    {
        let limit = getrlimit(resource);
        if limit.current != limit.maximum {
            let _ = setrlimit(resource, Rlimit { current: limit.maximum, maximum: limit.maximum });
        }
    }
}
