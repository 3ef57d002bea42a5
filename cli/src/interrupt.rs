//! Ctrl-C: ends the wait, never the services, and says so; where a verb takes its services down for
//! it (`--attach`, `try`), the next one ends the wait for that.
//!
//! Kept true here: the exit code is 130, at whatever moment it comes. Before a verb waits on its
//! stream the handler itself ends the process; a verb that has something to tell asks to be woken
//! instead, and a second Ctrl-C ends it all the same.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use crate::story::Goal;

/// Exit code of a wait that Ctrl-C has ended: 128 and the number of SIGINT, as shells have it.
pub const EXIT: u8 = 130;

/// What is said of it.
pub const WORDS: &str = "hearth: interrupted; services stay as they are (`hearth down` ends them)";

/// What is said when it comes again while services are being taken down for the first.
const AGAIN: &str =
    "hearth: interrupted; what is being taken down goes on without being waited for";

/// What is said where a command was to be run with them.
const UNRUN: &str = "hearth: interrupted; the command was not run, and what was leased for it goes";

/// Where the handler writes a byte; -1: it ends the process.
static WAKER: AtomicI32 = AtomicI32::new(-1);
static HIT: AtomicBool = AtomicBool::new(false);
/// Services are being taken down for one that came before.
static ENDING: AtomicBool = AtomicBool::new(false);
/// They are for a command that has not been run yet.
static UNRUN_YET: AtomicBool = AtomicBool::new(false);

extern "C" fn on_interrupt(_: libc::c_int) {
    let waker = WAKER.load(Ordering::SeqCst);
    let again = HIT.swap(true, Ordering::SeqCst);
    // SAFETY: write(2) and _exit(2) are async-signal-safe, the buffers are static.
    unsafe {
        if waker < 0 || again {
            let words = words(Goal::Ready);
            libc::write(2, words.as_ptr().cast(), words.len());
            libc::write(2, b"\n".as_ptr().cast(), 1);
            libc::_exit(libc::c_int::from(EXIT));
        }
        libc::write(waker, b"!".as_ptr().cast(), 1);
    }
}

/// From now on Ctrl-C means exit code 130. A caller that ignores it (nohup, `&` in a script) goes on
/// ignoring it.
pub fn install() {
    // SAFETY: both structures are plain data, whole when zeroed; the handler keeps to what
    // signal-safety(7) allows.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_interrupt as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        let mut old: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGINT, &action, &mut old) == 0
            && old.sa_sigaction == libc::SIG_IGN
        {
            libc::sigaction(libc::SIGINT, &old, std::ptr::null_mut());
        }
    }
}

/// From now on Ctrl-C writes a byte to `waker`, which must be open for as long as this process is.
pub fn wake(waker: &OwnedFd) {
    WAKER.store(waker.as_raw_fd(), Ordering::SeqCst);
}

/// From now on it ends this process by itself again.
pub fn unwake() {
    WAKER.store(-1, Ordering::SeqCst);
}

/// From now on it is told that a command was not run.
pub fn of_command() {
    UNRUN_YET.store(true, Ordering::SeqCst);
}

/// From now on Ctrl-C does what it did before [`install`], for the command that takes this process's
/// place. Whether it was typed before: that is to be told by the caller. None is lost in between: one
/// that comes meanwhile ends this process as it would end the command.
pub fn give_back() -> bool {
    // SAFETY: the sets and the structures are plain data, whole when zeroed; the signal is blocked
    // while its action changes, and the mask is put back as it was.
    unsafe {
        let mut only: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut only);
        libc::sigaddset(&mut only, libc::SIGINT);
        libc::pthread_sigmask(libc::SIG_BLOCK, &only, &mut before);
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGINT, std::ptr::null(), &mut action);
        if action.sa_sigaction != libc::SIG_IGN {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
        }
        let hit = hit();
        if !hit {
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        }
        hit
    }
}

/// Whether Ctrl-C was typed.
pub fn hit() -> bool {
    HIT.load(Ordering::SeqCst)
}

/// It was heard, and services are taken down for it: the next one ends that wait too.
pub fn heard() {
    ENDING.store(true, Ordering::SeqCst);
    HIT.store(false, Ordering::SeqCst);
}

/// What is said when it ends a wait.
pub fn words(goal: Goal) -> &'static str {
    match goal {
        _ if ENDING.load(Ordering::SeqCst) => AGAIN,
        _ if UNRUN_YET.load(Ordering::SeqCst) => UNRUN,
        Goal::Ready => WORDS,
        Goal::Down => "hearth: interrupted; what was asked for goes on",
    }
}

/// A pipe, close-on-exec, its writing end never blocking: one that is full wakes all the same.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
    let fd: RawFd = writer.as_raw_fd();
    // SAFETY: the descriptor is open and ours.
    if unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((reader, writer))
}
