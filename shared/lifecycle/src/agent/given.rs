//! The listener that a service manager gives (socket activation, sd_listen_fds(3)).
//!
//! Invariant: it is the manager's. It is never bound, renamed, unlinked, published or shut down from
//! here; who is in its queue when an agent ends is the next agent's. Only where there will be none for
//! this verb, because this one may not serve, is the queue answered: with the reason.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use listenfd::ListenFd;

use crate::{App, Home, Problem, wait};

/// So many descriptors are looked at; more are no unit of ours.
const MOST: usize = 16;
/// Who is in the queue has asked already, or does at once.
const ASKING: Duration = Duration::from_millis(200);
/// All of them together get so long.
const REFUSING: Duration = Duration::from_secs(2);
/// A request's head and body, as far as they are read before they are refused.
const READ: usize = 64 * 1024;

/// Why what was given can't be used.
#[derive(Debug)]
pub(super) struct Elsewhere(pub(super) PathBuf);

/// Whether it listens. macOS cannot tell, and launchd gives no descriptors this way.
fn listens(listener: &UnixListener) -> bool {
    #[cfg(target_os = "macos")]
    let listens = listener.local_addr().is_ok();
    #[cfg(not(target_os = "macos"))]
    let listens = rustix::net::sockopt::socket_acceptconn(listener).unwrap_or(false);
    listens
}

/// What a manager has given.
#[derive(Debug, Default)]
pub(super) struct Given(Vec<UnixListener>);

impl Given {
    /// Takes what the environment announces, and makes it close on exec. `LISTEN_*` is for the process
    /// of `LISTEN_PID` alone: without that it is somebody else's.
    pub(super) fn take() -> Self {
        let number = |name| std::env::var(name).ok()?.parse::<usize>().ok();
        let ours = number("LISTEN_PID") == usize::try_from(std::process::id()).ok();
        if !ours || number("LISTEN_FDS").is_none_or(|count| count > MOST) {
            return Self::default();
        }
        let mut all = ListenFd::from_env();
        let listeners = (0..all.len()).filter_map(|n| all.take_unix_listener(n).ok().flatten());
        Self(listeners.filter(listens).collect())
    }

    /// Whether there is any.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the one that listens at the home's path. Errors: all of them listen elsewhere.
    pub(super) fn settle(&mut self, home: &Home) -> Result<(), Elsewhere> {
        let wanted = home.socket();
        let found = self.0.iter().position(|it| is_same_place(&path_of(it), &wanted));
        match (found, self.0.first()) {
            (Some(found), _) => {
                self.0 = vec![self.0.swap_remove(found)];
                Ok(())
            }
            (None, None) => Ok(()),
            (None, Some(first)) => Err(Elsewhere(path_of(first))),
        }
    }

    /// It, for serving.
    pub(super) fn listener(&self) -> Option<io::Result<UnixListener>> {
        let listener = self.0.first()?;
        Some(listener.set_nonblocking(true).and_then(|()| listener.try_clone()))
    }

    /// Answers everybody who waits with the reason why nobody will serve him.
    pub(super) fn refuse(&self, app: &App, code: &str, reason: &str, hint: &str) {
        let until = Instant::now() + REFUSING;
        let problem = Problem::new(503, code, reason, hint);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
             server: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            app.name,
            body.len()
        );
        let reply = [head.as_bytes(), &body].concat();
        for listener in &self.0 {
            let _ = listener.set_nonblocking(true);
            while Instant::now() < until {
                let Ok((stream, _)) = listener.accept() else { break };
                // Gone already: it asks nobody any more.
                let _ = answer(&stream, &reply);
            }
        }
    }
}

/// Reads what is asked, as far as it is there, so that closing resets nothing; then the reply.
fn answer(mut stream: &UnixStream, reply: &[u8]) -> io::Result<()> {
    if hearth_process::peer_uid(stream)? != crate::home::euid() {
        return Ok(());
    }
    let until = Instant::now() + ASKING;
    stream.set_nonblocking(true)?;
    let (mut asked, mut buffer) = (Vec::new(), [0; 4096]);
    while !asked.windows(4).any(|it| it == b"\r\n\r\n") && asked.len() < READ {
        if !wait::any_readable(&[stream.as_fd()], until)?[0] {
            break;
        }
        match stream.read(&mut buffer)? {
            0 => break,
            count => asked.extend_from_slice(&buffer[..count]),
        }
    }
    // What came in the same write is there by now.
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
    stream.write_all(reply)
}

fn path_of(listener: &UnixListener) -> PathBuf {
    let address = listener.local_addr().ok();
    address.and_then(|it| it.as_pathname().map(Path::to_owned)).unwrap_or_default()
}

/// Written otherwise it may be the same: a link on the way, two slashes.
fn is_same_place(given: &Path, ours: &Path) -> bool {
    let place = |path: &Path| {
        let directory = path.parent()?.canonicalize().ok()?;
        Some(directory.join(path.file_name()?))
    };
    given == ours || place(given).is_some_and(|it| Some(it) == place(ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::APP;

    #[test]
    fn who_is_in_the_queue_hears_why_and_nobody_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let given = Given(vec![UnixListener::bind(&path).unwrap()]);
        let asks = |what: &str| {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(what.as_bytes()).unwrap();
            stream
        };
        let two = "GET /v1/version HTTP/1.1\r\n\r\nGET /hello HTTP/1.1\r\n\r\n";
        let (verb, silent, gone) = (asks(two), asks(""), asks(two));
        drop(gone);
        given.refuse(&APP, "spawn-failed", "it is broken", "mend it");
        for mut stream in [verb, silent] {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
            let body = text.split_once("\r\n\r\n").unwrap().1;
            let problem: Problem = serde_json::from_str(body).unwrap();
            assert_eq!((problem.code.as_str(), problem.hint.as_str()), ("spawn-failed", "mend it"));
        }
        assert!(path.exists(), "it is the manager's");
    }

    #[test]
    fn a_path_through_a_link_is_the_same_and_another_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("real");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, directory.path().join("link")).unwrap();
        let through = directory.path().join("link/agent.sock");
        assert!(is_same_place(&through, &real.join("agent.sock")));
        assert!(!is_same_place(&through, &real.join("other.sock")));
        assert!(!is_same_place(Path::new(""), &real.join("agent.sock")));
    }
}
