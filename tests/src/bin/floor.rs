//! The floor of the benchmarks: what any client of a Unix socket has to do, and nothing else.
//!
//! `floor SOCKET [PATH]` connects, writes the version probe and the request (`/v1/services`) in one write,
//! reads both replies to their ends by their content-length, and prints the second body. Std only; no
//! checks.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

const VERSION: &str = "GET /v1/version HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn main() -> io::Result<()> {
    let socket = std::env::args_os().nth(1).ok_or(io::ErrorKind::InvalidInput)?;
    let path = std::env::args().nth(2);
    let path = path.as_deref().unwrap_or("/v1/services");
    let requests = format!("{VERSION}GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(requests.as_bytes())?;
    let mut bytes = Vec::with_capacity(16 * 1024);
    let second = body_end(&mut stream, &mut bytes, 0)?;
    let end = body_end(&mut stream, &mut bytes, second.1)?;
    io::stdout().write_all(&bytes[end.0..end.1])
}

/// Reads on until the reply that begins at `start` is whole; where its body begins and ends.
fn body_end(
    stream: &mut UnixStream,
    bytes: &mut Vec<u8>,
    start: usize,
) -> io::Result<(usize, usize)> {
    loop {
        let text = &bytes[start..];
        if let Some(head) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = start + head + 4;
            let headers = String::from_utf8_lossy(&text[..head]).to_ascii_lowercase();
            let length = headers
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let end = body + length.unwrap_or(0usize);
            if bytes.len() >= end {
                return Ok((body, end));
            }
        }
        let old = bytes.len();
        bytes.resize(old + 8192, 0);
        let got = stream.read(&mut bytes[old..])?;
        bytes.truncate(old + got);
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
