//! HTTP/1.1 over the Unix socket, blocking: what a verb needs on its warm path and no more.
//!
//! No async runtime: one connect, one write, and reads (`http/connection.rs`). Kept true here: whoever listens
//! is our own uid before a byte is sent, and a body ends where its framing says (`http/framing.rs`), so that a
//! reply cut short by a dying agent is an error and never half an answer.

mod connection;
mod framing;

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::CallError;

#[cfg(feature = "agent")]
pub(crate) use self::connection::unix_socket;
pub use self::connection::{ConnectError, Connection};
use self::framing::BodyReader;
#[cfg(feature = "agent")]
pub(crate) use self::framing::{EXECUTABLE, parse_head};
pub(crate) use self::framing::{Framing, Head};

/// A part of a path or a query as it stands in a [`Request`]: all but letters, digits and `-._~` is
/// percent-encoded (RFC 3986), a slash too.
///
/// ```
/// let path = format!("/v1/notes/{}", hearth_lifecycle::encoded("buy milk"));
/// assert_eq!(path, "/v1/notes/buy%20milk");
/// ```
pub fn encoded(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                let digit = |four: u8| char::from(HEX[usize::from(four & 15)]);
                text.extend(['%', digit(byte >> 4), digit(byte)]);
            }
        }
    }
    text
}

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// Path and query, their parts percent-encoded ([`encoded`]).
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

    /// Errors: what would be another request on the wire than it is here: a path with spaces, control or other
    /// characters that are not encoded, a header with the end of a line in it.
    pub(crate) fn check(&self) -> Result<(), CallError> {
        let bad = |why: String| Err(CallError::BadRequest { why });
        if !self.path.starts_with('/') {
            return bad(format!("the path {:?} does not begin with /", self.path));
        }
        if !self.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            let why = "has characters that are to be percent-encoded (`encoded`)";
            return bad(format!("the path {:?} {why}", self.path));
        }
        let token = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        for (name, value) in &self.headers {
            if name.is_empty() || !name.bytes().all(token) {
                return bad(format!("{name:?} can't be the name of a header"));
            }
            if value.bytes().any(|byte| byte.is_ascii_control()) {
                return bad(format!("the header {name} has a control character"));
            }
        }
        Ok(())
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
