//! The record of one life, in a file that its shim holds locked for as long as it lives.
//!
//! Invariant: the end is in the record before anybody is told of it, so an exit code outlives
//! agent and shim. The lock, not the text, tells whether the shim lives.

use std::path::Path;

use hearth_process::ProcessId;
use hearth_process::locked::{self, LockedFile};
use serde::{Deserialize, Serialize};

use crate::frames::Exit;

/// What the record says, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the shim's frames.
    pub version: u32,
    /// The project's canonical path.
    pub project: String,
    /// The service's name.
    pub service: String,
    /// Which life of it this is.
    pub life: u64,
    /// The shim that wrote it.
    pub shim: ProcessId,
    /// The service's process, once it was started.
    pub leader: Option<ProcessId>,
    /// When it was started, in milliseconds since the Unix epoch.
    pub started_at: Option<u64>,
    /// Why it could not be started.
    #[serde(default)]
    pub failed: Option<String>,
    /// How the leader ended.
    pub exit: Option<Exit>,
    /// Nothing of its tree is left.
    pub emptied: bool,
    /// Inode numbers of the pipes that the service writes to: whoever is left of it when the shim
    /// was killed is found by them.
    #[serde(default)]
    pub pipes: Vec<u64>,
}

/// Longest reason of a failed start that is recorded, in bytes: the rest may be two paths.
const REASON: usize = 1024;

impl Record {
    /// Writes it into its file. Only the shim does.
    pub(crate) fn write(&self, file: &LockedFile) -> std::io::Result<()> {
        let cut = |reason: &String| {
            let end = reason.floor_char_boundary(REASON);
            reason[..end].to_string()
        };
        let record = Self { failed: self.failed.as_ref().map(cut), ..self.clone() };
        file.write(&serde_json::to_vec(&record)?)
    }

    /// Reads the record at `path`. None: there is none, or nothing whole in it.
    ///
    /// Whether its shim lives is told by [`hearth_process::locked::is_held`] alone.
    pub fn read(path: &Path) -> std::io::Result<Option<Self>> {
        match locked::read_path(path) {
            Ok(locked::Record::Valid(bytes)) => Ok(serde_json::from_slice(&bytes).ok()),
            Ok(locked::Record::Empty | locked::Record::Torn) => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
