//! `agent.toml`: what a person may set of the agent itself.
//!
//! A faulty file is refused with line and caret. It is never ignored: an agent that runs with other
//! settings than its file says is a riddle.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// Settings of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// How long the agent stays with nothing to do.
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Duration,
    /// How long all hooks together may take when it stops.
    #[serde(deserialize_with = "duration")]
    pub shutdown_timeout: Duration,
    /// Its log.
    pub log: LogConfig,
}

/// Settings of the agent's log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    #[serde(deserialize_with = "level")]
    pub level: String,
    /// Bytes after which another file is begun.
    #[serde(deserialize_with = "size")]
    pub max_size: u64,
    /// Files that are kept, the one in use counted.
    pub keep: u32,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(600),
            shutdown_timeout: Duration::from_secs(5),
            log: LogConfig::default(),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), max_size: 10_000_000, keep: 3 }
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

impl AgentConfig {
    /// Reads the file; none there: the defaults.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        if fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe");
            return Err(ConfigError::Unreadable { path: path.into(), source });
        }
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(ConfigError::Unreadable { path: path.into(), source }),
        };
        toml::from_str(&text).map_err(|e| ConfigError::Faulty {
            path: path.into(),
            fault: e.to_string().trim_end().into(),
        })
    }
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map_err(|e| {
        de::Error::custom(format!(
            "`{text}`: {e}; expected a duration such as \"10m\", \"5s\" or \"500ms\""
        ))
    })
}

fn level<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match text.as_str() {
        "error" | "warn" | "info" | "debug" | "trace" => Ok(text),
        _ => {
            Err(de::Error::custom(format!("`{text}`: expected error, warn, info, debug or trace")))
        }
    }
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    const UNITS: [(&str, u64); 4] =
        [("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000), ("B", 1)];
    let text = String::deserialize(from)?;
    UNITS
        .iter()
        .find_map(|(unit, bytes)| {
            text.strip_suffix(unit)?.trim().parse::<u64>().ok()?.checked_mul(*bytes)
        })
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| {
            de::Error::custom(format!("`{text}`: expected a size such as \"10MB\" or \"512KB\""))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_shown_with_its_line_and_a_caret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        fs::write(&path, "shutdown_timeout = \"5s\"\nidle_timeout = 10\n").unwrap();
        let text = AgentConfig::load(&path).unwrap_err().to_string();
        assert!(text.contains("agent.toml"), "{text}");
        assert!(text.contains("line 2"), "{text}");
        assert!(text.contains('^'), "{text}");
        fs::write(&path, "idle = \"10m\"\n").unwrap();
        let text = AgentConfig::load(&path).unwrap_err().to_string();
        assert!(text.contains("unknown field `idle`"), "{text}");
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        assert_eq!(AgentConfig::load(&path).unwrap(), AgentConfig::default());
        fs::write(&path, "log = { max_size = \"2KB\" }").unwrap();
        let config = AgentConfig::load(&path).unwrap();
        assert_eq!(config.log, LogConfig { max_size: 2000, ..LogConfig::default() });
    }
}
