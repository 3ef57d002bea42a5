//! From a command to a process: fork, put everything in order, exec.
//!
//! Invariants: the child leads a session of its own and has no descriptor but 0, 1 and 2 (every
//! other one of the shim is close-on-exec); `spawn` returns only when the exec has succeeded or
//! failed, told in the memory that both share until then, or by a pipe that the exec closes. Between fork and exec nothing allocates or locks
//! (`signal-safety(7)`): the shim has one thread, but the rule costs nothing and holds for tests.

use std::ffi::{CStr, c_char};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use hearth_process::child;

use crate::command::Command;
use crate::surroundings::Surroundings;

/// Where between fork and exec it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// No process could be made at all.
    Fork,
    /// Session and standard descriptors.
    Session,
    /// The limit with that index.
    Limit,
    /// Becoming the user.
    User,
    /// Entering the directory.
    Dir,
    /// The exec.
    Exec,
}

/// Why there is no process.
#[derive(Debug)]
pub struct Failure {
    /// At what.
    pub stage: Stage,
    /// Of those that the stage has several of, which.
    pub index: u8,
    /// The kernel's reason.
    pub error: io::Error,
}

/// The child's three standard descriptors.
pub struct Stdio<'a> {
    /// 0.
    pub input: BorrowedFd<'a>,
    /// 1.
    pub output: BorrowedFd<'a>,
    /// 2.
    pub error: BorrowedFd<'a>,
}

/// Starts `command` and gives its pid, which is its process group and session too. `variable` is
/// one more of its environment.
pub fn spawn(
    command: &Command,
    surroundings: &Surroundings,
    stdio: &Stdio<'_>,
    variable: Option<&CStr>,
) -> Result<u32, Failure> {
    let argv: Vec<*const c_char> =
        command.argv.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
    let envp = surroundings.pointers(variable);
    #[cfg(target_os = "linux")]
    if surroundings.user.is_none() {
        return borrowing(command, surroundings, stdio, &argv, &envp);
    }
    let (mut failed, tell) = io::pipe().map_err(Failure::fork)?;
    let blocked = Blocked::all();
    // SAFETY: the shim has one thread, and the child does nothing but async-signal-safe calls.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let Err((stage, index, errno)) = become_it(command, surroundings, stdio, &argv, &envp);
        let [a, b, c, d] = errno.to_ne_bytes();
        let message = [stage as u8, index, a, b, c, d];
        // SAFETY: both are async-signal-safe, and the message is as long as said.
        unsafe {
            libc::write(tell.as_fd().as_raw_fd(), message.as_ptr().cast(), message.len());
            libc::_exit(127);
        }
    }
    drop(blocked);
    drop(tell);
    if pid < 0 {
        return Err(Failure::fork(io::Error::last_os_error()));
    }
    let mut message = [0; 6];
    match failed.read_exact(&mut message) {
        Err(_) => Ok(pid as u32),
        Ok(()) => {
            crate::reap::reap(pid as u32);
            Err(Failure::told(message))
        }
    }
}

/// The same without a copy of our memory. Not where the child becomes another user: the C library
/// would tell that to all threads that it knows of, and in our memory those are ours.
#[cfg(target_os = "linux")]
fn borrowing(
    command: &Command,
    surroundings: &Surroundings,
    stdio: &Stdio<'_>,
    argv: &[*const c_char],
    envp: &[*const c_char],
) -> Result<u32, Failure> {
    let mut failed = None;
    let mut child = || {
        let Err((stage, index, errno)) = become_it(command, surroundings, stdio, argv, envp);
        failed = Some((stage, index, errno));
        127
    };
    // SAFETY: the child does nothing but async-signal-safe calls, and resets handlers before it
    // unblocks.
    let pid = unsafe { hearth_process::borrowed::start(&mut child) }.map_err(Failure::fork)?;
    let Some((stage, index, errno)) = failed else { return Ok(pid) };
    crate::reap::reap(pid);
    Err(Failure { stage, index, error: io::Error::from_raw_os_error(errno) })
}

impl Failure {
    fn fork(error: io::Error) -> Self {
        Self { stage: Stage::Fork, index: 0, error }
    }

    fn told([stage, index, a, b, c, d]: [u8; 6]) -> Self {
        let stages = [Stage::Session, Stage::Limit, Stage::User, Stage::Dir, Stage::Exec];
        let stage = stages.into_iter().find(|known| *known as u8 == stage);
        let errno = i32::from_ne_bytes([a, b, c, d]);
        let error = io::Error::from_raw_os_error(errno);
        Self { stage: stage.unwrap_or(Stage::Exec), index, error }
    }
}

/// In the child. The order: limits while still root, the directory as the user who must enter it,
/// signals last so that none of ours arrives before.
fn become_it(
    command: &Command,
    surroundings: &Surroundings,
    stdio: &Stdio<'_>,
    argv: &[*const c_char],
    envp: &[*const c_char],
) -> Result<std::convert::Infallible, (Stage, u8, i32)> {
    let at = |stage, index| move |errno| (stage, index, errno);
    // SAFETY: system calls with valid pointers: strings ended by NUL, lists ended by null.
    unsafe {
        checked(libc::setsid()).map_err(at(Stage::Session, 0))?;
        for (fd, to) in [(stdio.input, 0), (stdio.output, 1), (stdio.error, 2)] {
            checked(libc::dup2(fd.as_raw_fd(), to)).map_err(at(Stage::Session, 1))?;
        }
        for (index, limit) in surroundings.limits.iter().enumerate() {
            let set = libc::setrlimit(limit.resource as _, &limit.value);
            checked(set).map_err(at(Stage::Limit, index as u8))?;
        }
        if let Some(user) = &surroundings.user {
            let groups = libc::setgroups(user.groups.len() as _, user.groups.as_ptr());
            checked(groups).map_err(at(Stage::User, 0))?;
            checked(libc::setgid(user.gid)).map_err(at(Stage::User, 1))?;
            checked(libc::setuid(user.uid)).map_err(at(Stage::User, 2))?;
        }
        checked(libc::chdir(surroundings.dir_c.as_ptr())).map_err(at(Stage::Dir, 0))?;
        libc::umask(surroundings.umask);
        child::default_signals();
        libc::execve(command.file.as_ptr(), argv.as_ptr(), envp.as_ptr());
    }
    Err((Stage::Exec, 0, errno()))
}

fn checked(result: libc::c_int) -> Result<(), i32> {
    if result < 0 { Err(errno()) } else { Ok(()) }
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// All signals blocked, so that no handler of the shim runs in its child; undone on drop.
pub struct Blocked {
    before: libc::sigset_t,
}

impl Blocked {
    /// Blocks them.
    pub fn all() -> Self {
        // SAFETY: a signal set is plain data, filled before it is used.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &all, &mut before);
            Self { before }
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled by the kernel.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}
