//! Running a command, mostly of the service manager's, and not a moment longer than there is time.
//!
//! Invariant: what is run here is ended and reaped when this returns, whatever it does: a manager that
//! hangs holds no verb up, and leaves no process behind. Nothing polls: its output and its end are
//! descriptors.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use hearth_process::{ProcessHandle, ProcessId};

use crate::wait;

/// So much of each stream is kept; the rest is read and dropped.
const MOST: usize = 256 * 1024;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    /// Whether it says that all went well; a caller that ignores SIGCHLD is not told otherwise.
    pub(crate) success: bool,
    /// Its exit code; `None`: killed, or not told.
    pub(crate) code: Option<i32>,
    /// Its standard output; bad UTF-8 as U+FFFD.
    pub(crate) stdout: String,
    /// Its standard error, likewise.
    pub(crate) stderr: String,
}

/// Why a command has no end to tell of.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There is no such program.
    Absent,
    /// It was not through by the deadline, and was killed.
    Late,
    /// It could not be run.
    #[cfg_attr(
        not(feature = "units"),
        expect(dead_code, reason = "an agent does without the answer")
    )]
    Os(io::Error),
}

/// Runs `command`, which gets no standard input, until it has ended or `until`.
pub(crate) fn run(mut command: Command, until: Instant) -> Result<Ran, Trouble> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Trouble::Absent,
        _ => Trouble::Os(error),
    })?;
    let outcome = listen(&mut child, until);
    if !matches!(outcome, Ok(Some(_))) {
        let _ = child.kill();
    }
    // It has ended, or cannot but do so now.
    let status = child.wait();
    let [stdout, stderr] = outcome.map_err(Trouble::Os)?.ok_or(Trouble::Late)?;
    // ECHILD: our caller ignores SIGCHLD, and then the kernel reaps and tells nobody.
    let (success, code) = status.map_or((true, None), |status| (status.success(), status.code()));
    Ok(Ran { success, code, stdout, stderr })
}

/// What it has said by its end; `None`: it had not ended.
fn listen(child: &mut Child, until: Instant) -> io::Result<Option<[String; 2]>> {
    // Not reaped before this is dropped, so the pid cannot have been recycled.
    let id = ProcessId::of(child.id());
    let handle = id.and_then(|id| ProcessHandle::open(&id).map_err(io::Error::other)).ok();
    let mut streams = [
        child.stdout.take().map(|pipe| Stream::new(pipe.into())),
        child.stderr.take().map(|pipe| Stream::new(pipe.into())),
    ];
    loop {
        let mut fds: Vec<_> = handle.iter().map(AsFd::as_fd).collect();
        let first = fds.len();
        let open = |stream: &Option<Stream>| stream.as_ref().is_some_and(|stream| !stream.ended);
        let which: Vec<usize> = (0..2).filter(|which| open(&streams[*which])).collect();
        fds.extend(which.iter().filter_map(|which| streams[*which].as_ref()).map(AsFd::as_fd));
        if fds.is_empty() {
            // No handle, and both streams closed: it is at its end, or we have no way to tell.
            return Ok(Some(streams.map(|stream| stream.map_or(String::new(), Stream::text))));
        }
        let ready = wait::any_readable(&fds, until)?;
        drop(fds);
        if !ready.contains(&true) {
            return Ok(None);
        }
        for which in which {
            if let Some(stream) = &mut streams[which] {
                stream.drain()?;
            }
        }
        // Whoever else holds the pipes open is not waited for.
        if first == 1 && ready[0] {
            return Ok(Some(streams.map(|stream| stream.map_or(String::new(), Stream::text))));
        }
    }
}

/// One stream of it.
struct Stream {
    pipe: File,
    said: Vec<u8>,
    ended: bool,
}

impl Stream {
    fn new(pipe: OwnedFd) -> Self {
        // Else a reader waits for whoever holds the other end.
        let _ = rustix::io::ioctl_fionbio(&pipe, true);
        Self { pipe: pipe.into(), said: Vec::new(), ended: false }
    }

    /// Reads what is there.
    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        while !self.ended {
            match self.pipe.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(got) => {
                    let room = MOST.saturating_sub(self.said.len());
                    self.said.extend_from_slice(&buffer[..got.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn text(self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// A command that speaks English, whatever the person does.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C");
    command
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<Ran, Trouble> {
        let mut shell = command("sh");
        shell.args(["-c", script]);
        run(shell, Instant::now() + limit)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn what_it_says_and_how_it_ends_is_told() {
        let ran = sh("echo one; echo two >&2; exit 3", LONG).unwrap();
        let expected =
            Ran { success: false, code: Some(3), stdout: "one\n".into(), stderr: "two\n".into() };
        assert_eq!(ran, expected);
    }

    #[test]
    fn one_that_hangs_is_ended_and_reaped() {
        let directory = tempfile::tempdir().unwrap();
        let noted = directory.path().join("pid");
        let script = format!("echo $$ > {}; exec sleep 1000", noted.display());
        assert!(matches!(sh(&script, Duration::from_millis(300)), Err(Trouble::Late)));
        let pid: u32 = std::fs::read_to_string(noted).unwrap().trim().parse().unwrap();
        assert!(ProcessId::of(pid).is_err(), "not even a zombie is left");
    }

    #[test]
    fn who_holds_its_output_open_is_not_waited_for() {
        let began = Instant::now();
        let ran = sh("sleep 3 & echo $!", LONG).unwrap();
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        let pid = ran.stdout.trim().parse().unwrap();
        let handle = ProcessHandle::open(&ProcessId::of(pid).unwrap()).unwrap();
        handle.signal(hearth_process::Signal::KILL).unwrap();
    }

    #[test]
    fn more_than_anybody_reads_is_not_kept() {
        let ran = sh("head -c 1000000 /dev/zero; exit 0", LONG).unwrap();
        assert!(ran.success);
        assert_eq!(ran.stdout.len(), MOST);
    }

    #[test]
    fn a_program_that_is_not_there_is_absent() {
        let ran = run(command("/nowhere/systemctl"), Instant::now() + LONG);
        assert!(matches!(ran, Err(Trouble::Absent)), "{ran:?}");
    }
}
