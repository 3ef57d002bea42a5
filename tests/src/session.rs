//! A session of a test's own: a process that has registered itself by the API.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// The program `session` of this crate. Dropped, it is killed.
#[derive(Debug)]
pub struct Session {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// How its registration was answered.
    pub status: u16,
    /// What it was answered: a row, or a refusal.
    pub row: Value,
}

impl Session {
    /// Begins one with an agent. `program`: `env!("CARGO_BIN_EXE_session")`; `body`: that of the
    /// registration.
    #[track_caller]
    pub fn begin(program: &str, socket: &Path, body: Value) -> Self {
        Self::begin_as(program, socket, body, |_| {})
    }

    /// The same, with a command that is changed before.
    #[track_caller]
    pub fn begin_as(
        program: &str,
        socket: &Path,
        body: Value,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = Command::new(program);
        command.arg(socket).arg(body.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        change(&mut command);
        let mut child = command.spawn().expect("it runs");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut session = Self { child, stdin, stdout, status: 0, row: Value::Null };
        (session.status, session.row) = session.answer();
        session
    }

    /// Its name; the test fails if it has none.
    #[track_caller]
    pub fn id(&self) -> &str {
        self.row["id"].as_str().unwrap_or_else(|| panic!("not registered: {}", self.row))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it ask for something; status and body. An empty `body` is none.
    #[track_caller]
    pub fn asks(&mut self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.tell(&format!("{method} {path} {body}"));
        self.answer()
    }

    /// Has it send a request whose reply it does not wait for.
    #[track_caller]
    pub fn sends(&mut self, method: &str, path: &str, body: &str) {
        self.tell(&format!("send {method} {path} {body}"));
        assert_eq!(self.line(), "sent");
    }

    /// Has it make a child that goes on living when it has ended; its pid.
    #[track_caller]
    pub fn forks(&mut self) -> u32 {
        self.tell("fork");
        self.line().parse().expect("a pid")
    }

    /// Has it ask the agent to hand everything over to it, and fail; the agent ends it for that.
    #[track_caller]
    pub fn succeeds_and_fails(&mut self) {
        self.tell("succeed");
        let status = self.child.wait().expect("it is ours");
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
    }

    /// Kills it by SIGKILL; it is gone when this returns.
    pub fn kill(self) {
        drop(self);
    }

    #[track_caller]
    fn tell(&mut self, line: &str) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).expect("it reads");
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it answers");
        line.trim_end().to_owned()
    }

    #[track_caller]
    fn answer(&mut self) -> (u16, Value) {
        let line = self.line();
        let (status, body) = line.split_once(' ').unwrap_or((&line, ""));
        let status = status.parse().unwrap_or_else(|_| panic!("no answer: {line:?}"));
        // What comes in lines of its own is no one value.
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
