//! What the holder of L writes into it: who it is, how far it has come.
//!
//! The lock says that somebody lives; the record says who. It is never believed without the lock,
//! so a record that a killed agent left behind misleads nobody: it is the trace of the last life.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hearth_process::{BootId, Liveness, ProcessId, StartTime, locked};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::{App, Home};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Pid, start time, boot and pid namespace.
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
    /// Where else it can be reached, as it says itself: `http://127.0.0.1:8080`.
    pub addresses: Vec<String>,
    /// See [`Record::fields`]; as JSON, which most who read a record don't look into.
    fields: Option<String>,
    /// How far it has come.
    pub stage: Stage,
    /// When it started: RFC 3339.
    pub started_at: String,
    /// What did not end in time when it stopped.
    pub hung: Vec<String>,
    /// How long its hooks may take when it stops, in milliseconds; 0: it does not say.
    pub shutdown_ms: u64,
    /// The soft limit of open files before it raised its own; `None`: unlimited, or an agent that did
    /// not say it.
    pub open_files: Option<u64>,
}

/// The record as it stands in the file: flat, and without a buffer for what is not understood, which would
/// bring all of serde into every verb.
#[derive(Serialize, Deserialize)]
struct OnDisk {
    pid: u32,
    start: Option<StartTime>,
    boot: BootId,
    pid_ns: u64,
    mount_ns: u64,
    hostname: String,
    instance: String,
    version: String,
    executable: PathBuf,
    socket: PathBuf,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fields: Option<Box<RawValue>>,
    stage: Stage,
    started_at: String,
    #[serde(default)]
    hung: Vec<String>,
    #[serde(default)]
    shutdown_ms: u64,
    #[serde(default)]
    open_files: Option<u64>,
}

impl From<OnDisk> for Record {
    fn from(disk: OnDisk) -> Self {
        let OnDisk { pid, start, boot, pid_ns, .. } = disk;
        Self {
            process: ProcessId { pid, start, boot, pid_ns },
            mount_ns: disk.mount_ns,
            hostname: disk.hostname,
            instance: disk.instance,
            version: disk.version,
            executable: disk.executable,
            socket: disk.socket,
            addresses: disk.addresses,
            fields: disk.fields.map(|fields| Box::<str>::from(fields).into_string()),
            stage: disk.stage,
            started_at: disk.started_at,
            hung: disk.hung,
            shutdown_ms: disk.shutdown_ms,
            open_files: disk.open_files,
        }
    }
}

impl From<&Record> for OnDisk {
    fn from(record: &Record) -> Self {
        let record = record.clone();
        let ProcessId { pid, start, boot, pid_ns } = record.process;
        Self {
            pid,
            start,
            boot,
            pid_ns,
            mount_ns: record.mount_ns,
            hostname: record.hostname,
            instance: record.instance,
            version: record.version,
            executable: record.executable,
            socket: record.socket,
            addresses: record.addresses,
            fields: record.fields.and_then(|fields| RawValue::from_string(fields).ok()),
            stage: record.stage,
            started_at: record.started_at,
            hung: record.hung,
            shutdown_ms: record.shutdown_ms,
            open_files: record.open_files,
        }
    }
}

/// What an app says of itself beside what every agent says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// See [`Record::addresses`].
    pub addresses: Vec<String>,
    /// See [`Record::fields`].
    pub fields: Map<String, Value>,
}

/// An app has more to say of itself than a record has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the app says of itself takes {bytes} bytes, and has room for {}", FACTS)]
pub struct TooLong {
    /// As JSON.
    pub bytes: usize,
}

impl TooLong {
    /// Stable, for programs: `too-long`.
    pub fn code(&self) -> &'static str {
        "too-long"
    }
}

/// Bytes of JSON that an app's own facts may take: the record has a fixed size, and its other half is
/// for paths.
pub const FACTS: usize = locked::CAPACITY / 2;

impl Facts {
    /// Whether there is room for them.
    pub(crate) fn check(&self) -> Result<(), TooLong> {
        let length = |it: serde_json::Result<String>| it.map_or(usize::MAX / 2, |text| text.len());
        let bytes = length(serde_json::to_string(&self.addresses))
            + length(serde_json::to_string(&self.fields));
        if bytes > FACTS { Err(TooLong { bytes }) } else { Ok(()) }
    }
}

impl Record {
    /// Of this process, that is about to be the agent.
    pub(crate) fn new(app: &App, home: &Home) -> Self {
        let mut instance = [0; 8];
        crate::random(&mut instance);
        Self {
            process: ProcessId::current(),
            mount_ns: hearth_process::facts::mount_namespace(),
            hostname: hearth_process::facts::hostname(),
            // Never the same for two starts, whatever the clock and the pids do.
            instance: format!("{:016x}", u64::from_ne_bytes(instance)),
            version: app.version.to_owned(),
            executable: std::env::current_exe().unwrap_or_default(),
            socket: home.socket(),
            addresses: Vec::new(),
            fields: None,
            stage: Stage::Starting,
            started_at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            hung: Vec::new(),
            shutdown_ms: 0,
            open_files: None,
        }
    }

    /// The same with what the app says of itself.
    pub(crate) fn tell(&mut self, facts: Facts) {
        self.addresses = facts.addresses;
        let fields = (!facts.fields.is_empty()).then(|| Value::Object(facts.fields).to_string());
        self.fields = fields;
    }

    /// Whatever else the app says of itself.
    pub fn fields(&self) -> Map<String, Value> {
        let fields = self.fields.as_deref().and_then(|text| serde_json::from_str(text).ok());
        fields.unwrap_or_default()
    }

    /// The record in L; `None` where there is none, or a torn one (its writer is just starting).
    pub(crate) fn read(lock: &Path) -> Option<Self> {
        match locked::read_path(lock) {
            Ok(locked::Record::Valid(bytes)) => {
                serde_json::from_slice::<OnDisk>(&bytes).ok().map(Self::from)
            }
            Ok(locked::Record::Empty | locked::Record::Torn) | Err(_) => None,
        }
    }

    pub(crate) fn write(&self, lock: &locked::LockedFile) -> io::Result<()> {
        lock.write(&serde_json::to_vec(&OnDisk::from(self))?)
    }

    /// Whether the process that it stands for lives, or nobody here can tell.
    pub(crate) fn lives(&self) -> bool {
        let living = self.process.living();
        matches!(living, Liveness::Living | Liveness::Unknown | Liveness::OtherWorld)
    }
}

/// Opens a lock file for locking; 0600, no symlink, made if it is not there.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    locked::LockedFile::open(path, true)
}
