//! Reading `agent.toml`: what it says, over what the app has set.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::{AgentConfig, ConfigError, Level, LogConfig};

/// The file; what is not there is not said.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    #[serde(deserialize_with = "duration")]
    idle_timeout: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    shutdown_timeout: Option<Duration>,
    log: Log,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Log {
    #[serde(deserialize_with = "level")]
    level: Option<Level>,
    #[serde(deserialize_with = "size")]
    max_size: Option<u64>,
    keep: Option<u32>,
}

impl AgentConfig {
    /// These settings with what the file says instead; none there: as they are.
    pub fn with_file(self, path: &Path) -> Result<Self, ConfigError> {
        if fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe");
            return Err(ConfigError::Unreadable { path: path.into(), source });
        }
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(self),
            Err(source) => return Err(ConfigError::Unreadable { path: path.into(), source }),
        };
        let file: File = toml::from_str(&text).map_err(|e| ConfigError::Faulty {
            path: path.into(),
            fault: e.to_string().trim_end().into(),
        })?;
        Ok(Self {
            idle_timeout: file.idle_timeout.unwrap_or(self.idle_timeout),
            shutdown_timeout: file.shutdown_timeout.unwrap_or(self.shutdown_timeout),
            log: LogConfig {
                level: file.log.level.unwrap_or(self.log.level),
                max_size: file.log.max_size.unwrap_or(self.log.max_size),
                keep: file.log.keep.unwrap_or(self.log.keep),
            },
        })
    }
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map(Some).map_err(|e| {
        de::Error::custom(format!(
            "`{text}`: {e}; expected a duration such as \"10m\", \"5s\" or \"500ms\""
        ))
    })
}

fn level<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Level>, D::Error> {
    let text = String::deserialize(from)?;
    Ok(Some(match text.as_str() {
        "error" => Level::Error,
        "warn" => Level::Warn,
        "info" => Level::Info,
        "debug" => Level::Debug,
        "trace" => Level::Trace,
        _ => {
            let expected = "expected error, warn, info, debug or trace";
            return Err(de::Error::custom(format!("`{text}`: {expected}")));
        }
    }))
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    const UNITS: [(&str, u64); 4] =
        [("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000), ("B", 1)];
    let text = String::deserialize(from)?;
    UNITS
        .iter()
        .find_map(|(unit, bytes)| {
            text.strip_suffix(unit)?.trim().parse::<u64>().ok()?.checked_mul(*bytes)
        })
        .filter(|bytes| *bytes > 0)
        .map(Some)
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
        let text = AgentConfig::DEFAULT.with_file(&path).unwrap_err().to_string();
        assert!(text.contains("agent.toml"), "{text}");
        assert!(text.contains("line 2"), "{text}");
        assert!(text.contains('^'), "{text}");
        fs::write(&path, "idle = \"10m\"\n").unwrap();
        let text = AgentConfig::DEFAULT.with_file(&path).unwrap_err().to_string();
        assert!(text.contains("unknown field `idle`"), "{text}");
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        assert_eq!(AgentConfig::DEFAULT.with_file(&path).unwrap(), AgentConfig::default());
        fs::write(&path, "log = { max_size = \"2KB\" }").unwrap();
        let config = AgentConfig::DEFAULT.with_file(&path).unwrap();
        assert_eq!(config.log, LogConfig { max_size: 2000, ..LogConfig::default() });
    }
}
