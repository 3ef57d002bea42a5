//! Where the lines since a time begin.
//!
//! Invariant: it costs a number of reads that grows with the logarithm of the log's length, and what
//! is found is one stretch up to the log's end, because times in an index never go back.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use crate::{Line, Position, index, nanoseconds, place};

/// Which lines are since a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since {
    /// In nanoseconds since 1970.
    at: u64,
    /// Right behind the last chunk that is older; what is unindexed before that is older too.
    behind: Position,
}

impl Since {
    /// All lines are.
    pub(crate) const EVER: Since = Since { at: 0, behind: Position::START };

    /// Looks it up in the indexes of the log in `dir`; none: all lines are.
    pub(crate) fn of(dir: &Path, since: Option<SystemTime>) -> io::Result<Since> {
        let Some(since) = since else { return Ok(Since::EVER) };
        let at = nanoseconds(since);
        for file in place::numbers(dir)?.into_iter().rev() {
            let Ok(index) = File::open(place::index(dir, file)) else { continue };
            let newer = index::partition(&index, |record| record.at < at)?;
            let Some(older) = newer.checked_sub(1) else { continue };
            let Some(older) = index::record(&index, older)? else { continue };
            // How far its chunk came is told by the record after it, or by the file's end.
            let limit = match index::record(&index, newer)? {
                Some(next) => next.offset,
                None => place::length(dir, file)?,
            };
            return Ok(Since { at, behind: Position { file, offset: older.end().min(limit) } });
        }
        Ok(Since { at, behind: Position::START })
    }

    /// No line that began behind this place is older than the time.
    pub(crate) fn behind(&self) -> Position {
        self.behind
    }

    /// Whether a line of a known time is since; one of an unknown time is by its place.
    pub(crate) fn wants(&self, line: &Line) -> bool {
        line.at.is_none_or(|at| nanoseconds(at) >= self.at)
    }
}
