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
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::words::short;
use super::{link, spawn};

/// So much later than its own clock should have had it answer, it is stopped or stuck.
const LATE: Duration = Duration::from_secs(5);
/// So long may they take to end all that they have started: shorter than an agent has to stop.
const ENDING: Duration = Duration::from_secs(3);

/// Those that live. An agent that goes waits for them, so that nothing is left when it is gone.
#[derive(Debug)]
pub(crate) struct Faces {
    lives: Lives,
    ended: mpsc::Receiver<()>,
}

/// Held for as long as one lives.
pub(crate) type Lives = mpsc::Sender<()>;

impl Faces {
    /// None yet.
    pub(crate) fn new() -> Self {
        let (lives, ended) = mpsc::channel(1);
        Self { lives, ended }
    }

    /// For one more.
    pub(crate) fn lives(&self) -> Lives {
        self.lives.clone()
    }

    /// Returns when all have ended; nobody may want an answer of theirs any more. Bounded.
    pub(crate) async fn end(self) {
        let Self { lives, mut ended } = self;
        drop(lives);
        // Nothing is ever sent: it is closed when the last one has let go.
        let _ = timeout(ENDING, ended.recv()).await;
    }
}

/// Asks once. `name` is for people who read `ps`.
pub(crate) async fn ask(name: &str, home: &Path, question: &Question, lives: Lives) -> FromShim {
    let bound = Duration::from_millis(question.timeout_ms).saturating_add(LATE);
    match timeout(bound, answer(name, home, question, lives)).await {
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
async fn answer(
    name: &str,
    home: &Path,
    question: &Question,
    lives: Lives,
) -> io::Result<Option<FromShim>> {
    let (ours, theirs) = Socket::pair()?;
    let child = execute(name, home, theirs)?;
    tokio::spawn(async move {
        spawn::reap(child).await;
        drop(lives);
    });
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
