//! Servers as they are met.

use super::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};

/// What is said of a server that does this with its one connection.
async fn said(
    body: Option<&str>,
    serve: impl FnOnce(std::net::TcpStream) + Send + 'static,
) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || serve(listener.accept().unwrap().0));
    let url = Http {
        host: "127.0.0.1".into(),
        port,
        path: "/x?y=1".into(),
        host_header: "here:1".into(),
    };
    let expected = Expected { status: (200, 399), body, within: Duration::from_secs(5) };
    let verdict = get(&url, &expected).await;
    thread.join().unwrap();
    verdict
}

/// Reads the request to its end, and answers so.
fn answer(text: &'static str) -> impl FnOnce(std::net::TcpStream) + Send {
    move |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(text.as_bytes());
    }
}

fn read_request(stream: &mut std::net::TcpStream) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with("\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
        text.push(char::from(byte[0]));
    }
    text
}

fn pass(words: &str) -> Verdict {
    Verdict::Pass(words.into())
}

fn fail(words: &str) -> Verdict {
    Verdict::Fail(words.into())
}

#[tokio::test]
async fn the_request_is_what_a_server_expects() {
    let verdict = said(None, |mut stream| {
        let request = read_request(&mut stream);
        assert!(request.starts_with("GET /x?y=1 HTTP/1.1\r\nhost: here:1\r\n"), "{request}");
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    });
    assert_eq!(verdict.await, pass("204 No Content"));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(said(None, answer(moved)).await, pass("302 Found"));
}

#[tokio::test]
async fn old_servers_and_such_as_close_without_a_length_are_understood() {
    let old = "HTTP/1.0 200 OK\r\n\r\nall is well";
    assert_eq!(said(Some("well$"), answer(old)).await, pass("200 OK"));
    let bare = "HTTP/1.1 200\r\n\r\n";
    assert_eq!(said(None, answer(bare)).await, pass("200"));
    let lines = "HTTP/1.0 200 OK\nserver: x\n\nwell";
    assert_eq!(said(Some("^well$"), answer(lines)).await, pass("200 OK"));
}

#[tokio::test]
async fn one_that_answers_before_it_has_read_is_heard() {
    for _ in 0..20 {
        let verdict = said(None, |mut stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let _ = stream.shutdown(Shutdown::Write);
        });
        assert_eq!(verdict.await, pass("200 OK"));
    }
}

#[tokio::test]
async fn what_announces_the_answer_is_none() {
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
                HTTP/1.1 503 Busy\r\n\r\n";
    assert_eq!(said(None, answer(text)).await, fail("answered 503 Busy, expected 200-399"));
    let verdict = said(
        None,
        |mut stream| {
            while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {}
        },
    );
    assert_eq!(verdict.await, fail("its headers do not end within 64 KiB"));
}

#[tokio::test]
async fn chunks_are_put_together() {
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                  3;a=b\r\nall\r\n5\r\n is w\r\n3\r\nell\r\n0\r\n\r\n";
    assert_eq!(said(Some("^all is well$"), answer(chunks)).await, pass("200 OK"));
    let wrong = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nhello\r\n";
    let words = "answered 200 OK, but its body is not in chunks, as its headers say";
    assert_eq!(said(Some("x"), answer(wrong)).await, fail(words));
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_said_to_be() {
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nready";
    let verdict = said(Some("ready"), answer(short)).await;
    assert_eq!(verdict, fail("answered 200 OK, but its body is cut off"));
}

#[tokio::test]
async fn a_body_without_end_is_looked_at_as_far_as_agreed() {
    for length in ["", "transfer-encoding: chunked\r\n", "content-length: 99999999999\r\n"] {
        let verdict = said(Some("never"), move |mut stream| {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n{length}\r\n");
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
            while stream.write_all(chunk.as_bytes()).is_ok() {}
        });
        let words = "answered 200 OK, but the first 1 MiB of its body, all that is looked at, \
                     does not match";
        assert_eq!(verdict.await, fail(words));
    }
}

#[tokio::test]
async fn headers_without_end_are_cut_off() {
    let verdict = said(None, |mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ");
        while stream.write_all(&[b'y'; 4096]).is_ok() {}
    });
    assert_eq!(verdict.await, fail("its headers do not end within 64 KiB"));
    let verdict = said(None, |mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"x: y\r\n").is_ok() {}
    });
    assert_eq!(verdict.await, fail("it has more than 256 headers"));
}

#[tokio::test]
async fn what_is_no_http_is_shown() {
    let verdict = said(None, answer("SSH-2.0-OpenSSH_9.2p1\r\n")).await;
    assert_eq!(verdict, fail("what answers is not HTTP: it says `SSH-2.0-OpenSSH_9.2p1`"));
    let verdict = said(None, |mut stream| stream.write_all(&[0x15, 3, 1, 0, 2, 2, 70]).unwrap());
    assert_eq!(verdict.await, fail("what answers is not HTTP: it says `F`"));
    let verdict = said(None, drop).await;
    assert!(
        matches!(&verdict, Verdict::Fail(words)
        if words.contains("without an answer") || words.contains("reset")),
        "{verdict:?}"
    );
}

#[tokio::test]
async fn one_that_never_answers_or_never_ends_is_cut_off_by_the_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = Http { host: "127.0.0.1".into(), port, path: "/".into(), host_header: "here".into() };
    let asked = |body| Expected { status: (200, 399), body, within: Duration::from_millis(50) };
    assert_eq!(get(&url, &asked(None)).await, fail("no answer within 50ms"));
    drop(listener.accept().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nready").unwrap();
        // Until the other side has given up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let words = "answered 200 OK, but its body did not end within 50ms";
    assert_eq!(get(&url, &asked(Some("ready"))).await, fail(words));
    thread.join().unwrap();
}
