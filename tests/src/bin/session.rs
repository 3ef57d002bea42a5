//! A process that is a session, for the tests: it registers itself by the API, and asks for what it is
//! told to ask for.
//!
//! `session SOCKET BODY`: the body of its registration; what it is answered is a line on stdout, the
//! status and the body. Then, a line of stdin at a time: `METHOD PATH [BODY]` is answered likewise;
//! `send METHOD PATH [BODY]` is sent and not waited for; `fork` makes a child that lives on without
//! it, whose pid is the line. It ends with its stdin.

use std::io::{BufRead, Write};
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

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("somebody reads");
}
