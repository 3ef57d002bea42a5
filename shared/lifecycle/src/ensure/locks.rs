//! S and L: taking the one, testing the other under it, and waiting for whoever holds them.
//!
//! Every wait is one poll(2) over all that may end it: the lock, the directory in which the socket
//! appears, and the connection that is still open.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hearth_process::locked::{LockedFile, TryError};
use hearth_process::watch::DirWatch;

use super::{Attempt, SILENCE};
use crate::app::Sockets;
use crate::home::{Blocked, SOCKET};
use crate::record::{self, Record, Stage};
use crate::wait::{self, LockWait};
use crate::{App, CallError, Home};

/// An agent that was killed has let go of L within this.
const DYING: Duration = Duration::from_millis(30);

/// Between two looks at the socket where no watch can be had.
pub(super) const UNTOLD: Duration = Duration::from_millis(50);

impl Attempt<'_> {
    /// Takes S, or finds that the kept connection answers. False: neither by the deadline.
    pub(super) fn take_spawn_lock(&mut self) -> Result<bool, CallError> {
        let forbidden = self.may_not_start();
        let touched = || self.home.spawn_lock().exists() || self.home.agent_lock().exists();
        if forbidden && !touched() {
            // Nothing ever ran here: leave no trace. (`daemon run` makes L alone.)
            return Err(self.down());
        }
        self.home.prepare().map_err(|b| self.blocked(b))?;
        let path = self.home.spawn_lock();
        let cannot = |e: &io::Error| Blocked::io("open", &path, e);
        let file = record::open(&path).map_err(|e| self.blocked(cannot(&e)))?;
        match LockedFile::try_exclusive(file) {
            Ok(lock) => self.spawn_lock = Some(lock),
            Err((_, TryError::Unsupported(e))) => {
                return Err(self.blocked(no_flock(self.app, self.home, &e)));
            }
            Err((_, TryError::Os(e))) => return Err(self.blocked(Blocked::io("lock", &path, &e))),
            Err((file, TryError::Held)) => {
                let waiting = LockWait::begin(file).map_err(|e| self.blocked(cannot(&e)))?;
                return self.wait_for_spawn_lock(&waiting);
            }
        }
        Ok(true)
    }

    pub(super) fn wait_for_spawn_lock(&mut self, waiting: &LockWait) -> Result<bool, CallError> {
        let words = "another verb is starting the agent";
        let ready = {
            let mut fds = vec![waiting.as_fd()];
            fds.extend(self.open.as_ref().map(AsFd::as_fd));
            let named = self.named;
            let (ready, now_named) = self.poll(&fds, words, named);
            drop(fds);
            self.named = now_named;
            ready
        };
        if ready.get(1) == Some(&true) {
            return Ok(true);
        }
        if !ready[0] {
            return Ok(false);
        }
        let path = self.home.spawn_lock();
        match waiting.take() {
            Some(Ok(lock)) => self.spawn_lock = Some(lock),
            Some(Err(e)) => return Err(self.blocked(Blocked::io("lock", &path, &e))),
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Polls until the deadline; names the wait once it takes more than 500 ms.
    pub(super) fn poll(
        &self,
        fds: &[BorrowedFd<'_>],
        words: &str,
        named: bool,
    ) -> (Vec<bool>, bool) {
        self.poll_until(fds, words, named, self.deadline)
    }

    /// The same with another end.
    pub(super) fn poll_until(
        &self,
        fds: &[BorrowedFd<'_>],
        words: &str,
        named: bool,
        until: Instant,
    ) -> (Vec<bool>, bool) {
        let none = || vec![false; fds.len()];
        if !named {
            let soon = until.min(Instant::now() + SILENCE);
            let ready = wait::any_readable(fds, soon).unwrap_or_else(|_| none());
            if ready.contains(&true) || soon == until {
                return (ready, false);
            }
            if let Some(say) = self.options.on_wait {
                say(words);
            }
        }
        (wait::any_readable(fds, until).unwrap_or_else(|_| none()), true)
    }

    /// Tests L: an agent lives, and we wait for its next step; or none lives, and we start one.
    pub(super) fn under_spawn_lock(&mut self) -> Result<(), CallError> {
        let path = self.home.agent_lock();
        let held = hearth_process::locked::is_held(&path)
            .map_err(|e| self.blocked(Blocked::io("test the lock of", &path, &e)))?;
        if held { self.wait_on_agent() } else { self.start() }
    }

    /// Subscribes to whatever may end the wait on the agent; the caller looks once more after that.
    ///
    /// One that was just killed is gone in a moment, and that is awaited without a watch on the
    /// directory: the kernel takes 20 ms and more to close one.
    fn begin_wait(&mut self) -> Result<(), CallError> {
        let path = self.home.agent_lock();
        let cannot = |e: &io::Error| Blocked::io("lock", &path, e);
        let waiting = record::open(&path).and_then(LockWait::begin);
        let waiting = waiting.map_err(|e| self.blocked(cannot(&e)))?;
        let soon = self.deadline.min(Instant::now() + DYING);
        let free = wait::any_readable(&[waiting.as_fd()], soon);
        if free.is_ok_and(|free| free[0]) {
            // Let go of at once, and one is started the ordinary way.
            return Ok(());
        }
        // A user's watches may be used up (inotify(7)): then the wait does without.
        self.watch = DirWatch::names(&self.where_it_will_listen()).ok();
        self.agent_lock_wait = Some(waiting);
        Ok(())
    }

    /// In which directory the socket of the one that lives appears.
    fn where_it_will_listen(&self) -> PathBuf {
        let published = match self.app.sockets {
            Sockets::Home => None,
            Sockets::RuntimeDirectory => self.home.published_socket(),
        };
        let directory = published.as_deref().and_then(Path::parent);
        directory.unwrap_or(self.home.sockets()).to_owned()
    }

    /// Somebody holds L. Subscribes, looks once more, and only then waits.
    pub(super) fn wait_on_agent(&mut self) -> Result<(), CallError> {
        let Some(waiting) = &self.agent_lock_wait else { return self.begin_wait() };
        let words = self.what_it_does();
        let mut named = self.named;
        loop {
            let mut fds = vec![waiting.as_fd()];
            fds.extend(self.watch.as_ref().map(AsFd::as_fd));
            fds.extend(self.open.as_ref().map(AsFd::as_fd));
            let (ready, now_named) = match &self.watch {
                Some(_) => self.poll(&fds, &words, named),
                // Nothing tells that the socket has appeared: the one wait that looks again by time.
                None => {
                    let soon = self.deadline.min(Instant::now() + UNTOLD);
                    let ready = wait::any_readable(&fds, soon);
                    (ready.unwrap_or_else(|_| vec![false; fds.len()]), named)
                }
            };
            named = now_named;
            if ready[0] {
                // L is free: let go of it at once, and start one the ordinary way.
                self.wait_no_more();
                self.watch = None;
                break;
            }
            let Some(watch) = &self.watch else {
                if Instant::now() >= self.deadline {
                    return Err(self.judge_late());
                }
                break;
            };
            if ready.get(2) == Some(&true) {
                break;
            }
            if !ready[1] {
                return Err(self.judge_late());
            }
            let changes = watch.drain().unwrap_or_default();
            if changes.iter().any(|change| change.name.as_deref().is_none_or(|name| name == SOCKET))
            {
                break;
            }
        }
        self.named = named;
        Ok(())
    }

    /// What there is to wait for, by L's record.
    pub(super) fn what_it_does(&self) -> String {
        let Some(record) = Record::read(&self.home.agent_lock()) else {
            return "the agent is starting".to_owned();
        };
        let pid = record.process.pid;
        match record.stage {
            Stage::Starting => format!("the agent (pid {pid}) is starting"),
            Stage::Stopping | Stage::Stopped => format!("the agent (pid {pid}) is shutting down"),
            Stage::Running => format!("the agent (pid {pid}) does not answer"),
        }
    }

    /// Ends the wait on whoever held L. S is not to be given away with it: the lock might come later,
    /// to a verb that waits for S behind one that waits for L.
    pub(super) fn wait_no_more(&mut self) {
        self.agent_lock_wait = None;
    }
}

pub(crate) fn no_flock(app: &App, home: &Home, error: &io::Error) -> Blocked {
    Blocked::new(
        format!("the file system of {} cannot lock files: {error}", home.dir().display()),
        format!("name a home on a local file system with {}", app.var_name("HOME")),
    )
}
