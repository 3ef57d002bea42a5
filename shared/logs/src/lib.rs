//! The log store: one service's output on disk, written by its shims, read by everybody else.
//!
//! # Theory of operation
//!
//! A service's log is a directory of numbered files, `000000000001.log` and so on, which hold the
//! bytes as the service wrote them and nothing else (but hearth's own lines about lost output).
//! They are never renamed, so a reader that holds one open holds the same bytes for ever. Beside
//! each stands an index, `000000000001.idx`: a record of fixed size a chunk, which tells the chunk's
//! place, time, stream and life. Standard output and standard error share the files; a chunk of the
//! one may stand in the middle of the other's line, and it is the reader that puts the lines of each
//! stream together again.
//!
//! The one rule that everything rests on: **a chunk's record is written before its bytes**. A reader
//! that takes the length of the data first and reads the index second therefore knows the stream,
//! time and life of every byte it sees, without a lock and while the writer writes. A record whose
//! bytes never came (a killed shim, a full disk) is overruled by the next record, which begins at the
//! same place.
//!
//! There is one writer at a time: the shim of the living life; where that was killed, the agent may
//! [`note`] so.
//!
//! # What is since a time
//!
//! Times in an index never go back: a writer whose clock was set back goes on with the newest time
//! that the log has until the clock has caught up. So what is since a time is found by halving, and
//! is always one stretch up to the log's end. After a step back it may be more than was asked for,
//! never less. Bytes that no index tells of (somebody else's, or those of a crash of the machine) are
//! older than every record behind them, and that is all that is known: they are since a time unless
//! a record behind them is older than that. Who looks for what went wrong is shown too much rather
//! than too little.

mod compose;
mod cursor;
mod follow;
mod index;
mod merge;
mod place;
mod reader;
mod since;
mod watch;
mod writer;

use std::time::SystemTime;

pub use compose::MAX_LINE;
pub use follow::Follow;
pub use merge::{Merge, Next};
pub use place::dir;
pub use reader::{Lines, Reader};
#[cfg(target_os = "linux")]
pub use writer::SPLICED;
pub use writer::{Writer, note};

/// Which of its two outputs a service wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2; hearth's own lines in a log, about lost output, count as this one too.
    Stderr,
}

/// How much of a service's output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes a file holds at most, and as many its index; at least 256, a smaller figure counts as
    /// that.
    pub max_size: u64,
    /// How many files are kept, the one being written included; 0 counts as 1.
    pub keep: u32,
}

/// One line of output, or what there is of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When its last bytes were read from the service; `None` where no index tells.
    pub at: Option<SystemTime>,
    /// The life that wrote it; `None` where no index tells.
    pub life: Option<u64>,
    /// The output it was written to; `None` where no index tells.
    pub stream: Option<Stream>,
    /// The bytes as they were written, without the newline; no particular encoding.
    pub bytes: Vec<u8>,
    /// Whether a newline ended it. Not so: a last line still being written or never ended, a line
    /// cut off by lost output, and every piece but the last of one longer than [`MAX_LINE`].
    pub terminated: bool,
}

/// How much of what is there is wanted; by default all. Of what was asked for with both, the last
/// lines of those since that time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// So many lines at most: the last ones.
    pub last: Option<usize>,
    /// Only lines that ended at this time or later, and those of an unknown time that may have.
    pub since: Option<SystemTime>,
}

/// A place in a service's log. Places are ordered as the log is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Position {
    /// Number of the file.
    pub file: u64,
    /// Bytes from the file's beginning.
    pub offset: u64,
}

impl Position {
    /// The beginning of whatever is kept.
    pub const START: Position = Position { file: 0, offset: 0 };
}

/// The library's own clock format: nanoseconds since 1970, 0 before it; good until the year 2554.
fn nanoseconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
