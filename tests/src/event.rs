//! Waiting for what the kernel tells: a file that grows, a process that ends, a port that listens.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use hearth_process::watch::DirWatch;
use hearth_process::{ProcessHandle, ProcessId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType};

use crate::verb::PATIENCE;

/// Waits until a file's content is what `is_it` wants, and gives it back. A file that is not there
/// is empty.
#[track_caller]
pub fn await_file(path: &Path, is_it: impl Fn(&str) -> bool) -> String {
    let directory = path.parent().expect("a file has a directory");
    let watch = DirWatch::new(directory).expect("a directory can be watched");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if is_it(&text) {
            return text;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{} never came to it:\n{text}", path.display());
        let left = Timespec::try_from(left).expect("a short time");
        let _ = poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&left));
        let _ = watch.drain();
    }
}

/// Waits for the end of a process; one that is gone has ended.
#[track_caller]
pub fn await_end(pid: u32) {
    let Ok(id) = ProcessId::of(pid) else { return };
    let Ok(handle) = ProcessHandle::open(&id) else { return };
    assert!(handle.wait_timeout(PATIENCE).expect("it can be waited for"), "{pid} never ended");
}

/// Whether a process runs: there, and no zombie.
pub fn runs(pid: u32) -> bool {
    !matches!(hearth_process::facts::state_of(pid), None | Some('Z' | 'X'))
}

/// A FIFO on which a service waits by `read x < NAME`.
///
/// It is opened for both directions, so that opening never blocks and nothing written is lost
/// while the gate lives.
#[derive(Debug)]
pub struct Gate(File);

impl Gate {
    /// Makes it.
    pub fn new(path: &Path) -> Self {
        let name = CString::new(path.as_os_str().as_bytes()).expect("a path has no NUL");
        // SAFETY: the name is a string that ends with NUL and outlives the call.
        let made = unsafe { libc::mkfifo(name.as_ptr(), 0o666) };
        assert_eq!(made, 0, "a FIFO can be made: {}", std::io::Error::last_os_error());
        Self(OpenOptions::new().read(true).write(true).open(path).expect("it can be opened"))
    }

    /// Gives a line to who reads.
    pub fn say(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).expect("there is room");
    }

    /// Lets one pass.
    pub fn open(&mut self) {
        self.0.write_all(b"\n").expect("it can be written to");
    }
}

/// A port of 127.0.0.1 that nobody else gets and on which nobody listens yet.
#[derive(Debug)]
pub struct Port {
    socket: OwnedFd,
    /// Its number.
    pub number: u16,
}

impl Port {
    /// Takes one.
    pub fn reserve() -> Self {
        let socket =
            rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).expect("it is open");
        let any = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);
        rustix::net::bind(&socket, &any).expect("a free port");
        let bound = rustix::net::getsockname(&socket).expect("a name");
        let bound = std::net::SocketAddr::try_from(bound).expect("an address of the internet");
        Self { socket, number: bound.port() }
    }

    /// From now on connections are taken.
    pub fn listen(self) -> TcpListener {
        rustix::net::listen(&self.socket, 16).expect("it can listen");
        TcpListener::from(self.socket)
    }
}
