//! A connection to the agent's socket: how it comes about, and how it fails to.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::framing::{BodyReader, Framing, Head, not_http, parse_head};
use super::{Answer, Request};
use crate::call::was_unread;
use crate::{App, wait};

/// A reply's head may not be longer.
const MAX_HEAD: usize = 64 * 1024;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// ENOENT: there is no socket.
    #[error("there is no socket at {}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// ECONNREFUSED: what stands there is the socket of somebody who has ended, or no socket at all.
    #[error("nobody listens on {}: who did so has ended", path.display())]
    Stale {
        /// The path.
        path: PathBuf,
    },
    /// EAGAIN: its queue is full; who listens is busy or hangs, and is not dead.
    #[error("the queue of {} was full for {} ms", path.display(), after.as_millis())]
    Timeout {
        /// The path.
        path: PathBuf,
        /// How long a place was waited for.
        after: Duration,
    },
    /// Whoever listens is another user.
    #[error("uid {uid} listens on {}, and we are uid {}", path.display(), crate::home::euid())]
    Refused {
        /// The path.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// Anything else.
    #[error("cannot connect to {}: {source}", path.display())]
    Os {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ConnectError {
    /// Stable, for programs: `missing`, `stale`, `timeout`, `refused`, `connect`.
    pub fn code(&self) -> &'static str {
        match self {
            ConnectError::Missing { .. } => "missing",
            ConnectError::Stale { .. } => "stale",
            ConnectError::Timeout { .. } => "timeout",
            ConnectError::Refused { .. } => "refused",
            ConnectError::Os { .. } => "connect",
        }
    }
}

/// An open connection with the bytes that were read too far. Requests go over it one after the other.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
    pub(super) start: usize,
    /// Reads fail with `TimedOut` from here on: a peer may be stopped in the middle of its reply.
    deadline: Option<Instant>,
    /// The header by which versions are compared, and what we speak.
    api: Option<(String, (u32, u32))>,
}

