//! The agent's log as a tracing subscriber, for who brings none of his own.
//!
//! Kept true here: no line is on disk twice, and a reader of stderr that has gone away stops nobody.

use std::io;
use std::path::Path;

use rustix::fs::Stat;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt};

use super::{Agent, Mode};
use crate::BoundedLog;

impl Agent {
    /// Has all that is traced in this process written into the agent's log, of the size and level that
    /// its settings say; in the foreground to stderr, too. An agent that a verb has started has its stdout
    /// and stderr in that file, and they follow when it is rotated.
    ///
    /// Where the program has set a subscriber before, that one is used. Errors: the file can't be opened.
    pub fn write_log(&self) -> io::Result<()> {
        let (path, config) = (self.home.log(), &self.config.log);
        // launchd opens it for us: then stderr goes with it when it is rotated, and gets no line twice.
        let own = match self.mode {
            Mode::Inherited | Mode::Replacing => true,
            Mode::Foreground => stderr_is(&path),
            Mode::InProcess => false,
        };
        let log = BoundedLog::open(&path, config, own)?;
        let file = move || log.clone();
        let writer = match self.mode {
            Mode::Foreground if own => BoxMakeWriter::new(file),
            // A manager keeps what is written there: what went wrong belongs to what it says of its unit,
            // and every line of every day twice on the disk to nobody.
            Mode::Foreground if self.managed.is_managed => {
                BoxMakeWriter::new(file.and(io::stderr.with_max_level(tracing::Level::WARN)))
            }
            Mode::Foreground => BoxMakeWriter::new(file.and(io::stderr)),
            Mode::Inherited | Mode::Replacing | Mode::InProcess => BoxMakeWriter::new(file),
        };
        let level = tracing::Level::from(config.level);
        let logger =
            tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_target(false);
        // It would tell on stderr that a line could not be written, and panic where that is what broke:
        // `daemon run 2>&1 | head` must not end by its reader.
        let logger = logger.log_internal_errors(false);
        let _ = logger.with_writer(writer).try_init();
        Ok(())
    }
}

/// Whether stderr is that file.
fn stderr_is(path: &Path) -> bool {
    let which = |found: Stat| (found.st_dev, found.st_ino);
    let stderr = rustix::fs::fstat(io::stderr()).map(which);
    stderr.is_ok() && stderr == rustix::fs::stat(path).map(which)
}
