//! One GET for a readiness test: connect, send, look at the status and, if asked, at the body.
//!
//! Not hyper's client: that refuses what comes before its request is out, and says in the words of
//! its own workings what went wrong. Here a person is told what it was that answered.
//!
//! Invariant: whatever answers costs at most [`HEAD`] and [`BODY`] bytes of memory, its own time and
//! nothing else: nothing is followed, kept or tried again.

use std::io;
use std::time::Duration;

use hearth_config::Http;
use hearth_core::Verdict;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::body::Body;
use super::connect::connect;
use super::words::{short, shown};
use super::{aside, probe};

/// So much of a body is looked at.
pub(super) const BODY: usize = 1 << 20;
/// So long may what comes before the body be, all answers of the kind "go on" included.
const HEAD: usize = 64 << 10;
/// So many headers may it have.
const HEADERS: usize = 256;
/// Read at a time.
const PORTION: usize = 16 << 10;

/// What the answer must be.
pub(crate) struct Expected<'a> {
    /// First and last status that passes.
    pub(crate) status: (u16, u16),
    /// A pattern to be found in the body.
    pub(crate) body: Option<&'a str>,
    /// How long all of it may take.
    pub(crate) within: Duration,
}

/// Asks once. Dropped, it closes its connection.
pub(crate) async fn get(url: &Http, expected: &Expected<'_>) -> Verdict {
    let due = Instant::now() + expected.within;
    let answered = async {
        let mut stream =
            connect(&url.host, url.port).await.map_err(|words| format!("{}: {words}", at(url)))?;
        // One that answers before it has read may be gone by now; what it said is to be read yet.
        let sent = stream.write_all(request(url).as_bytes()).await;
        head(&mut stream, sent.err()).await.map(|head| (stream, head))
    };
    let (stream, (head, rest)) = match timeout_at(due, answered).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(words)) => return Verdict::Fail(words),
        Err(_) => return Verdict::Fail(probe::no_answer(expected.within)),
    };
    let (first, last) = expected.status;
    if !(first..=last).contains(&head.status) {
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        return Verdict::Fail(format!("answered {}, expected {range}", head.words()));
    }
    match expected.body {
        None => Verdict::Pass(head.words()),
        Some(pattern) => match timeout_at(due, body(stream, &head, rest, pattern)).await {
            Ok(verdict) => verdict,
            Err(_) => {
                let within = humantime::format_duration(expected.within);
                let words = head.words();
                Verdict::Fail(format!("answered {words}, but its body did not end within {within}"))
            }
        },
    }
}

fn at(url: &Http) -> String {
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    format!("{host}:{}", url.port)
}

fn request(url: &Http) -> String {
    let (path, host, version) = (&url.path, &url.host_header, env!("CARGO_PKG_VERSION"));
    format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: hearth/{version}\r\naccept: */*\r\n\
         connection: close\r\n\r\n"
    )
}

/// What stands before a body.
pub(super) struct Head {
    pub(super) status: u16,
    reason: String,
    pub(super) chunked: bool,
    pub(super) length: Option<u64>,
}

impl Head {
    /// `200 OK`.
    fn words(&self) -> String {
        format!("{} {}", self.status, self.reason).trim_end().to_owned()
    }
}

/// Reads the answer's head; also what came behind it. `lost`: why the request could not be sent.
async fn head(stream: &mut TcpStream, lost: Option<io::Error>) -> Result<(Head, Vec<u8>), String> {
    let mut bytes = Vec::new();
    let mut seen = 0;
    loop {
        let before = bytes.len();
        bytes.reserve(PORTION);
        let read = stream.read_buf(&mut bytes).await;
        if let Err(error) = &read {
            return Err(cut_off(&bytes, lost.as_ref().unwrap_or(error)));
        }
        let ended = bytes.len() == before;
        // "100 Continue" and its like announce the answer, and are none (RFC 9110, 15.2).
        while let Some((head, length)) = parse(&bytes)? {
            seen += length;
            bytes.drain(..length);
            if head.status >= 200 || head.status == 101 {
                return Ok((head, bytes));
            }
        }
        if ended {
            return Err(match (&lost, bytes.is_empty()) {
                (Some(error), true) => short(error),
                (None, true) => "closed the connection without an answer".to_owned(),
                (_, false) => "closed the connection in the middle of its headers".to_owned(),
            });
        }
        if seen + bytes.len() > HEAD {
            return Err(format!("its headers do not end within {} KiB", HEAD >> 10));
        }
    }
}

fn cut_off(bytes: &[u8], error: &io::Error) -> String {
    match bytes.is_empty() {
        true => short(error),
        false => format!("{} in the middle of its headers", short(error)),
    }
}

/// The head and how long it is; `None`: it has not ended yet.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let length = match answer.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(format!("it has more than {HEADERS} headers"));
        }
        Err(_) if bytes.starts_with(b"HTTP/") => {
            return Err(format!("its headers are not HTTP: {}", first_line(bytes)));
        }
        Err(_) => return Err(format!("what answers is not HTTP: {}", first_line(bytes))),
    };
    let mut head = Head {
        status: answer.code.unwrap_or_default(),
        reason: shown(answer.reason.unwrap_or_default().as_bytes()),
        chunked: false,
        length: None,
    };
    for header in answer.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.to_ascii_lowercase().ends_with("chunked");
        } else if header.name.eq_ignore_ascii_case("content-length") {
            head.length = value.parse().ok();
        }
    }
    Ok(Some((head, length)))
}

fn first_line(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    format!("it says `{}`", shown(line))
}

/// Reads the body as far as it is looked at, and searches it.
async fn body(mut stream: TcpStream, head: &Head, rest: Vec<u8>, pattern: &str) -> Verdict {
    let words = head.words();
    let pattern = match hearth_config::pattern::compile(pattern) {
        Ok(pattern) => pattern,
        Err(refusal) => return Verdict::Fail(refusal.to_string()),
    };
    let mut body = Body::new(head);
    let mut portion = rest;
    loop {
        if let Err(why) = body.push(&portion) {
            return Verdict::Fail(format!("answered {words}, but its body {why}"));
        }
        if body.is_complete() {
            break;
        }
        portion.clear();
        portion.reserve(PORTION);
        match stream.read_buf(&mut portion).await {
            Ok(0) if body.may_end_here() => break,
            Ok(0) => return Verdict::Fail(format!("answered {words}, but its body is cut off")),
            Ok(_) => {}
            Err(error) => {
                let error = short(&error);
                return Verdict::Fail(format!(
                    "answered {words}, but its body is cut off: {error}"
                ));
            }
        }
    }
    let (text, cut) = body.into_text();
    match aside::search_body(move || pattern.is_match(&text)).await {
        Ok(true) => Verdict::Pass(words),
        Ok(false) if cut => Verdict::Fail(format!(
            "answered {words}, but the first {} MiB of its body, all that is looked at, does not match",
            BODY >> 20
        )),
        Ok(false) => Verdict::Fail(format!("answered {words}, but the body does not match")),
        Err(error) => Verdict::Fail(error.to_string()),
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
