//! `agent.toml`: what a person may set of the agent itself.
//!
//! A faulty file is refused with line and caret. It is never ignored: an agent that runs with other
//! settings than its file says is a riddle.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "agent")]
mod file;

/// Settings of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// How long the agent stays with nothing to do.
    pub idle_timeout: Duration,
    /// How long all hooks together may take when it stops.
    pub shutdown_timeout: Duration,
    /// Its log.
    pub log: LogConfig,
}

/// Settings of the agent's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// What is written into it.
    pub level: Level,
    /// Bytes after which another file is begun.
    pub max_size: u64,
    /// Files that are kept, the one in use counted.
    pub keep: u32,
}

/// How much is logged: what is so bad, or worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What keeps the agent from its work.
    Error,
    /// What somebody should look at.
    Warn,
    /// What it does.
    Info,
    /// How it does it.
    Debug,
    /// Everything.
    Trace,
}

#[cfg(feature = "agent")]
impl From<Level> for tracing::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

impl AgentConfig {
    /// What holds where nobody says anything: ten minutes, five seconds, [`LogConfig::DEFAULT`].
    pub const DEFAULT: Self = Self {
        idle_timeout: Duration::from_secs(600),
        shutdown_timeout: Duration::from_secs(5),
        log: LogConfig::DEFAULT,
    };
}

impl LogConfig {
    /// What holds where nobody says anything: three files of 10 MB, of what is info and worse.
    pub const DEFAULT: Self = Self { level: Level::Info, max_size: 10_000_000, keep: 3 };
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why `agent.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is there, and cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says what cannot be understood.
    #[error("{}: {fault}", path.display())]
    Faulty {
        /// The file.
        path: PathBuf,
        /// Line, column, the text with a caret, and what was expected.
        fault: String,
    },
}

impl ConfigError {
    /// Stable, for programs: `bad-config`.
    pub fn code(&self) -> &'static str {
        "bad-config"
    }
}
