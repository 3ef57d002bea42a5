//! Becoming the agent's executable, in the child, with a word for the verb where that fails.
//!
//! `std::process::Command` reports a failed exec through a pipe of its own, which the child closes
//! with all else that it has from its caller. So the exec is done here, and its errno goes to the
//! ready pipe: an executable that was replaced by something else is told as such.

use std::ffi::{CString, OsStr, OsString, c_char};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What execve(2) takes, put together before the fork: nothing may be allocated after it.
pub(crate) struct Exec {
    program: CString,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    /// What the pointers point to; a `CString`'s bytes stay where they are when it is moved.
    _strings: Vec<CString>,
}

// SAFETY: the pointers are into strings that the value owns and that nobody changes.
unsafe impl Send for Exec {}
// SAFETY: as above; it is only ever read.
unsafe impl Sync for Exec {}

impl Exec {
    /// Errors: `InvalidInput` for a zero byte in any of the strings.
    pub(crate) fn new(
        program: &Path,
        arguments: &[&str],
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> io::Result<Self> {
        let mut strings = Vec::new();
        let mut keep = |text: &OsStr| -> io::Result<*const c_char> {
            let text = CString::new(text.as_bytes())?;
            let pointer = text.as_ptr();
            strings.push(text);
            Ok(pointer)
        };
        let mut argv = Vec::new();
        for argument in arguments {
            argv.push(keep(OsStr::new(argument))?);
        }
        let mut envp = Vec::new();
        for (name, value) in environment {
            let mut line = name;
            line.push("=");
            line.push(value);
            envp.push(keep(&line)?);
        }
        argv.push(std::ptr::null());
        envp.push(std::ptr::null());
        let program = CString::new(program.as_os_str().as_bytes())?;
        Ok(Self { program, arguments: argv, environment: envp, _strings: strings })
    }

    /// Becomes the program. Where that fails, writes the errno to `pipe` and ends.
    ///
    /// Async-signal-safe: three system calls.
    pub(crate) fn run(&self, pipe: RawFd) -> ! {
        // SAFETY: both lists end with a null and live as long as we do; the number is written from
        // where it stands.
        unsafe {
            libc::execve(self.program.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr());
            let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0).to_ne_bytes();
            libc::write(pipe, errno.as_ptr().cast(), errno.len());
            libc::_exit(127)
        }
    }
}

/// What [`Exec::run`] wrote, if that is what it is: the agent's own words are longer.
pub(crate) fn failure(said: &[u8]) -> Option<io::Error> {
    let errno = <[u8; 4]>::try_from(said).ok()?;
    Some(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
}
