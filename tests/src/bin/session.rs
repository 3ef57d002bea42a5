//! A process that is a session, for the tests: it registers itself by the API, and asks for what it is
//! told to ask for.
//!
//! `session SOCKET BODY`: the body of its registration; what it is answered is a line on stdout, the
//! status and the body. Then, a line of stdin at a time: `METHOD PATH [BODY]` is answered likewise;
//! `send METHOD PATH [BODY]` is sent and not waited for; `fork` makes a child that lives on without
//! it, whose pid is the line; `succeed` asks the agent to hand everything over, and then fails, for
//! which it is killed. It ends with its stdin.

use std::io::{BufRead, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use hearth_tests::http::{head, request};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(socket), Some(body)) = (arguments.next(), arguments.next()) else {
        panic!("session SOCKET BODY");
    };
    let socket = Path::new(&socket);
    ask(socket, &format!("POST /v1/sessions {body}"));
    // Kept open: who closes is done with it.
    let mut sent = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("stdin can be read");
        if line == "fork" {
            #[expect(clippy::zombie_processes, reason = "it is to outlive us")]
            let child = Command::new("sleep")
                .arg("1000")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("it runs");
            say(&child.id().to_string());
        } else if line == "succeed" {
            succeed(socket).expect("it is handed over");
        } else if let Some(line) = line.strip_prefix("send ") {
            let (method, path, body) = parts(line);
            let mut stream = UnixStream::connect(socket).expect("an agent listens");
            let text = head(method, path, &[], body) + body;
            stream.write_all(text.as_bytes()).expect("there is room");
            sent.push(stream);
            say("sent");
        } else {
            ask(socket, &line);
        }
    }
}

fn parts(line: &str) -> (&str, &str, &str) {
    let mut words = line.splitn(3, ' ');
    let mut next = || words.next().unwrap_or_default();
    (next(), next(), next())
}

fn ask(socket: &Path, line: &str) {
    let (method, path, body) = parts(line);
    let reply = request(socket, method, path, &[], body);
    let status = reply.status;
    say(&format!("{status} {}", reply.text().replace('\n', " ")));
}

/// A successor that is given everything and does not serve; what is lent to it is passed over.
fn succeed(socket: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    let upgrade = [("connection", "upgrade"), ("upgrade", "hearth-handover/1")];
    stream.write_all(head("POST", "/v1/replace", &upgrade, "").as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.extend(byte);
    }
    let mut from = stream.try_clone()?;
    let mut receive = || -> std::io::Result<String> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut text = vec![0; u32::from_le_bytes(length) as usize];
        from.read_exact(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    assert!(receive()?.contains("lent"));
    let prepared = b"{\"type\":\"prepared\"}";
    let length = u32::try_from(prepared.len()).expect("it is short").to_le_bytes();
    stream.write_all(&[&length[..], prepared].concat())?;
    while !receive()?.contains("yours") {}
    // Not what it is to say.
    stream.write_all(&[&length[..], prepared].concat())?;
    loop {
        std::thread::park();
    }
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("somebody reads");
}
