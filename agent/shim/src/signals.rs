//! Signals to the shim itself, as bytes in a pipe that the loop polls.
//!
//! Invariant: nothing but SIGKILL ends a shim before its service has ended, since that would lose
//! the exit code and the output. A self-pipe and not a signalfd: the same code on every platform,
//! and no signal is blocked that a service could inherit blocked.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// The handler's end of the pipe; never closed.
static HANDLER: AtomicI32 = AtomicI32::new(-1);

/// What would end a shim, or stop it, and is of no concern to it.
const IGNORED: [libc::c_int; 10] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGPIPE,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGXFSZ,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// The receiving end.
pub struct Signals {
    pipe: File,
}

/// What has come since the last look.
#[derive(Debug, Default)]
pub struct Came {
    /// SIGCHLD: a child may have ended.
    pub child: bool,
    /// SIGTERM: stop the service.
    pub term: bool,
}

impl Signals {
    /// Sets all dispositions. Once a process.
    pub fn install() -> io::Result<Self> {
        let (read, write) = io::pipe()?;
        rustix::io::ioctl_fionbio(&read, true)?;
        rustix::io::ioctl_fionbio(&write, true)?;
        HANDLER.store(write.into_raw_fd(), Ordering::Relaxed);
        for signal in IGNORED {
            set(signal, libc::SIG_IGN)?;
        }
        for signal in [libc::SIGCHLD, libc::SIGTERM] {
            set(signal, note as extern "C" fn(libc::c_int) as libc::sighandler_t)?;
        }
        Ok(Self { pipe: File::from(OwnedFd::from(read)) })
    }

    /// Takes out what has come.
    pub fn take(&mut self) -> Came {
        let mut came = Came::default();
        let mut bytes = [0; 64];
        // Err is WouldBlock (or EINTR, after which the pipe is still readable).
        while let Ok(count @ 1..) = self.pipe.read(&mut bytes) {
            for byte in &bytes[..count] {
                match libc::c_int::from(*byte) {
                    libc::SIGCHLD => came.child = true,
                    _ => came.term = true,
                }
            }
        }
        came
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// The handler. A full pipe is no loss: it holds unread bytes of the same signals.
extern "C" fn note(signal: libc::c_int) {
    let byte = signal as u8;
    // SAFETY: write(2) and errno's place are async-signal-safe, the buffer is one byte, and the
    // interrupted code finds its errno as it was.
    unsafe {
        let errno = errno_place();
        let before = *errno;
        libc::write(HANDLER.load(Ordering::Relaxed), (&raw const byte).cast(), 1);
        *errno = before;
    }
}

fn errno_place() -> *mut libc::c_int {
    // SAFETY: both only give the address of the thread's errno.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::__errno_location()
    }
    #[cfg(not(target_os = "linux"))]
    unsafe {
        libc::__error()
    }
}

fn set(signal: libc::c_int, action: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: a zeroed sigaction is a valid one, with an empty mask.
    let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
    new.sa_sigaction = action;
    new.sa_flags = libc::SA_RESTART | libc::SA_NOCLDSTOP;
    // SAFETY: `new` is valid; the handler does only what is async-signal-safe.
    match unsafe { libc::sigaction(signal, &new, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
