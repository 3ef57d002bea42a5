//! Taking the exits of children.
//!
//! Invariant: an exit is seen first and taken after; between the two the pid still belongs to the
//! dead child, so its process group can be signalled without hitting somebody else.

use crate::frames::Usage;

/// How a child ended.
pub struct Ended {
    /// Its exit code, where it exited.
    pub code: Option<i32>,
    /// The signal's number, where one ended it.
    pub signal: Option<i32>,
    /// What it used.
    pub usage: Usage,
}

/// The pid of a child that has ended and was not reaped yet, whichever: a child of ours or an
/// orphan that came to us.
pub fn ended_child() -> Option<u32> {
    loop {
        // SAFETY: plain data, filled by the kernel; zeroed so that "none" reads as pid 0.
        let (result, pid) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            (libc::waitid(libc::P_ALL, 0, &mut info, flags), info.si_pid())
        };
        if result == 0 {
            return u32::try_from(pid).ok().filter(|pid| *pid > 0);
        }
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return None;
        }
    }
}

/// Takes the exit of that child, and waits for it if need be. None: it is not our child.
pub fn reap(pid: u32) -> Option<Ended> {
    let mut status = 0;
    // SAFETY: plain data, filled by the kernel.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both places are valid.
        let reaped = unsafe { libc::wait4(pid as libc::pid_t, &mut status, 0, &mut usage) };
        if reaped > 0 {
            break;
        }
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return None;
        }
    }
    Some(Ended {
        code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
        usage: Usage {
            user_us: micros(usage.ru_utime),
            system_us: micros(usage.ru_stime),
            max_rss: usage.ru_maxrss as u64 * MAX_RSS_UNIT,
        },
    })
}

/// `getrusage(2)`: kilobytes on Linux, bytes on macOS.
const MAX_RSS_UNIT: u64 = if cfg!(target_os = "linux") { 1024 } else { 1 };

fn micros(time: libc::timeval) -> u64 {
    time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64
}
