//! Where a reply's head ends, and its body.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Connection;

/// End of the name of the header by which an agent tells what it executes: `hearth-executable`.
pub(crate) const EXECUTABLE: &str = "-executable";

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

pub(super) fn not_http(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// Reads a body and no further.
pub(super) struct BodyReader<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) framing: Framing,
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
    use std::io::Write;
    use std::os::unix::net::UnixStream;

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
