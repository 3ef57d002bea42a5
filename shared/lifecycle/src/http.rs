//! HTTP/1.1 over the Unix socket, blocking: what a verb needs on its warm path and no more.
//!
//! No async runtime: one connect, one write, and reads. Kept true here: whoever listens is our own
//! uid before a byte is sent, and a body ends where its framing says, so that a reply cut short by
//! a dying agent is an error and never half an answer.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::wait;

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

    /// The same, which may be sent again.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
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
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// ENOENT, ECONNREFUSED: nobody listens (or what stands there is no socket).
    Nobody,
    /// EAGAIN: its queue is full; it is busy or hangs, and it is not dead.
    Full,
    /// Whoever listens is another uid.
    Foreign(u32),
    /// Anything else.
    Os(io::Error),
}

/// An open connection with the bytes that were read too far.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
    start: usize,
    /// Reads fail with `TimedOut` from here on: a peer may be stopped in the middle of its reply.
    deadline: Option<Instant>,
}

impl Connection {
    /// Connects, waiting at most `patience` for a place in the queue, and checks the peer's uid.
    pub(crate) fn open(path: &Path, patience: Duration) -> Result<Self, ConnectError> {
        let address = SocketAddrUnix::new(path).map_err(|e| ConnectError::Os(e.into()))?;
        let socket = cloexec_socket().map_err(|e| ConnectError::Os(e.into()))?;
        // For a Unix socket this bounds connect(2), which blocks while the queue is full.
        bound_sending(&socket, patience);
        loop {
            match rustix::net::connect(&socket, &address) {
                Ok(()) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) => {
                    return Err(ConnectError::Nobody);
                }
                Err(rustix::io::Errno::AGAIN) => return Err(ConnectError::Full),
                Err(e) => return Err(ConnectError::Os(e.into())),
            }
        }
        let uid = hearth_process::peer_uid(&socket).map_err(ConnectError::Os)?;
        if uid != crate::home::euid() {
            return Err(ConnectError::Foreign(uid));
        }
        Ok(Self { stream: UnixStream::from(socket), buffer: Vec::new(), start: 0, deadline: None })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The connection itself, before anything was read from it.
    pub(crate) fn into_stream(self) -> UnixStream {
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
                return Err(io::Error::other("the reply's head is too long"));
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
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => match self.await_bytes() {
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
        Err(e) => return Err(io::Error::other(format!("this is no HTTP reply: {e}"))),
    };
    let status = reply.code.unwrap_or(0);
    let mut head = Head { status, content_type: String::new(), framing: Framing::Close };
    for header in reply.headers.iter() {
        let value = || String::from_utf8_lossy(header.value).trim().to_ascii_lowercase();
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = value().parse().map_err(|_| io::Error::other("bad content-length"))?;
            head.framing = Framing::Length(length);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") && value() == "chunked" {
            head.framing = Framing::Chunked { left: 0, first: true };
        } else if header.name.eq_ignore_ascii_case("content-type") {
            head.content_type = value();
        }
    }
    Ok(Some((head, length)))
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
        let Head { status, content_type, framing } = head;
        Self { status, content_type, connection, framing }
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Reads the whole body. Unbounded: for replies of our own agent only.
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
                _ if line.len() > 1024 => return Err(io::Error::other("bad chunk")),
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
        let left = size.ok_or_else(|| io::Error::other("bad chunk"))?;
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
        Connection { stream: ours, buffer: Vec::new(), start: 0, deadline: None }
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
