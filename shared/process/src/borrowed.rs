//! Children that run in our memory until they execute a program (Linux).
//!
//! fork(2) copies the tables of all our memory, and both sides then copy every page that they write:
//! for a program that the child throws away at once. Here the child borrows the memory, on a stack
//! of its own, and we stand still until it has given it back by an exec or its end
//! (`CLONE_VM | CLONE_VFORK`, as in posix_spawn(3)).
//!
//! Invariants: no signal reaches the child while it runs in our memory, or a handler of ours would run
//! in it; all are blocked when it begins, and it is for the program that it executes, or for the child
//! at its last moment, to let them in. And the child does what is async-signal-safe, nothing else.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// What a child does before its exec takes little.
const STACK: usize = 64 << 10;

/// Starts a process that does `child` in our memory, and returns its pid when it has executed a
/// program or ended; what `child` returns is its exit code. The caller reaps it.
///
/// Errors: no room for another process.
///
/// # Safety
///
/// `child` does nothing but what is async-signal-safe (`signal-safety(7)`), and lets signals in only
/// after their handlers are gone.
pub unsafe fn start(child: &mut dyn FnMut() -> c_int) -> io::Result<u32> {
    // SAFETY: as the caller says.
    unsafe { begin(child, 0) }
}

/// `more`: flags of clone(2).
unsafe fn begin(child: &mut dyn FnMut() -> c_int, more: c_int) -> io::Result<u32> {
    extern "C" fn enter(child: *mut c_void) -> c_int {
        // SAFETY: it is the reference below, which lives until the child has ended.
        let child = unsafe { &mut *child.cast::<&mut dyn FnMut() -> c_int>() };
        child()
    }
    let mut child = child;
    // SAFETY: new memory that nobody else knows of; given back when the child has left it.
    unsafe {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        let stack = mmap_anonymous(std::ptr::null_mut(), STACK, protection, flags)?;
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD | more;
        let pid = libc::clone(enter, stack.byte_add(STACK), flags, (&raw mut child).cast());
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        // The child has another memory by now, or is gone.
        let _ = munmap(stack, STACK);
        if pid < 0 { Err(error) } else { Ok(pid.cast_unsigned()) }
    }
}

/// Starts a program that is nobody's child: in `/`, leader of a session of its own, with these as 0, 1
/// and 2, our environment, and all signals blocked. By two children, of which the first ends as soon
/// as there is the second, and is reaped here.
///
/// `stdio` are descriptors above 2, and nothing else of ours is inherited but what is not
/// close-on-exec. Errors: no room for a process; or the program can't be executed.
pub fn orphan(file: &CStr, argv: &[&CStr], stdio: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    let words = argv.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]);
    let words: Vec<*const c_char> = words.collect();
    let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    let mut failed = None;
    // Until its exec. SAFETY: system calls with pointers that are valid: we stand still meanwhile.
    let mut program = || unsafe {
        let session = libc::setsid() >= 0;
        let placed = stdio.iter().zip(0..).all(|(fd, to)| libc::dup2(fd.as_raw_fd(), to) >= 0);
        if session && placed && libc::chdir(c"/".as_ptr()) == 0 {
            libc::execve(file.as_ptr(), words.as_ptr(), environ);
        }
        failed = Some(errno());
        127
    };
    let mut forked = Ok(0);
    let mut fork = || {
        // SAFETY: it does nothing but system calls.
        forked = unsafe { start(&mut program) };
        0
    };
    // The first has our descriptors, not a copy of them: it touches none, and there may be thousands.
    // SAFETY: the same; and the signals that it restores for itself are blocked ones.
    let first = unsafe { begin(&mut fork, libc::CLONE_FILES)? };
    // It is at its end. SAFETY: a child of ours that nobody else waits for.
    let reap = || unsafe { libc::waitpid(first.cast_signed(), std::ptr::null_mut(), 0) };
    while reap() < 0 && errno() == libc::EINTR {}
    forked?;
    failed.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    fn run(file: &CStr, argv: &[&CStr]) -> io::Result<String> {
        let null = std::fs::File::open("/dev/null")?;
        let (mut said, says) = io::pipe()?;
        orphan(file, argv, [null.as_fd(), says.as_fd(), says.as_fd()])?;
        drop(says);
        let mut text = String::new();
        said.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a_program_is_nobodys_child_and_leads_a_session() {
        let line = c"cut -d' ' -f1,4,5,6 /proc/$$/stat; pwd; echo $HOME";
        let text = run(c"/bin/sh", &[c"sh", c"-c", line]).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let ids: Vec<u32> = lines[0].split(' ').map(|id| id.parse().unwrap()).collect();
        assert_eq!((ids[2], ids[3]), (ids[0], ids[0]));
        assert_ne!(ids[1], std::process::id());
        assert_eq!(lines[1], "/");
        assert_eq!(lines[2], std::env::var("HOME").unwrap_or_default());
    }

    #[test]
    fn what_cannot_be_executed_is_told() {
        let error = run(c"/nonexistent", &[c"x"]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        let none = run(c"/dev/null", &[c"x"]).unwrap_err();
        assert_eq!(none.raw_os_error(), Some(libc::EACCES));
    }
}
