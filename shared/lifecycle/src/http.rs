//! HTTP/1.1 over the Unix socket, blocking: what a verb needs on its warm path and no more.
//!
//! No async runtime: one connect, one write, and reads. Kept true here: whoever listens is our own
//! uid before a byte is sent, and a body ends where its framing says, so that a reply cut short by
//! a dying agent is an error and never half an answer.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{App, CallError, wait};

/// End of the name of the header by which an agent tells what it executes: `hearth-executable`.
pub(crate) const EXECUTABLE: &str = "-executable";

/// A reply's head may not be longer.
const MAX_HEAD: usize = 64 * 1024;

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// Path and query, encoded.
    pub path: String,
    /// JSON body.
    pub body: Option<Vec<u8>>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// Whether it may be sent again when the connection broke before the first byte of its reply.
    pub repeatable: bool,
    /// Time for the whole reply, its body included, from the moment at which it was sent; `None`: what
    /// the caller allows, and for a body as long as it takes.
    pub within: Option<Duration>,
}

impl Request {
    /// A read; repeatable.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), repeatable: true, ..Self::default() }
    }

    /// A command with a JSON body; repeatable only if the caller says so.
    pub fn post(path: impl Into<String>, body: Vec<u8>) -> Self {
        Self { method: "POST", path: path.into(), body: Some(body), ..Self::default() }
    }

    /// A command with this as its JSON body.
    ///
    /// Errors: [`CallError::Protocol`] for what has no JSON, such as a map whose keys are no text.
    pub fn json(path: impl Into<String>, body: &impl Serialize) -> Result<Self, CallError> {
        let path = path.into();
        match serde_json::to_vec(body) {
            Ok(body) => Ok(Self::post(path, body)),
            Err(error) => Err(CallError::Protocol { path: path.into(), why: error.to_string() }),
        }
    }

    /// The same, which may be sent again.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// The removal of something; repeatable only if the caller says so.
    pub fn delete(path: impl Into<String>) -> Self {
        Self { method: "DELETE", path: path.into(), ..Self::default() }
    }

    /// The same with a deadline.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    /// `api`: the header by which versions are compared, and ours; the question for the version
    /// goes without, since it must be answered to whoever asks.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>, api: Option<(&str, (u32, u32))>) {
        let _ = write!(out, "{} {} HTTP/1.1\r\nhost: localhost\r\n", self.method, self.path);
        if let Some((header, (min, max))) = api {
            let _ = write!(out, "{header}: {min}-{max}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            let _ =
                write!(out, "content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.body.as_deref().unwrap_or_default());
    }
}

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

/// What a reply says, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `content-type`, in lower case.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// An open connection with the bytes that were read too far. Requests go over it one after the other.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
    start: usize,
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
        let socket = match cloexec_socket() {
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

    fn over(stream: UnixStream) -> Self {
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
    /// Errors: `TimedOut` where [`Request::within`] is over; what [`std::io::Read`] and
    /// [`std::io::Write`] say; `InvalidData` for what is no HTTP.
    pub fn call(&mut self, request: &Request) -> io::Result<Answer> {
        let mut bytes = Vec::with_capacity(512);
        request.write_to(&mut bytes, self.api.as_ref().map(|(name, range)| (&**name, *range)));
        self.deadline = request.within.and_then(|within| Instant::now().checked_add(within));
        if let Some(within) = request.within {
            self.send_within(within);
        }
        self.send(&bytes).map_err(late_if_full)?;
        let Head { status, content_type, framing, .. } = self.head()?;
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

    fn buffered(&mut self) -> io::Result<&[u8]> {
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

fn not_http(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
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

fn cloexec_socket() -> rustix::io::Result<OwnedFd> {
    #[cfg(not(target_os = "macos"))]
    return rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    );
    #[cfg(target_os = "macos")]
    {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::empty(),
            None,
        )?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        Ok(socket)
    }
}

/// Status line and headers of a reply.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// What the agent executes, where it tells.
    pub(crate) executable: Option<PathBuf>,
    pub(crate) framing: Framing,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// Chunks; so many bytes are left of this one.
    Chunked { left: u64, first: bool },
    /// It has ended.
    Done,
    /// Where the connection does.
    Close,
}

pub(crate) fn parse_head(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut reply = httparse::Response::new(&mut headers);
    let length = match reply.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(e) => return Err(not_http(format!("this is no HTTP reply: {e}"))),
    };
    let status = reply.code.unwrap_or(0);
    let (content_type, framing) = (String::new(), Framing::Close);
    let mut head = Head { status, content_type, executable: None, framing };
    for header in reply.headers.iter() {
        let value = || String::from_utf8_lossy(header.value).trim().to_ascii_lowercase();
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = value().parse().map_err(|_| not_http("bad content-length"))?;
            head.framing = Framing::Length(length);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") && value() == "chunked" {
            head.framing = Framing::Chunked { left: 0, first: true };
        } else if header.name.eq_ignore_ascii_case("content-type") {
            head.content_type = value();
        } else if header.name.ends_with(EXECUTABLE) {
            head.executable = Some(OsStr::from_bytes(header.value).into());
        }
    }
    Ok(Some((head, length)))
}

impl Answer {
    /// The body as JSON; an empty one is `null`. Errors: it is none, or another than asked for.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        let body = if self.body.is_empty() { b"null" } else { &self.body[..] };
        serde_json::from_slice(body)
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A reply: its head was read, its body is read as it comes.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `content-type`, in lower case.
    pub content_type: String,
    connection: Connection,
    framing: Framing,
}

impl Reply {
    pub(crate) fn new(connection: Connection, head: Head) -> Self {
        let Head { status, content_type, framing, .. } = head;
        Self { status, content_type, connection, framing }
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// All of it, read to its end.
    pub fn whole(mut self) -> io::Result<Answer> {
        let body = Self::bytes(&mut self)?;
        Ok(Answer { status: self.status, content_type: self.content_type, body })
    }

    /// Reads the whole body. Unbounded in size: for replies of our own agent only.
    pub fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        self.read_to_end(&mut body)?;
        Ok(body)
    }
}

impl AsFd for Reply {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl Read for Reply {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut reader = BodyReader { connection: &mut self.connection, framing: self.framing };
        let got = reader.read(out);
        self.framing = reader.framing;
        got
    }
}

struct BodyReader<'a> {
    connection: &'a mut Connection,
    framing: Framing,
}

