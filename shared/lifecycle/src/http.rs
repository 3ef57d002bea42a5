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

pub use self::connection::{ConnectError, Connection};
use self::framing::BodyReader;
#[cfg(feature = "agent")]
pub(crate) use self::framing::{EXECUTABLE, parse_head};
pub(crate) use self::framing::{Framing, Head};

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