impl Connection {
    /// Connects, waiting at most `patience` for a place in the queue, and checks the peer's uid. Nothing
    /// is started, made or repaired, and nothing is sent.
    pub fn open(path: &Path, patience: Duration) -> Result<Self, ConnectError> {
        let path = path.to_owned();
        let address = match SocketAddrUnix::new(&path) {
            Ok(address) => address,
            Err(error) => return Err(ConnectError::Os { path, source: error.into() }),
        };
        let socket = match unix_socket() {
            Ok(socket) => socket,
            Err(error) => return Err(ConnectError::Os { path, source: error.into() }),
        };
        // For a Unix socket this bounds connect(2), which blocks while the queue is full.
        bound_sending(&socket, patience);
        loop {
            match rustix::net::connect(&socket, &address) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                Err(Errno::NOENT) => return Err(ConnectError::Missing { path }),
                Err(Errno::CONNREFUSED) => return Err(ConnectError::Stale { path }),
                Err(Errno::AGAIN) => return Err(ConnectError::Timeout { path, after: patience }),
                Err(error) => return Err(ConnectError::Os { path, source: error.into() }),
            }
        }
        match hearth_process::peer_uid(&socket) {
            Ok(uid) if uid == crate::home::euid() => {}
            Ok(uid) => return Err(ConnectError::Refused { path, uid }),
            Err(source) => return Err(ConnectError::Os { path, source }),
        }
        Ok(Self::over(UnixStream::from(socket)))
    }

    pub(super) fn over(stream: UnixStream) -> Self {
        Self { stream, buffer: Vec::new(), start: 0, deadline: None, api: None }
    }

    /// The same, whose requests say which versions of the API this app speaks.
    pub(crate) fn of(mut self, app: &App) -> Self {
        self.api = Some((app.api_header(), app.api));
        self
    }

    /// Sends a request and reads the reply to its end, whatever its status. After an error the
    /// connection is of no use any more.
    ///
    /// Errors: `InvalidInput` for what can't be sent; `TimedOut` where [`Request::within`] is over; what [`std::io::Read`] and
    /// [`std::io::Write`] say; `InvalidData` for what is no HTTP.
    pub fn call(&mut self, request: &Request) -> io::Result<Answer> {
        let bad = |error: crate::CallError| io::Error::new(io::ErrorKind::InvalidInput, error);
        request.check().map_err(bad)?;
        let mut bytes = Vec::with_capacity(512);
        request.write_to(&mut bytes, self.api.as_ref().map(|(name, range)| (&**name, *range)));
        self.deadline = request.within.and_then(|within| Instant::now().checked_add(within));
        if let Some(within) = request.within {
            self.send_within(within);
        }
        let head = match self.send(&bytes) {
            Ok(()) => self.head()?,
            // It may have said why it takes no more before it went.
            Err(error) if was_unread(&error) => self.head().map_err(|_| error)?,
            Err(error) => return Err(late_if_full(error)),
        };
        let Head { status, content_type, framing, .. } = head;
        Ok(Answer { status, content_type, body: self.whole(framing)? })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The connection itself, for another protocol; nothing that was read too far is in it, since
    /// nobody answers unasked.
    pub fn into_stream(self) -> UnixStream {
        self.stream
    }

    /// Gives a send so long, where a request is larger than the socket's buffer.
    pub(crate) fn send_within(&self, patience: Duration) {
        bound_sending(&self.stream, patience);
    }

    /// Bounds what is read from here on; `None`: for as long as it takes.
    pub(crate) fn read_until(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Reads the head of the next reply. The body is to be read to its end before the next.
    pub(crate) fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some((head, length)) = parse_head(&self.buffer[self.start..])? {
                self.start += length;
                return Ok(head);
            }
            if self.buffer.len() - self.start > MAX_HEAD {
                return Err(not_http("the reply's head is too long"));
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Takes a whole body that has a length.
    pub(crate) fn whole(&mut self, framing: Framing) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        BodyReader { connection: self, framing }.read_to_end(&mut body)?;
        Ok(body)
    }

    /// Puts a body back that was read to its end, as that of a reply with this head.
    pub(crate) fn give_back(&mut self, head: Head, body: Vec<u8>) -> Head {
        let framing = Framing::Length(body.len() as u64);
        let rest = self.buffer.split_off(self.start);
        self.buffer = [body, rest].concat();
        self.start = 0;
        Head { framing, ..head }
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        let old = self.buffer.len();
        self.buffer.resize(old + 8192, 0);
        let flags = if self.deadline.is_some() { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
        let got = loop {
            match rustix::net::recv(&self.stream, &mut self.buffer[old..], flags) {
                Ok((got, _)) => break Ok(got),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => match self.await_bytes() {
                    Ok(()) => {}
                    Err(error) => break Err(error),
                },
                Err(error) => break Err(error.into()),
            }
        };
        self.buffer.truncate(old + *got.as_ref().unwrap_or(&0));
        got
    }

    fn await_bytes(&self) -> io::Result<()> {
        let Some(deadline) = self.deadline else { return Ok(()) };
        let readable = wait::any_readable(&[self.stream.as_fd()], deadline)?;
        if readable[0] { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }

    pub(super) fn buffered(&mut self) -> io::Result<&[u8]> {
        if self.start == self.buffer.len() {
            self.fill()?;
        }
        Ok(&self.buffer[self.start..])
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A send whose time is over says that it would block (`SO_SNDTIMEO`, socket(7)).
fn late_if_full(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// Bounds connect(2) and sends. A bound of zero would be none: that of the past is the shortest.
fn bound_sending(socket: impl AsFd, patience: Duration) {
    let patience = patience.max(Duration::from_millis(1));
    let _ = sockopt::set_socket_timeout(socket, sockopt::Timeout::Send, Some(patience));
}

/// A Unix socket that no child inherits.
pub(crate) fn unix_socket() -> rustix::io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    #[cfg(not(target_os = "macos"))]
    return rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None);
    #[cfg(target_os = "macos")]
    {
        let socket = rustix::net::socket_with(family, kind, SocketFlags::empty(), None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        Ok(socket)
    }
}
