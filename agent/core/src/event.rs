//! What happens to the world: commands of people, news of shims, answers of probes, and time.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    definition::Definition,
    lease::Lease,
    nouns::{Exit, ServiceId, Want},
};

/// One thing that happened. News of a life other than the current one changes nothing.
#[derive(Clone, Debug)]
pub enum Event {
    /// These shall run, with all that they need. What changed is started anew, what is gone from
    /// the file is stopped, what failed is tried again.
    Up {
        /// The project's path.
        project: Arc<str>,
        /// Every service of the file.
        definitions: BTreeMap<Arc<str>, Definition>,
        /// Names; empty: all that are enabled. Unknown ones are passed over.
        targets: Vec<Arc<str>>,
    },
    /// These shall run for as long as this lease lasts, as by `Up` otherwise. A lease that is known
    /// already gets them besides; known as another session's, or in another project, nothing
    /// changes. One that holds nothing (yet, or any more) lasts until it is released all the same.
    Lease {
        /// Which, and whose.
        lease: Lease,
        /// The project's path.
        project: Arc<str>,
        /// Every service of the file.
        definitions: BTreeMap<Arc<str>, Definition>,
        /// Names; empty: all that are enabled, now. Unknown ones are passed over.
        targets: Vec<Arc<str>>,
    },
    /// These leases are over: what nobody else holds lingers for its time, and goes; what is not
    /// worth keeping, as it waits or has failed, goes at once. Unknown ones are passed over.
    Release {
        /// Their names.
        leases: Vec<Arc<str>>,
    },
    /// These shall not run, nor what needs them, whoever holds them: see [`crate::World::leased`].
    Down {
        /// `None`: every project.
        project: Option<Arc<str>>,
        /// Names; empty: all.
        targets: Vec<Arc<str>>,
    },
    /// These shall begin a new life; what is down is started.
    Restart {
        /// The project's path.
        project: Arc<str>,
        /// Every service of the file.
        definitions: BTreeMap<Arc<str>, Definition>,
        /// Names; empty: all that are enabled.
        targets: Vec<Arc<str>>,
        /// What holds those from now on that nobody holds; `None`: `up`. Where there is none of them, a
        /// lease that is not known is not taken.
        lease: Option<Lease>,
    },
    /// Its process runs.
    Started {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
        /// The leader's pid.
        pid: u32,
    },
    /// Its process could not be made; there is no tree. Nothing more comes of this life.
    StartFailed {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
        /// Why, for people.
        reason: String,
    },
    /// Its leader has ended; the tree may live on.
    Exited {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
        /// How.
        exit: Exit,
    },
    /// Its whole tree is gone.
    Emptied {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
    },
    /// Its shim is gone without a word, and so is what the driver could find of the tree.
    ShimLost {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
        /// When this was seen, as in [`Exit::at`]; how it ended nobody knows.
        at: String,
        /// Pids of its tree that could not be ended.
        left: Vec<u32>,
    },
    /// Its process can't be made, and trying again would not help: something must be asked for
    /// anew. Nothing more comes of this life.
    Unstartable {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
        /// The whole message.
        reason: String,
    },
    /// Of a life that was restored neither shim nor record is left.
    Missing {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
        /// When this was seen, as in [`Exit::at`].
        at: String,
    },
    /// A shim of an earlier agent lives and can't be spoken with (it is stopped, or of a kind that
    /// nobody knows): its service is shown, and nothing is done about it until it is heard of.
    Mute {
        /// Whose.
        id: ServiceId,
        /// What it is taken for where nothing is known of it.
        definition: Definition,
        /// Which life.
        life: u64,
        /// The leader's pid.
        pid: Option<u32>,
        /// What is the matter, for people.
        message: String,
    },
    /// All shims that answer were taken over; what was restored and has no process goes on, checks
    /// are asked anew.
    Settled,
    /// A probe's answer. Of a check too; a test of it that can't be asked at all says `Fail`.
    Probed {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
        /// Index into [`Definition::tests`].
        test: usize,
        /// What it said. An event-driven test may say it unasked, whenever it changes.
        verdict: Verdict,
    },
    /// A shim of an earlier agent was found, or the record of one that died and whose end comes
    /// next. Of a restored service the restored want and counts hold. Come before any command of its
    /// project. Where its tree
    /// is already empty, `Emptied` follows as it would from a shim of our own.
    Adopted {
        /// Whose.
        id: ServiceId,
        /// What it was started with; `None`: nobody knows, and what was restored holds. A service of
        /// which nothing at all is known can't be taken over.
        definition: Option<Definition>,
        /// Which life.
        life: u64,
        /// The leader's pid; `None` and no exit: it has not been started yet.
        pid: Option<u32>,
        /// How the leader ended, where it has.
        exit: Option<Exit>,
        /// Whether the shim was told that the service is ready (`MarkReady`).
        ready: bool,
        /// What was asked for. `Up` counts as named by `up`: who holds it is known again only
        /// after the next command, and nothing may go down for an agent's death.
        want: Want,
        /// As [`crate::NodeView::restarts`] had it.
        restarts: u32,
        /// Whether the shim was told to stop it.
        stopping: bool,
    },
    /// Time passed.
    Tick,
}

/// What a probe says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be used.
    Pass(String),
    /// It passes, where somebody else answered before the life began: it proves nothing before the
    /// life has lasted for a second, for a server that finds its port taken ends soon.
    Doubtful(String),
    /// It says itself that it is still at work; no failure.
    Loading(String),
    /// It may not be used, for this reason.
    Fail(String),
}

impl Verdict {
    /// The words for people.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Pass(message)
            | Self::Doubtful(message)
            | Self::Loading(message)
            | Self::Fail(message) => message,
        }
    }
}
