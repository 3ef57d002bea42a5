//! What an agent and its successor say to each other when the one hands over to the other.
//!
//! The successor asks with `POST /v1/replace` and an upgrade of the connection; from then on both
//! sides speak messages on it: a length (u32, little-endian) and that many bytes of JSON, the
//! descriptors that belong to a message with its first byte.
//!
//! ```text
//! successor                          predecessor
//!   POST /v1/replace  ─────────────▶   serves on
//!                     ◀─────────────  Lent      + listener, L
//!   reads its configuration
//!   Prepared          ─────────────▶   stops accepting, freezes
//!                     ◀─────────────  Luggage   + one descriptor, as often as there are any
//!                     ◀─────────────  Yours
//!   takes over, accepts
//!   Serving           ─────────────▶   ends
//! ```
//!
//! Invariants: L is locked from the first to the last of these lines, by the one open file
//! description that both hold; until `Serving` has come, the predecessor can go on as if nothing had
//! been. Frozen like the frames of the wire: a newer agent must be able to ask an older one.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hearth_process::pass;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Value of the header `Upgrade`, with the version of these messages.
pub(crate) const PROTOCOL: &str = "hearth-handover/1";

/// A message may not be longer, in bytes.
const MAX: usize = 16 * 1024 * 1024;
const MAX_HEAD: usize = 16 * 1024;

/// What an agent hands over to its successor, besides listener and lock.
#[derive(Debug, Default)]
pub struct Luggage {
    /// Whatever the two need to tell each other, 16 MiB at most as JSON; the lifecycle does not look at it.
    /// What is longer belongs into a descriptor.
    pub notes: String,
    /// Descriptors by name.
    pub fds: Vec<(String, OwnedFd)>,
}

/// From the predecessor.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Gives {
    /// With two descriptors: the listener, and L.
    Lent,
    /// With one descriptor.
    Luggage {
        /// Its name.
        name: String,
    },
    /// Everything is yours.
    Yours {
        /// See [`Luggage::notes`].
        notes: String,
    },
}

/// From the successor.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Says {
    /// Nothing that can be known beforehand keeps me from being the agent.
    Prepared,
    /// I am the agent.
    Serving,
}

/// The connection of the two, blocking.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: UnixStream,
    fds: Vec<OwnedFd>,
}

impl Channel {
    /// Over a connection on which nothing else is under way.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        Ok(Self { stream, fds: Vec::new() })
    }

    /// Bounds each wait of [`Channel::receive`] and [`Channel::send`].
    pub(crate) fn wait_at_most(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.set_write_timeout(Some(patience))
    }

    pub(crate) fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        if body.len() > MAX {
            // Told here, where it is known what it is; a receiver only sees what was not agreed.
            let words = format!("what is to be handed over takes {} bytes of {MAX}", body.len());
            return Err(io::Error::other(words));
        }
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(&body);
        let mut sent = pass::send(&self.stream, &bytes, fds)?;
        while sent < bytes.len() {
            match pass::send(&self.stream, &bytes[sent..], &[])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                more => sent += more,
            }
        }
        Ok(())
    }

    /// The next message. Errors: `UnexpectedEof` where the peer is gone; `WouldBlock` or `TimedOut`
    /// where it took too long.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut head = [0; 4];
        self.fill(&mut head)?;
        let length = usize::try_from(u32::from_le_bytes(head)).unwrap_or(usize::MAX);
        if length > MAX {
            return Err(io::Error::other("the other agent speaks otherwise than agreed"));
        }
        let mut body = vec![0; length];
        self.fill(&mut body)?;
        serde_json::from_slice(&body).map_err(io::Error::from)
    }

    /// The next of the descriptors that have come.
    pub(crate) fn take_fd(&mut self) -> io::Result<OwnedFd> {
        match self.fds.is_empty() {
            false => Ok(self.fds.remove(0)),
            true => Err(io::Error::other("a descriptor that was announced has not come")),
        }
    }

    /// The head of the answer to the request that begins it all, byte by byte: what comes right
    /// behind it has descriptors with it, which a longer read would lose.
    pub(crate) fn head(&mut self) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.fill(&mut byte)?;
            head.push(byte[0]);
            if head.len() > MAX_HEAD {
                return Err(io::Error::other("the reply's head is too long"));
            }
        }
        Ok(head)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            match pass::receive(&self.stream, &mut bytes[filled..], &mut self.fds)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(())
    }

    /// Returns when the other side has closed, or after the time that was set.
    pub(crate) fn await_end(&mut self) {
        let mut byte = [0];
        while matches!(self.stream.read(&mut byte), Ok(1..)) {}
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_is_heard_with_its_descriptors() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (ours, mut theirs) = (Channel::new(ours).unwrap(), Channel::new(theirs).unwrap());
        ours.send(&Gives::Lent, &[ours.as_fd(), ours.as_fd()]).unwrap();
        ours.send(&Gives::Luggage { name: "a".into() }, &[ours.as_fd()]).unwrap();
        ours.send(&Gives::Yours { notes: "x".repeat(100_000) }, &[]).unwrap();
        assert_eq!(theirs.receive::<Gives>().unwrap(), Gives::Lent);
        theirs.take_fd().unwrap();
        theirs.take_fd().unwrap();
        assert!(theirs.take_fd().is_err());
        assert_eq!(theirs.receive::<Gives>().unwrap(), Gives::Luggage { name: "a".into() });
        theirs.take_fd().unwrap();
        let Gives::Yours { notes } = theirs.receive().unwrap() else { panic!("not ours") };
        assert_eq!(notes.len(), 100_000);
        drop(ours);
        let end = theirs.receive::<Gives>().unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_messages_never_change() {
        fn text(value: &impl Serialize) -> String {
            serde_json::to_string(value).unwrap()
        }
        assert_eq!(text(&Gives::Lent), r#"{"type":"lent"}"#);
        assert_eq!(text(&Gives::Luggage { name: "n".into() }), r#"{"type":"luggage","name":"n"}"#);
        assert_eq!(text(&Gives::Yours { notes: "n".into() }), r#"{"type":"yours","notes":"n"}"#);
        assert_eq!(text(&Says::Prepared), r#"{"type":"prepared"}"#);
        assert_eq!(text(&Says::Serving), r#"{"type":"serving"}"#);
    }
}
