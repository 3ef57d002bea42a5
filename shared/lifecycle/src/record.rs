//! What the holder of L writes into it: who it is, how far it has come.
//!
//! The lock says that somebody lives; the record says who. It is never believed without the lock,
//! so a record that a killed agent left behind misleads nobody: it is the trace of the last life.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use hearth_process::{Liveness, ProcessId, locked};
use serde::{Deserialize, Serialize};

/// How far an agent has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Holds L, does not answer yet.
    Starting,
    /// Answers.
    Running,
    /// Ends; answers new requests with 503.
    Stopping,
    /// Has ended in order.
    Stopped,
}

/// L's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Pid, start time, boot and pid namespace.
    #[serde(flatten)]
    pub process: ProcessId,
    /// Inode of its mount namespace; 0 where there are none.
    pub mount_ns: u64,
    /// Its host: a home on a network file system may be held from elsewhere.
    pub hostname: String,
    /// Another one for each start.
    pub instance: String,
    /// Version of its build.
    pub version: String,
    /// The file that it executes.
    pub executable: PathBuf,
    /// Where it listens.
    pub socket: PathBuf,
    /// How far it has come.
    pub stage: Stage,
    /// When it started: RFC 3339.
    pub started_at: String,
    /// What did not end in time when it stopped.
    #[serde(default)]
    pub hung: Vec<String>,
    /// The soft limit of open files before it raised its own; `None`: unlimited, or an agent that did
    /// not say it.
    #[serde(default)]
    pub open_files: Option<u64>,
}

impl Record {
    /// The record in L; `None` where there is none, or a torn one (its writer is just starting).
    pub(crate) fn read(lock: &Path) -> Option<Self> {
        match locked::read_path(lock) {
            Ok(locked::Record::Valid(bytes)) => serde_json::from_slice(&bytes).ok(),
            Ok(locked::Record::Empty | locked::Record::Torn) | Err(_) => None,
        }
    }

    pub(crate) fn write(&self, lock: &locked::LockedFile) -> io::Result<()> {
        lock.write(&serde_json::to_vec(self)?)
    }

    /// Whether the process that it stands for lives, or nobody here can tell.
    pub(crate) fn lives(&self) -> bool {
        let living = self.process.living();
        matches!(living, Liveness::Living | Liveness::Unknown | Liveness::OtherWorld)
    }

    /// Whether it stands for a process that did not say that it had ended.
    pub fn is_unclean(&self) -> bool {
        self.stage != Stage::Stopped
    }
}

/// Opens a lock file for locking; 0600, no symlink, made if it is not there.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    locked::LockedFile::open(path, true)
}
