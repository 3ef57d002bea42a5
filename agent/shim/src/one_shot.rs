//! One probe without a service: `hearth probe PROJECT/CHECK`, for checks, which have no shim.
//!
//! Invariant: when it has answered, and also when it ends without, nothing is left of what it ran.
//! What to run comes as a frame on its standard input, a socket that the agent keeps open for as long
//! as it wants to know; that it is closed ends everything, so nothing outlives an agent that is
//! killed. The answer is one frame on its standard output.
//!
//! Known gap: of a face that is itself killed by SIGKILL the command goes on, until it ends by
//! itself.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hearth_process::tree as processes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::frames::{Decoder, FromShim, Limit, Run, encode};
use crate::probes::Probes;
use crate::reap;
use crate::signals::Signals;
use crate::start;
use crate::surroundings::{Given, Surroundings};
use crate::tree::Tree;

/// What is left is looked for again after this, should the kernel not tell of its end.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// So long is waited for what was killed: longer it takes only in the kernel's own trouble.
const GONE: Duration = Duration::from_secs(2);

/// What is to be run. Asked and answered by one and the same executable, so it is not frozen as the
/// frames of shims are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The home: its agent and their shims are never part of what is ended.
    pub home: PathBuf,
    /// The command.
    pub run: Run,
    /// Where, absolute.
    pub dir: PathBuf,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// File mode creation mask.
    pub umask: u32,
    /// Limits by their name in lower case (`nofile`).
    pub limits: BTreeMap<String, Limit>,
    /// After so long it is killed with all that it started.
    pub timeout_ms: u64,
}

/// The program `hearth probe PROJECT/CHECK`. Its arguments are only for people who read `ps`.
///
/// Exit codes: 0 answered ([`FromShim::Probed`]), 1 whoever asked does not want to know any more,
/// 2 called wrongly.
pub fn main() -> ! {
    let asked = start::inherit().and_then(|socket| {
        // Not the agent's: Ctrl-C at an agent in the foreground is the agent's to answer.
        let _ = rustix::process::setsid();
        processes::become_subreaper()?;
        let signals = Signals::install()?;
        Ok((read(&socket), socket, signals))
    });
    let code = match asked {
        Ok((Some(question), socket, signals)) => Asked::new(question, socket, signals).answer(),
        Ok((None, ..)) => 1,
        Err(error) => {
            eprintln!("hearth probe: {error} (it is started by hearth's agent, not by hand)");
            2
        }
    };
    std::process::exit(code)
}

fn read(mut socket: &UnixStream) -> Option<Question> {
    let mut decoder = Decoder::new();
    let mut bytes = [0; 4096];
    loop {
        match decoder.next() {
            Ok(Some(question)) => return Some(question),
            Ok(None) => {}
            Err(_) => return None,
        }
        match socket.read(&mut bytes) {
            Ok(0) => return None,
            Ok(count) => decoder.push(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

struct Asked {
    question: Question,
    socket: UnixStream,
    signals: Signals,
    tree: Tree,
    probes: Probes,
    answer: Option<FromShim>,
}

impl Asked {
    fn new(question: Question, socket: UnixStream, signals: Signals) -> Self {
        // All records in there are those of others.
        let tree = Tree::new(&question.home, &question.home.join("shims/none.rec"));
        Self { question, socket, signals, tree, probes: Probes::default(), answer: None }
    }

    fn answer(mut self) -> i32 {
        self.answer = self.begin();
        let mut wanted = true;
        while self.answer.is_none() && wanted {
            wanted = self.turn(self.probes.next_due());
            self.probes.end_late(Instant::now());
        }
        self.end_all();
        match self.answer.filter(|_| wanted) {
            Some(answer) => {
                let mut stdout = io::stdout();
                // Who does not read it does not want it.
                let _ = stdout.write_all(&encode(&answer)).and_then(|()| stdout.flush());
                0
            }
            None => 1,
        }
    }

    /// An answer now means that nothing was started.
    fn begin(&mut self) -> Option<FromShim> {
        let question = &self.question;
        let given = Given {
            dir: &question.dir,
            env: &question.env,
            user: None,
            umask: question.umask as libc::mode_t,
            limits: &question.limits,
            notifies: false,
        };
        let timeout = Duration::from_millis(question.timeout_ms);
        match Surroundings::new(&given) {
            Ok(surroundings) => self.probes.start(0, &question.run, timeout, &surroundings),
            Err(last_line) => {
                Some(FromShim::Probed { id: 0, code: None, last_line, timed_out: false })
            }
        }
    }

    /// Waits once. False: nobody wants to know any more.
    fn turn(&mut self, due: Option<Instant>) -> bool {
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let output = self.probes.open_pipes().next();
        let pid = output.map(|(pid, _)| pid);
        let input = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = vec![input(self.socket.as_fd()), input(self.signals.as_fd())];
        fds.extend(output.map(|(_, pipe)| input(pipe)));
        let woken = match poll(&mut fds, left.as_ref()) {
            Ok(_) => [0, 1, 2].map(|n| fds.get(n).is_some_and(|fd| !fd.revents().is_empty())),
            Err(rustix::io::Errno::INTR) => [false; 3],
            Err(_) => return false,
        };
        let [socket, signals, output] = woken;
        if let Some(pid) = pid.filter(|_| output) {
            self.probes.read(pid);
        }
        let mut term = false;
        if signals {
            term = self.signals.take().term;
            self.reap();
        }
        // Nothing more is ever said on it, so it can only be its end.
        !socket && !term
    }

    fn reap(&mut self) {
        while let Some(pid) = reap::ended_child() {
            match self.probes.ended(pid) {
                Some(answer) => self.answer = answer.or(self.answer.take()),
                None if reap::reap(pid).is_none() => break,
                None => {}
            }
        }
    }

    /// All that it has started, whether it answered in time or not: there is no service to which what
    /// it put into a session of its own could belong.
    fn end_all(&mut self) {
        self.probes.cancel(0);
        let until = Instant::now() + GONE;
        loop {
            let leader = self.probes.pids().first().copied().unwrap_or(0);
            let _ = self.tree.kill(leader, &[]);
            self.reap();
            let left = self.tree.members(leader, &[]).is_ok_and(|left| !left.is_empty());
            if !left || Instant::now() >= until {
                return;
            }
            let again = Timespec::try_from(LOOK_AGAIN).ok();
            let _ = poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], again.as_ref());
            let _ = self.signals.take();
        }
    }
}
