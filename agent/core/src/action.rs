//! What the driver is to do. Actions carry no policy: each is one deed, done in the order given.

use crate::nouns::{ServiceId, State};

/// One deed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a shim for this life; never of a check, nor are the next three. Answered by `Started` or `StartFailed`.
    Spawn {
        /// Whose.
        id: ServiceId,
        /// The new life's number.
        life: u64,
    },
    /// Tell the shim to stop its service by the signal of its spec. May come before `Started`.
    Stop {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
    },
    /// SIGKILL to the whole tree.
    Kill {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
    },
    /// The exit was taken, the shim may go. After `StartFailed` too, where a shim may never have
    /// been.
    Acknowledge {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
    },
    /// Ask once and answer with `Probed`; an event-driven one answers when it comes true. Of a check
    /// too, which has no shim.
    Probe {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
        /// Index into [`crate::Definition::tests`].
        test: usize,
    },
    /// End every probe of this life; late answers are passed over.
    CancelProbes {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
    },
    /// Tell the shim that its service is ready (of a check never), so that an agent that adopts it knows.
    MarkReady {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
    },
    /// A state changed.
    Changed(Transition),
}

/// A change of state, for people and their tools. `from` and `to` are never the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whose.
    pub id: ServiceId,
    /// What was seen before.
    pub from: State,
    /// What is seen now.
    pub to: State,
    /// Why, in a few words.
    pub message: String,
}
