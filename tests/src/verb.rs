//! A verb that runs: its lines as they come, and how it ended.
//!
//! Invariant: nothing here waits for ever. A verb that hangs, or whose output somebody else holds
//! open, fails its test by name instead of stopping the suite.

use std::io::Read;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use hearth_process::Signal;
use serde_json::Value;

use crate::Ran;
use crate::home::send;

/// Longer than anything that a test waits for, on a machine that does other things too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A verb in the background.
#[derive(Debug)]
pub struct Verb {
    child: Child,
    bytes: Receiver<(Stream, Vec<u8>)>,
    stdout: String,
    stderr: String,
    read: usize,
    open: usize,
}

#[derive(Clone, Copy, Debug)]
enum Stream {
    Stdout,
    Stderr,
}

impl Verb {
    /// Takes over a child whose output, where it is piped, is to be kept.
    pub fn of(mut child: Child) -> Self {
        let (sender, bytes) = channel();
        let mut open = 0;
        let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
        let stderr = child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
        for (stream, pipe) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
            let Some(mut pipe) = pipe else { continue };
            let sender = sender.clone();
            open += 1;
            thread::spawn(move || {
                let mut buffer = [0; 8192];
                loop {
                    let got = pipe.read(&mut buffer).unwrap_or(0);
                    // The end of the stream is told as no bytes.
                    if sender.send((stream, buffer[..got].to_vec())).is_err() || got == 0 {
                        return;
                    }
                }
            });
        }
        Self { child, bytes, stdout: String::new(), stderr: String::new(), read: 0, open }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What Ctrl-C is to it alone.
    #[track_caller]
    pub fn interrupt(&self) {
        send(self.pid(), Signal::INT);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// The next line of its stdout, without its end; `None`: there is no more.
    #[track_caller]
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.stdout[self.read..].find('\n') {
                let line = self.stdout[self.read..self.read + end].to_owned();
                self.read += end + 1;
                return Some(line);
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Reads its JSON lines up to the first one that `is_it`.
    #[track_caller]
    pub fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        while let Some(line) = self.line() {
            let value: Value =
                serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            if is_it(&value) {
                return value;
            }
        }
        panic!("it never came\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
    }

    /// Reads on until a service comes to this state.
    #[track_caller]
    pub fn until_state(&mut self, service: &str, state: &str) -> Value {
        self.until(|line| line["service"] == service && line["to"] == state)
    }

    /// Reads on until each of these services has come to its state, in whatever order.
    #[track_caller]
    pub fn until_states(&mut self, states: &[(&str, &str)]) {
        let mut left = states.to_vec();
        while !left.is_empty() {
            let line = self.until(|line| line["type"] == "transition");
            left.retain(|(service, state)| line["service"] != *service || line["to"] != *state);
        }
    }

    /// Reads its stderr until it holds `text`.
    #[track_caller]
    pub fn until_stderr(&mut self, text: &str) {
        while !self.stderr.contains(text) {
            assert!(self.more(), "no `{text}` in stderr:\n{}", self.stderr);
        }
    }

    /// Waits for its end, and that of its output.
    #[track_caller]
    pub fn finish(mut self) -> Ran {
        let deadline = Instant::now() + PATIENCE;
        while self.more() {
            assert!(
                Instant::now() < deadline,
                "it goes on and on\n{}\n{}",
                self.stdout,
                self.stderr
            );
        }
        let status = self.child.wait().expect("it can be waited for");
        Ran {
            code: status.code(),
            stdout: std::mem::take(&mut self.stdout),
            stderr: std::mem::take(&mut self.stderr),
        }
    }

    #[track_caller]
    fn more(&mut self) -> bool {
        while self.open > 0 {
            match self.bytes.recv_timeout(PATIENCE) {
                Ok((_, bytes)) if bytes.is_empty() => self.open -= 1,
                Ok((Stream::Stdout, bytes)) => {
                    self.stdout.push_str(&String::from_utf8_lossy(&bytes));
                    return true;
                }
                Ok((Stream::Stderr, bytes)) => {
                    self.stderr.push_str(&String::from_utf8_lossy(&bytes));
                    return true;
                }
                Err(RecvTimeoutError::Disconnected) => self.open = 0,
                Err(RecvTimeoutError::Timeout) => {
                    let ended = matches!(self.child.try_wait(), Ok(Some(_)));
                    self.kill();
                    let what = if ended { "its output is held open" } else { "it hangs" };
                    panic!("{what}\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
                }
            }
        }
        false
    }
}

impl Drop for Verb {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
            let _ = self.child.wait();
        }
    }
}
