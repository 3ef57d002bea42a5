//! The API as any program speaks it: HTTP/1.1 over a Unix socket, with nothing but std.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use crate::verb::PATIENCE;

/// A reply; its body is read from the connection.
#[derive(Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    from: BufReader<UnixStream>,
    left: usize,
}

/// Sends one request on a connection of its own and reads the head of the reply.
#[track_caller]
pub fn request(
    socket: &Path,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let text = head(method, path, headers, body) + body;
    let mut stream = UnixStream::connect(socket).expect("an agent listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    // A refusal may come before all of a large body is taken.
    let _ = stream.write_all(text.as_bytes());
    Reply::read(BufReader::new(stream))
}

/// All of a request but its body.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!(
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        ));
    }
    text.push_str("\r\n");
    text
}

impl Reply {
    #[track_caller]
    fn read(mut from: BufReader<UnixStream>) -> Self {
        let mut line = String::new();
        from.read_line(&mut line).expect("a status line");
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            from.read_line(&mut line).expect("a header");
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        Self { status, headers, from, left: 0 }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All of the body.
    #[track_caller]
    pub fn text(mut self) -> String {
        let mut bytes = Vec::new();
        match self.header("content-length").map(|length| length.parse().expect("a length")) {
            Some(length) => {
                bytes.resize(length, 0);
                self.from.read_exact(&mut bytes).expect("the body");
            }
            None => while self.byte().map(|byte| bytes.push(byte)).is_some() {},
        }
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// All of the body, as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// The next line of a body that comes in chunks, as JSON; `None`: that was all.
    #[track_caller]
    pub fn line(&mut self) -> Option<Value> {
        let mut line = Vec::new();
        loop {
            match self.byte() {
                Some(b'\n') => break,
                Some(byte) => line.push(byte),
                None if line.is_empty() => return None,
                None => break,
            }
        }
        let text = String::from_utf8(line).expect("UTF-8");
        Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
    }

    /// One byte of a chunked body (RFC 9112, 7.1).
    #[track_caller]
    fn byte(&mut self) -> Option<u8> {
        if self.left == 0 {
            assert_eq!(self.header("transfer-encoding"), Some("chunked"), "{:?}", self.headers);
            let mut size = String::new();
            self.from.read_line(&mut size).expect("a chunk");
            if size == "\r\n" {
                // The end of the chunk before.
                size.clear();
                self.from.read_line(&mut size).expect("a chunk");
            }
            self.left = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            if self.left == 0 {
                return None;
            }
        }
        let mut byte = [0];
        self.from.read_exact(&mut byte).expect("a byte of the chunk");
        self.left -= 1;
        Some(byte[0])
    }
}