impl BodyReader<'_> {
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let bytes = self.connection.buffered()?;
            let Some(&byte) = bytes.first() else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            self.connection.start += 1;
            match byte {
                b'\n' => return Ok(line),
                b'\r' => {}
                _ if line.len() > 1024 => return Err(not_http("bad chunk")),
                _ => line.push(byte),
            }
        }
    }

    /// Moves on to the next chunk; `Done` after the last.
    fn next_chunk(&mut self, first: bool) -> io::Result<()> {
        if !first {
            self.line()?;
        }
        let line = self.line()?;
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(size)
            .ok()
            .and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
        let left = size.ok_or_else(|| not_http("bad chunk"))?;
        self.framing = Framing::Chunked { left, first: false };
        if left == 0 {
            while !self.line()?.is_empty() {}
            self.framing = Framing::Done;
        }
        Ok(())
    }

    fn take(&mut self, out: &mut [u8], left: u64) -> io::Result<usize> {
        let bytes = self.connection.buffered()?;
        let count = bytes.len().min(out.len()).min(usize::try_from(left).unwrap_or(usize::MAX));
        out[..count].copy_from_slice(&bytes[..count]);
        self.connection.start += count;
        Ok(count)
    }
}

impl Read for BodyReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if let Framing::Chunked { left: 0, first } = self.framing {
            self.next_chunk(first)?;
        }
        let left = match self.framing {
            Framing::Done | Framing::Length(0) => return Ok(0),
            Framing::Close => return self.take(out, u64::MAX),
            Framing::Length(left) | Framing::Chunked { left, .. } => left,
        };
        let got = self.take(out, left)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match &mut self.framing {
            Framing::Length(left) | Framing::Chunked { left, .. } => *left -= got as u64,
            Framing::Done | Framing::Close => {}
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(reply: &[u8]) -> Connection {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(reply).unwrap();
        Connection::over(ours)
    }

    fn body_of(reply: &[u8]) -> io::Result<Vec<u8>> {
        let mut connection = connection(reply);
        let head = connection.head()?;
        connection.whole(head.framing)
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        let length = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP";
        assert_eq!(body_of(length).unwrap(), b"abc");
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n";
        assert_eq!(body_of(chunked).unwrap(), b"abc");
        let close = b"HTTP/1.1 200 OK\r\n\r\nabc";
        assert_eq!(body_of(close).unwrap(), b"abc");
    }

    #[test]
    fn a_reply_cut_short_is_an_error_and_not_half_an_answer() {
        let length = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc";
        assert_eq!(body_of(length).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n";
        assert_eq!(body_of(chunked).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let head = b"HTTP/1.1 200 OK\r\ncontent-le";
        assert_eq!(body_of(head).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_not_http_is_refused() {
        assert!(body_of(b"-ERR unknown command\r\n\r\n").is_err());
    }
}
