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

/// One server-sent event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// Its id.
    pub id: Option<String>,
    /// What it is; empty: not said.
    pub name: String,
    /// Its data.
    pub data: Value,
    /// The time after which to connect again.
    pub retry: Option<String>,
}

impl Event {
    /// The number behind the colon of its id.
    #[track_caller]
    pub fn seq(&self) -> u64 {
        let id = self.id.as_deref().expect("an id");
        id.rsplit_once(':').and_then(|(_, seq)| seq.parse().ok()).expect("INSTANCE:SEQ")
    }
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

/// What a `GET` is answered, which must be 200.
#[track_caller]
pub fn get(socket: &Path, path: &str) -> Value {
    let reply = request(socket, "GET", path, &[], "");
    assert_eq!(reply.status, 200, "{path}");
    reply.json()
}

/// The problem that a reply is: of this status and code, with these words in what it says.
#[track_caller]
pub fn refused(reply: Reply, status: u16, code: &str, words: &str) -> Value {
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    let got = reply.status;
    let problem = reply.json();
    assert_eq!(got, status, "{problem}");
    assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{problem}");
    assert_eq!(problem["type"], "about:blank");
    assert!(problem["title"].is_string(), "{problem}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(words), "no `{words}` in {problem}");
    problem
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

/// A connection that is kept, for many requests one after the other.
#[derive(Debug)]
pub struct Client(BufReader<UnixStream>);

impl Client {
    /// Connects.
    #[track_caller]
    pub fn new(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("an agent listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self(BufReader::new(stream))
    }

    /// Status and body of one request.
    #[track_caller]
    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let kind = "content-type: application/json";
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{kind}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(text.as_bytes()).expect("it takes a request");
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a head");
            let line = line.trim_end().to_lowercase();
            if line.is_empty() {
                break;
            } else if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status =
                    rest.split(' ').next().and_then(|word| word.parse().ok()).expect("a status");
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the body");
        (status, String::from_utf8(body).expect("UTF-8"))
    }

    /// Makes this process a session, and ends it: two events.
    #[track_caller]
    pub fn come_and_go(&mut self) {
        let (status, body) = self.ask("POST", "/v1/sessions", "{}");
        assert_eq!(status, 201, "{body}");
        let row: Value = serde_json::from_str(&body).expect("JSON");
        let path = format!("/v1/sessions/{}", row["id"].as_str().expect("an id"));
        let (status, body) = self.ask("DELETE", &path, "");
        assert_eq!(status, 200, "{body}");
    }
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
        let text = self.text_line()?;
        Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
    }

    /// The next server-sent event of such a body; `None`: that was all.
    #[track_caller]
    pub fn event(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let line = self.text_line()?;
            if line.is_empty() {
                return Some(event);
            }
            let (field, value) = line.split_once(": ").expect("a field and its value");
            let before = match field {
                "id" => event.id.replace(value.to_owned()),
                "event" => Some(std::mem::replace(&mut event.name, value.to_owned())),
                "data" => {
                    event.data = serde_json::from_str(value).expect("data is JSON on one line");
                    None
                }
                "retry" => event.retry.replace(value.to_owned()),
                other => panic!("no field of an event: {other}"),
            };
            assert!(before.is_none_or(|before| before.is_empty()), "{field} twice");
        }
    }

    /// Events up to the first that `is_last`; that one is the last of them.
    #[track_caller]
    pub fn events_until(&mut self, is_last: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.event().unwrap_or_else(|| panic!("the end came first: {events:#?}"));
            let last = is_last(&event);
            events.push(event);
            if last {
                return events;
            }
        }
    }

    /// The connection, for what is not to be read as a reply.
    pub fn into_stream(self) -> UnixStream {
        self.from.into_inner()
    }

    #[track_caller]
    fn text_line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            match self.byte() {
                Some(b'\n') => break,
                Some(byte) => line.push(byte),
                None if line.is_empty() => return None,
                None => break,
            }
        }
        Some(String::from_utf8(line).expect("UTF-8"))
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
