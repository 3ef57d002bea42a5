//! Following a log as it grows: across files and lives, and before there is one.
//!
//! Invariant: subscribe, then look. Whatever changes after the look makes the descriptor readable,
//! so nothing is polled and nothing is missed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::cursor::{Cursor, Progress};
use crate::since::Since;
use crate::watch::Watch;
use crate::{Extent, Line, Position, Reader, reader};

/// Bytes after which [`Follow::next`] gives out what it has.
const BUDGET: u64 = 256 * 1024;

/// Follows one service's log.
#[derive(Debug)]
pub struct Follow {
    dir: PathBuf,
    watch: Watch,
    cursor: Cursor,
    /// Lines that were found when this was made.
    first: Vec<Line>,
    /// Only this life's lines are given out.
    life: Option<u64>,
}

impl Follow {
    /// Follows the log in `dir` from `from` on ([`Position::START`], [`Reader::end`],
    /// [`Reader::start_of_life`]); the rest of a line in whose middle that is is left out. The
    /// directory need not be there, now or later.
    ///
    /// Errors: the kernel's, among them its limits on watches (inotify(7)) or descriptors. Where it
    /// has no inotify left, what comes is looked for five times a second.
    pub fn new(dir: impl Into<PathBuf>, from: Position) -> io::Result<Follow> {
        let dir = dir.into();
        let cursor = Cursor::new(&dir, from);
        Follow::with(dir, |_| Ok((cursor, Vec::new())), None)
    }

    /// Follows from the last `n` lines on; no line is missed or given twice between those and what
    /// comes later. A last line without a newline is not among the `n`: it comes when it has ended.
    pub fn last(dir: impl Into<PathBuf>, n: usize) -> io::Result<Follow> {
        Follow::after(dir, Extent { last: Some(n), since: None })
    }

    /// Follows from what is there of `extent` on, as [`Follow::last`] does. A time that is yet to
    /// come holds for what is written until then: it is left out.
    pub fn after(dir: impl Into<PathBuf>, extent: Extent) -> io::Result<Follow> {
        let start = |dir: &Path| {
            let since = Since::of(dir, extent.since)?;
            let start = reader::settled(dir, since.behind())?;
            let Some(n) = extent.last else {
                return Ok((Cursor::new(dir, start).since(since), Vec::new()));
            };
            let (cursor, lines) = reader::tail(dir, n, start, since, |_| true)?;
            Ok((cursor, lines.into()))
        };
        Follow::with(dir.into(), start, None)
    }

    /// Follows the lines of one life from its beginning, whether it has begun or is yet to come.
    pub fn of_life(dir: impl Into<PathBuf>, life: u64) -> io::Result<Follow> {
        let from = |dir: &Path| {
            let reader = Reader::open(dir);
            // The end first: what the life writes between the two is behind it.
            let end = reader.end()?;
            let from = reader.start_of_life(life)?.unwrap_or(end);
            Ok((Cursor::new(dir, from), Vec::new()))
        };
        Follow::with(dir.into(), from, Some(life))
    }

    fn with(
        dir: PathBuf,
        start: impl FnOnce(&Path) -> io::Result<(Cursor, Vec<Line>)>,
        life: Option<u64>,
    ) -> io::Result<Follow> {
        let mut watch = Watch::new()?;
        watch.arm(&dir, None)?;
        let (cursor, first) = start(&dir)?;
        Ok(Follow { dir, watch, cursor, first, life })
    }

    /// Lines that have ended since the last call, in the order in which they ended. Never blocks.
    ///
    /// Call it until it gives none, and only then wait for the descriptor: what it gives at a time
    /// is bounded. A line without a newline is held back until it ends: by a newline, with its life,
    /// by lost output, or piece by piece when it is longer than [`crate::MAX_LINE`].
    #[expect(clippy::should_implement_trait, reason = "no iterator: it goes on after an empty one")]
    pub fn next(&mut self) -> io::Result<Vec<Line>> {
        let mut lines = std::mem::take(&mut self.first);
        self.watch.drain()?;
        while lines.is_empty() {
            // Subscribe to the file we are in, then look; once more for each file we come into.
            let entered = self.cursor.entered();
            self.watch.arm(&self.dir, self.cursor.number())?;
            let life = self.life;
            let progress = self.cursor.advance(BUDGET, |line| {
                if life.is_none() || line.life == life {
                    lines.push(line);
                }
            })?;
            if progress == Progress::End && self.cursor.entered() == entered {
                break;
            }
        }
        Ok(lines)
    }

    /// Waits until something may have changed since the last [`Follow::next`], or for `timeout`;
    /// says whether it may have.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        loop {
            let mut fds = [PollFd::new(&self.watch, PollFlags::IN)];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Follow {
    /// Readable when something may have changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}
