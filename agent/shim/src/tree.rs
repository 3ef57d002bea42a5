//! The service's tree: who is in it, and how it is ended.
//!
//! Invariants: the agent and its shims are never part of it, although a service that runs `hearth`
//! becomes their ancestor, and through the subreaper they become children of this shim; and what
//! is listed is signalled through a verified handle, never by a bare pid. Linux: all that hangs on
//! the shim. macOS: the leader's process group.

use std::io;
use std::path::{Path, PathBuf};

use hearth_process::{ProcessHandle, ProcessId, Signal};

#[cfg(target_os = "linux")]
#[path = "tree/linux.rs"]
mod os;
#[cfg(target_os = "macos")]
#[path = "tree/macos.rs"]
mod os;

pub use os::MUST_LOOK_AGAIN;

/// Passes of one kill. Each finds what was forked in the one before, and what was killed forks no
/// more, so two are enough but for a fork bomb, which goes on in the next round.
const PASSES: usize = 64;

/// How to find the tree.
#[cfg_attr(target_os = "macos", expect(dead_code, reason = "a process group needs no search"))]
pub struct Tree {
    /// The file that the agent holds locked, its record in it.
    agent_lock: PathBuf,
    /// Where the records of all shims are.
    records: PathBuf,
}

impl Tree {
    /// Of the shim with this record in this home.
    pub fn new(home: &Path, record: &Path) -> Self {
        let records = record.parent().unwrap_or(Path::new("/"));
        Self { agent_lock: home.join("agent.lock"), records: records.to_path_buf() }
    }

    /// Where the agent's lock is.
    pub fn agent_lock(&self) -> &Path {
        &self.agent_lock
    }

    /// Who is in it, zombies included that wait for a parent inside the tree. `probes` lead
    /// sessions that are no part of it.
    ///
    /// If it is empty, then nothing is left: children that ended while it was read are zombies of
    /// this shim until it reaps them, and are listed.
    pub fn members(&self, leader: u32, probes: &[u32]) -> io::Result<Vec<ProcessId>> {
        os::members(self, leader, probes)
    }

    /// Sends a signal to all of them once; who has ended meanwhile needs none.
    pub fn signal(&self, leader: u32, probes: &[u32], signal: Signal) -> io::Result<()> {
        for member in self.members(leader, probes)? {
            send(&member, signal);
        }
        Ok(())
    }

    /// SIGKILL to all, again until nobody new is found.
    pub fn kill(&self, leader: u32, probes: &[u32]) -> io::Result<()> {
        kill_all(|| self.members(leader, probes))
    }
}

/// SIGKILL to a probe's leader, to all below it, and to who has lost its parent and still holds the
/// `output` that it was started with, by inode.
pub fn kill_probe(leader: u32, output: Option<u64>) {
    signal_group(leader, Signal::KILL);
    // An unreadable /proc: its group was all that could be reached.
    let _ = kill_all(|| {
        let below = hearth_process::tree::below(leader, &|_| false)?;
        Ok(below.into_iter().map(|member| member.id).collect())
    });
    let _ = kill_all(|| hearth_process::tree::holding(output.as_slice()));
    signal_group(leader, Signal::KILL);
}

/// Sends a signal to the process group of a child that is not reaped yet.
pub fn signal_group(leader: u32, signal: Signal) {
    // SAFETY: numbers only. The pid is that of an unreaped child, so it is nobody else's group.
    unsafe { libc::kill(-(leader as libc::pid_t), signal.as_raw()) };
}

/// Sends a signal to a child that is not reaped yet.
pub fn signal_child(child: u32, signal: Signal) {
    // SAFETY: numbers only. The pid of an unreaped child belongs to nobody else.
    unsafe { libc::kill(child as libc::pid_t, signal.as_raw()) };
}

fn kill_all(list: impl Fn() -> io::Result<Vec<ProcessId>>) -> io::Result<()> {
    let mut killed: Vec<ProcessId> = Vec::new();
    for _ in 0..PASSES {
        let mut found = list()?;
        found.retain(|member| !killed.contains(member));
        if found.is_empty() {
            break;
        }
        for member in found {
            send(&member, Signal::KILL);
            killed.push(member);
        }
    }
    Ok(())
}

/// Through a handle. Refused is who has ended, and who has become another user by a setuid
/// program: nothing can be done about that without rights, and it stays in the tree.
fn send(member: &ProcessId, signal: Signal) {
    if let Ok(handle) = ProcessHandle::open(member) {
        let _ = handle.signal(signal);
    }
}
