//! The agent's own resource limits, and what they were before.
//!
//! Invariant: the agent's own needs are no reason for its children to run with other limits than those
//! they would have had without it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The soft limit of open files; `None`: unlimited.
pub(super) fn now() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// The agent serves many and lives long, and may have been started from a shell with low limits.
/// What a child gets is for who starts it to say; see [`super::Handle::open_files`].
pub(super) fn raise() {
    for resource in [Resource::Nofile, Resource::Fsize, Resource::Cpu, Resource::As, Resource::Data]
    {
        let limit = getrlimit(resource);
        if limit.current != limit.maximum {
            let _ = setrlimit(resource, Rlimit { current: limit.maximum, maximum: limit.maximum });
        }
    }
}
