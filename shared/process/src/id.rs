//! Who a process is.
//!
//! Invariant: two [`ProcessId`]s are equal only if they mean one process. The kernel gives a pid
//! out again as soon as its process has been reaped, so the start time belongs to the identity;
//! start times begin anew at each boot and pids in each pid namespace, so these do too.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::{facts, table};

/// When a process was started, in the kernel's own raw unit: comparable, not convertible.
///
/// Linux: clock ticks since boot (`/proc/PID/stat` field 22, see `proc_pid_stat(5)`). macOS:
/// microseconds since the epoch (`proc_bsdinfo`). Raw, because every conversion to wall time goes
/// through a clock that can be set, and would make one process look like two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StartTime(u64);

impl StartTime {
    /// Takes the kernel's number as it is.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The kernel's number, in the unit of the platform.
    pub const fn as_raw(self) -> u64 {
        self.0
    }
}

/// Which boot of the machine. Cloning it allocates nothing.
///
/// Linux: `/proc/sys/kernel/random/boot_id`. macOS: `sysctl kern.bootsessionuuid`. Empty where
/// the system does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(Arc<str>);

impl BootId {
    /// The name of the boot as the kernel writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for BootId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One process, distinguishable from every other one that ever had or will have its pid.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The number, as seen from the pid namespace `pid_ns`.
    pub pid: u32,
    /// When it started. `None`: it lived, but the kernel would not tell (`hidepid`, for example).
    pub start: Option<StartTime>,
    /// The boot in which `pid` and `start` have a meaning.
    pub boot: BootId,
    /// Inode of the pid namespace (`/proc/self/ns/pid`). 0 on macOS, and where /proc is missing.
    pub pid_ns: u64,
}

/// What can be said about a [`ProcessId`] now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It lives: or its pid does, and its start time was never known.
    Living,
    /// It has ended. A zombie, which only waits for its parent to reap it, has ended too.
    Ended,
    /// It has ended, and its pid now belongs to another process.
    Recycled,
    /// It belongs to another boot or pid namespace: its pid means nothing here.
    OtherWorld,
    /// Its pid lives, but the start time cannot be read now. That is not a change: keep what
    /// hangs on it, and signal nothing.
    Unknown,
}

impl ProcessId {
    /// The identity of the process that has `pid` now, a zombie included.
    ///
    /// Errors: `NotFound` if there is none. A process whose start time is hidden from us is no
    /// error; it has a `start` of `None`.
    pub fn of(pid: u32) -> io::Result<Self> {
        let start = match table::entry(pid) {
            Ok(entry) => Some(entry.start),
            Err(error) => {
                if !table::exists(pid)? {
                    return Err(io::Error::new(io::ErrorKind::NotFound, error));
                }
                None
            }
        };
        Ok(Self::with_start(pid, start))
    }

    /// The calling process. Read once and remembered.
    ///
    /// A child that was forked without exec asks the kernel again, since the memory it shares
    /// with its parent names the parent.
    pub fn current() -> Self {
        static CURRENT: OnceLock<ProcessId> = OnceLock::new();
        let pid = std::process::id();
        let fresh = || {
            let start = table::entry(pid).ok().map(|entry| entry.start);
            Self::with_start(pid, start)
        };
        let known = CURRENT.get_or_init(fresh);
        if known.pid == pid { known.clone() } else { fresh() }
    }

    /// Whether it still lives, by what the kernel says at this moment.
    ///
    /// The answer may be old when it arrives; to act on a process, hold a
    /// [`ProcessHandle`](crate::ProcessHandle).
    pub fn living(&self) -> Liveness {
        if !self.same_world() {
            return Liveness::OtherWorld;
        }
        match table::entry(self.pid) {
            Ok(entry) => match self.start {
                Some(start) if start != entry.start => Liveness::Recycled,
                Some(_) | None if entry.ended => Liveness::Ended,
                Some(_) | None => Liveness::Living,
            },
            Err(_) => match table::exists(self.pid) {
                Ok(false) => Liveness::Ended,
                Ok(true) if self.start.is_none() => Liveness::Living,
                Ok(true) | Err(_) => Liveness::Unknown,
            },
        }
    }

    /// Whether boot and pid namespace are ours, so that the pid means something here.
    pub fn same_world(&self) -> bool {
        self.pid_ns == facts::pid_namespace() && self.boot == facts::boot_id()
    }

    pub(crate) fn with_start(pid: u32, start: Option<StartTime>) -> Self {
        Self { pid, start, boot: facts::boot_id(), pid_ns: facts::pid_namespace() }
    }
}
