//! The `exec` of a check: one run of `hearth probe`, which ends with all that it started.
//!
//! Invariant: the connection is the wish to know. Dropped, because the check is no longer asked or the
//! agent is gone, it ends the command and everything below it; so nothing needs to be told or killed
//! from here.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hearth_shim::frames::{Decoder, FromShim, encode};
use hearth_shim::one_shot::Question;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::words::short;
use super::{link, spawn};

/// So much later than its own clock should have had it answer, it is stopped or stuck.
const LATE: Duration = Duration::from_secs(5);

/// Asks once. `name` is for people who read `ps`.
pub(crate) async fn ask(name: &str, home: &Path, question: &Question) -> FromShim {
    let bound = Duration::from_millis(question.timeout_ms).saturating_add(LATE);
    match timeout(bound, answer(name, home, question)).await {
        Ok(Ok(Some(answer))) => answer,
        Ok(Ok(None)) => not_run("its probe was killed".to_owned()),
        Ok(Err(error)) => not_run(format!("its probe could not be started: {}", short(&error))),
        Err(_) => FromShim::Probed { id: 0, code: None, last_line: String::new(), timed_out: true },
    }
}

fn not_run(last_line: String) -> FromShim {
    FromShim::Probed { id: 0, code: None, last_line, timed_out: false }
}

/// `None`: it ended without an answer.
async fn answer(name: &str, home: &Path, question: &Question) -> io::Result<Option<FromShim>> {
    let (ours, theirs) = Socket::pair()?;
    tokio::spawn(spawn::reap(execute(name, home, theirs)?));
    ours.set_nonblocking(true)?;
    let mut stream = UnixStream::from_std(ours)?;
    // An error here is one that died at once: there will be no answer either.
    let _ = stream.write_all(&encode(question)).await;
    let mut decoder = Decoder::new();
    loop {
        if let Some(answer) = decoder.next::<FromShim>().map_err(io::Error::other)? {
            return Ok(Some(answer));
        }
        stream.readable().await?;
        match link::read(&stream, &mut decoder) {
            Ok(true) => {}
            Ok(false) | Err(_) => return decoder.next().map_err(io::Error::other),
        }
    }
}

fn execute(name: &str, home: &Path, control: Socket) -> io::Result<Child> {
    let log = OpenOptions::new().append(true).open(home.join("agent.log"));
    let answers = control.try_clone()?;
    Command::new(spawn::executable())
        .arg0("hearth")
        .args(["probe", name])
        .current_dir("/")
        .stdin(OwnedFd::from(control))
        .stdout(OwnedFd::from(answers))
        .stderr(log.map_or_else(|_| Stdio::null(), Stdio::from))
        .spawn()
}
