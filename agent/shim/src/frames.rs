//! What an agent and a shim say to each other.
//!
//! On the wire a frame is a length (u32, little-endian) and that many bytes of JSON with a `type`.
//! Invariant: **frozen**. A newer agent must talk to an older shim, which may have started weeks
//! ago and can't be replaced without ending its service. So a type or field is only ever added,
//! with a default; who gets a type that it does not know passes it over; the tests hold recorded
//! bytes. Times are milliseconds since the Unix epoch.
//!
//! A connection starts with [`ToShim::Start`] (the first one, on the shim's stdin) or
//! [`ToShim::Hello`] (on its socket), and the answer to both is [`FromShim::State`], or
//! [`FromShim::Refused`] and the end. The newest `Hello` is the agent: older connections are closed.
//! Everything but the answer to a probe is in `State` too, so nothing that was told while no agent
//! listened is lost.

mod codec;

use std::collections::BTreeMap;
use std::path::PathBuf;

use hearth_process::{ProcessId, Signal};
use serde::{Deserialize, Serialize};

pub use codec::{Decoder, FrameError, MAX_FRAME, encode};

/// The version of these frames.
pub const VERSION: u32 = 1;

/// From the agent to a shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToShim {
    /// The only frame on the first connection that makes a service: start it.
    Start(Box<Spec>),
    /// I am the agent now.
    Hello {
        /// The agent's [`VERSION`].
        version: u32,
        /// Who it is, for the record of who spoke last.
        agent: ProcessId,
    },
    /// Send the spec's stop signal to whom the spec's stop names; told twice it does nothing more.
    Stop,
    /// Send any other signal; changes nothing in the shim's state.
    Signal {
        /// Which.
        signal: Signal,
        /// To whom.
        to: StopTo,
    },
    /// SIGKILL to the whole tree, again and again until it is empty.
    Kill,
    /// The service is ready; kept for an agent that adopts.
    MarkReady {
        /// Since when, in milliseconds since the Unix epoch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u64>,
    },
    /// Run a command beside the service and tell how it went.
    Probe {
        /// The agent's name for this run.
        id: u64,
        /// What to run, in the service's directory, environment and user.
        run: Run,
        /// After so long it is killed with all that it started.
        timeout_ms: u64,
    },
    /// End a probe; it is not answered.
    CancelProbe {
        /// The probe's name.
        id: u64,
    },
    /// The end of this life is on the agent's record: remove socket and record, and go. Told before
    /// the tree is empty it is done as soon as that is so.
    Acknowledge,
    /// The agent leaves on purpose; the service stays.
    Bye,
    /// Hold what comes with this frame, a descriptor (SCM_RIGHTS, with the frame's first byte), and
    /// let go of what was held before: what the agent knows of the project and may not be on disk.
    /// One with a lower number than what is held is closed, and nothing changes.
    Hold {
        /// The agent's number for it; a later one is newer.
        generation: u64,
    },
    /// Give back what you hold. May be asked without [`ToShim::Hello`], on a connection of its own,
    /// and is answered there by [`FromShim::Held`].
    GiveBack,
    /// A type of a later version.
    #[serde(other)]
    Unknown,
}

/// From a shim to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromShim {
    /// No life was begun and none will be: another shim has this service. The shim is gone.
    Refused {
        /// In words for people.
        reason: String,
    },
    /// All there is to know; the first frame on each connection.
    State(Box<State>),
    /// The service runs.
    Started {
        /// Its process.
        leader: ProcessId,
    },
    /// The service could not be started. There is no tree: [`ToShim::Acknowledge`] comes next.
    StartFailed {
        /// In words for people.
        reason: String,
    },
    /// The leader has ended, and the record says so. What is left of its tree is being ended.
    Exited {
        /// How.
        exit: Exit,
    },
    /// Nothing of the tree is left, and all that it wrote is in the log.
    Emptied,
    /// A probe has ended. Not repeated in `State`: a probe belongs to the agent that asked.
    Probed {
        /// The probe's name.
        id: u64,
        /// Its exit code; None where it was killed, cancelled or could not be run.
        code: Option<i32>,
        /// The last line of its output that is not empty, at most 512 bytes; the reason where it
        /// could not be run.
        last_line: String,
        /// It was killed because its time was over.
        timed_out: bool,
    },
    /// The service has said something by its notify socket: all that it last said.
    Notified {
        /// What.
        notify: Notify,
    },
    /// The answer to [`ToShim::GiveBack`].
    Held {
        /// Its number; the descriptor comes with the frame's first byte. None: nothing is held.
        ///
        /// All who hold it share one offset: it is to be read by pread(2), never by read(2).
        generation: Option<u64>,
    },
    /// A type of a later version.
    #[serde(other)]
    Unknown,
}

