//! One row of the kernel's process table, read without allocating.
//!
//! Invariant: a row is read whole or not at all; no field is guessed. All of this crate's
//! knowledge of `/proc` and `libproc` formats stands in the two files below this one.

use std::io;

use rustix::process::Pid;

use crate::StartTime;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;

#[cfg(target_os = "linux")]
pub(crate) use linux::{
    ProcPath, arguments, children, directory, each_pid, entry, executable, has_children_files,
    holds, is_there_for, pids, uid, variable,
};
#[cfg(target_os = "macos")]
pub(crate) use macos::{
    arguments, directory, each_pid, entry, executable, holds, is_there_for, pids, uid, variable,
};

/// What the kernel has about one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub pid: u32,
    pub parent: u32,
    pub pgid: u32,
    pub sid: u32,
    /// Its session has a controlling terminal.
    pub has_terminal: bool,
    /// As in `proc_pid_stat(5)`: R, S, D, T, Z, ...
    pub state: char,
    /// A zombie of which no thread runs any more.
    pub ended: bool,
    pub start: StartTime,
    pub name: Name,
}

/// A command's name. 64 bytes is what a kernel thread's may take (`proc_task_name`); a
/// process's has at most 15, on macOS 31.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    bytes: [u8; 64],
    length: u8,
}

impl Name {
    pub(crate) fn new(name: &[u8]) -> Self {
        let mut bytes = [0; 64];
        let length = name.len().min(bytes.len());
        bytes[..length].copy_from_slice(&name[..length]);
        Self { bytes, length: length as u8 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Whether any process, a zombie included, has this pid. Works where the table hides it.
pub(crate) fn exists(pid: u32) -> io::Result<bool> {
    let Some(pid) = checked(pid) else {
        return Ok(false);
    };
    match rustix::process::test_kill_process(pid) {
        // EPERM: somebody is there who is not ours to signal.
        Ok(()) | Err(rustix::io::Errno::PERM) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The number as the kernel takes it; `None` for 0 and for what no pid can be. 0 and negative
/// numbers mean groups to kill(2), which must never happen by accident.
pub(crate) fn checked(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)
}
