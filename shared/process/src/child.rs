//! What is put in order in a child between fork(2) and exec(2).
//!
//! Invariant: everything here is async-signal-safe (`signal-safety(7)`): no allocation, no lock,
//! nothing but system calls. After a fork in a program with threads, the allocator's lock may be
//! held by a thread that the child does not have, and the child would hang for ever.
//!
//! What a child inherits by accident outlives the accident: an ignored SIGINT that a service can
//! never get, or the write end of a pipe whose reader waits for its end of file.

use std::io;
use std::os::fd::RawFd;

/// How many descriptors [`keep_only`] can keep: they are noted on the stack.
pub const KEEP_LIMIT: usize = 64;

/// Sets every signal to its default action and unblocks all of them.
///
/// An exec keeps ignored and blocked signals (`nohup` is made of that), and Rust programs ignore
/// SIGPIPE.
pub fn default_signals() {
    for signal in 1..=LAST_SIGNAL {
        os::set_default(signal);
    }
    // SAFETY: `sigset_t` is plain data, filled by sigemptyset; it lives through both calls.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

#[cfg(target_os = "linux")]
const LAST_SIGNAL: i32 = 64;
#[cfg(target_os = "macos")]
const LAST_SIGNAL: i32 = 31;

/// Makes the given descriptors 3, 4, 5, ... in their order, without close-on-exec, and closes
/// everything else above 2. 0, 1 and 2 stay as they are.
///
/// Not for `std::process::Command::pre_exec`, unless the exec cannot fail: std reports a failed
/// exec through a pipe of its own, which is closed here too.
///
/// Errors: EINVAL for more than [`KEEP_LIMIT`], EBADF for one that is not open, EMFILE. The child
/// should then _exit, as its descriptors are in no known order.
pub fn keep_only(fds: &[RawFd]) -> io::Result<()> {
    if fds.len() > KEEP_LIMIT {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let after = 3 + fds.len() as RawFd;
    // First what is not wanted, so that under a low limit there is room for the copies.
    close_between(fds)?;
    // Then all of them out of the way, since one's place may be taken by another.
    let mut copies = [-1; KEEP_LIMIT];
    for (copy, fd) in copies.iter_mut().zip(fds) {
        // SAFETY: numbers only; a closed one is refused with EBADF.
        *copy = checked(unsafe { libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, after) })?;
    }
    for (place, copy) in (3..after).zip(copies) {
        // SAFETY: numbers only. dup2 leaves close-on-exec off.
        checked(unsafe { libc::dup2(copy, place) })?;
    }
    os::close_from(after, RawFd::MAX)
}

/// Closes all above 2 but `fds`: the gaps between them, found without sorting.
fn close_between(fds: &[RawFd]) -> io::Result<()> {
    let mut first = 3;
    while let Some(kept) = fds.iter().copied().filter(|fd| *fd >= first).min() {
        if first < kept {
            os::close_from(first, kept - 1)?;
        }
        first = kept.saturating_add(1);
    }
    os::close_from(first, RawFd::MAX)
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(target_os = "linux")]
mod os {
    use std::io;
    use std::os::fd::RawFd;

    /// Past libc, which refuses 32 and 33 as its own; but they too are inherited ignored, and
    /// then no thread of the program can be cancelled. KILL and STOP the kernel refuses.
    pub(super) fn set_default(signal: i32) {
        // Zeroes are SIG_DFL, no flags, an empty mask: in every layout that the kernel's
        // `struct sigaction` has, at most 32 bytes.
        let action = [0_u64; 8];
        let old = std::ptr::null_mut::<u64>();
        // SAFETY: the structure lives through the call; 8 is the size of the kernel's mask.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), old, 8_usize) };
    }

    /// `close_range(2)`, Linux 5.9; by hand where the kernel or a sandbox refuses it.
    pub(super) fn close_from(first: RawFd, last: RawFd) -> io::Result<()> {
        // SAFETY: numbers only. The caller has given up what is in the range.
        let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if result == 0 {
            return Ok(());
        }
        close_by_hand(first, last)
    }

    /// Up to the limit. One opened above a limit that was lowered since is missed: known, and
    /// only on kernels before 5.9.
    pub(super) fn close_by_hand(first: RawFd, last: RawFd) -> io::Result<()> {
        // SAFETY: a plain struct that the kernel fills; then numbers only.
        unsafe {
            let mut limit: libc::rlimit = std::mem::zeroed();
            if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
                return Err(io::Error::last_os_error());
            }
            let end = RawFd::try_from(limit.rlim_cur).unwrap_or(1 << 20);
            for fd in first..=last.min(end) {
                libc::close(fd);
            }
        }
        Ok(())
    }
}

#[cfg(target_os = "macos")]
mod os {
    use std::io;
    use std::os::fd::RawFd;

    /// KILL and STOP are refused with EINVAL, which is as good.
    pub(super) fn set_default(signal: i32) {
        // SAFETY: plain data of which zeroes are a value; it lives through the call.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = libc::SIG_DFL;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }

    /// Asks which are open (`PROC_PIDLISTFDS`), since the limit may be "unlimited", and closes
    /// those of the range. Once more while one was closed: the list may not have had room.
    pub(super) fn close_from(first: RawFd, last: RawFd) -> io::Result<()> {
        const ROOM: usize = 512;
        loop {
            // SAFETY: plain integers; the buffer is as large as its size says.
            let (list, count) = unsafe {
                let mut list: [libc::proc_fdinfo; ROOM] = std::mem::zeroed();
                let size = size_of_val(&list) as i32;
                let filled = libc::proc_pidinfo(
                    libc::getpid(),
                    libc::PROC_PIDLISTFDS,
                    0,
                    list.as_mut_ptr().cast(),
                    size,
                );
                if filled <= 0 {
                    return Err(io::Error::last_os_error());
                }
                (list, filled as usize / size_of::<libc::proc_fdinfo>())
            };
            let mut closed = false;
            for open in list.iter().take(count) {
                if (first..=last).contains(&open.proc_fd) {
                    // SAFETY: a number. The caller has given up what is in the range.
                    closed |= unsafe { libc::close(open.proc_fd) } == 0;
                }
            }
            if !closed {
                return Ok(());
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// What happens on kernels without close_range(2).
    #[test]
    fn by_hand_closes_the_same() {
        // SAFETY: numbers only; nobody else uses descriptors of this height here.
        unsafe {
            let low = libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 800);
            let high = libc::fcntl(0, libc::F_DUPFD_CLOEXEC, low + 1);
            assert!(low >= 800 && high > low);
            os::close_by_hand(low + 1, RawFd::MAX).unwrap();
            assert!(libc::fcntl(low, libc::F_GETFD) >= 0);
            assert_eq!(libc::fcntl(high, libc::F_GETFD), -1);
            libc::close(low);
        }
    }

    #[test]
    fn more_than_the_stack_has_room_for_is_refused() {
        let error = keep_only(&[0; KEEP_LIMIT + 1]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