/// All that a shim knows of its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The shim's [`VERSION`].
    pub version: u32,
    /// The project's canonical path.
    pub project: String,
    /// The service's name.
    pub service: String,
    /// Which life of the service this is.
    pub life: u64,
    /// The shim itself.
    pub shim: ProcessId,
    /// The service's process, from its start on, also after its end.
    pub leader: Option<ProcessId>,
    /// When it was started.
    pub started_at: Option<u64>,
    /// What the agent asked to have kept.
    pub keep: String,
    /// The agent said that it was ready.
    pub ready: bool,
    /// Since when, as the agent said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<u64>,
    /// It was told to stop, by an agent or by SIGTERM to the shim.
    pub stopping: bool,
    /// Why it could not be started.
    #[serde(default)]
    pub failed: Option<String>,
    /// How the leader ended.
    pub exit: Option<Exit>,
    /// Nothing of its tree is left.
    pub emptied: bool,
    /// The number of what it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
    /// What the service last said by its notify socket.
    #[serde(default, skip_serializing_if = "Notify::is_empty")]
    pub notify: Notify,
}

/// The latest of each field that a service has told by `sd_notify(3)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// `READY=1` was said.
    #[serde(default)]
    pub ready: bool,
    /// `STOPPING=1` was said.
    #[serde(default)]
    pub stopping: bool,
    /// `STATUS=`, for people; at most 512 bytes.
    #[serde(default)]
    pub status: Option<String>,
}

impl Notify {
    /// Nothing was said yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How a leader ended. Exactly one of code and signal is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<Signal>,
    /// When the shim saw it, in milliseconds since the Unix epoch.
    pub at: u64,
    /// What it used, with the children that it reaped.
    #[serde(default)]
    pub usage: Usage,
}

/// What a process used (`getrusage(2)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in user mode, in microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, in microseconds.
    pub system_us: u64,
    /// The largest resident size of one process, in bytes.
    pub max_rss: u64,
}

/// All that a shim must know of the life that it begins: nothing is left to look up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The home, for `agent.lock`: its holder is never part of a service's tree.
    pub home: PathBuf,
    /// The shim's control socket (`ID.sock`); short enough to bind.
    pub socket_path: PathBuf,
    /// The shim's record (`ID.rec`); all others in its directory are those of other shims.
    pub record_path: PathBuf,
    /// The id from which those names are made.
    pub id: String,
    /// The project's canonical path.
    pub project: String,
    /// The service's name.
    pub service: String,
    /// Which life of it this is.
    pub life: u64,
    /// What to run.
    pub run: Run,
    /// Where, absolute.
    pub dir: PathBuf,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// As whom; only where the shim runs as root.
    pub user: Option<User>,
    /// The umask; None: the agent's.
    pub umask: Option<u32>,
    /// Limits by their name in lower case (`nofile`); those not named are the agent's.
    pub limits: BTreeMap<String, Limit>,
    /// How to stop it.
    pub stop: Stop,
    /// Directory of its log.
    pub log_dir: PathBuf,
    /// Size of its log.
    pub log: LogLimits,
    /// Given back in [`State`]; the shim does not look at it and never writes it to disk.
    pub keep: String,
    /// The service gets a `NOTIFY_SOCKET`, at this path; short enough to bind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_path: Option<PathBuf>,
    /// So long does the shim wait for [`ToShim::Acknowledge`]; then the record alone stays.
    #[serde(default = "ten_minutes")]
    pub acknowledge_within_ms: u64,
}

fn ten_minutes() -> u64 {
    600_000
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// A program, looked up in the `PATH` of the environment given, and its arguments.
    List(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

/// Whom to run as, looked up already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
}

/// A resource limit (`setrlimit(2)`); None: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What holds.
    pub soft: Option<u64>,
    /// Up to where the service may raise it.
    pub hard: Option<u64>,
}

/// How to stop a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// With which signal.
    pub signal: Signal,
    /// How long what got the signal may take.
    pub timeout_ms: u64,
    /// Who gets it.
    pub to: StopTo,
}

/// Who gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopTo {
    /// The service's process alone.
    Leader,
    /// Its process group.
    Group,
    /// All that it started, sessions of their own included (macOS: its process group).
    Tree,
}

/// How much log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// Largest size of a file, in bytes.
    pub max_size: u64,
    /// How many files.
    pub keep: u32,
}
