//! Who needs the agent: processes that have said so, for as long as they live.
//!
//! Invariant: a session is one process by the kernel's word, and ends when that process does: at
//! once, and however it ends; and it is never taken for ended while it lives.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use hearth_process::{Peer, ProcessId};

use crate::Home;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `s-` and a few letters and digits; never given twice.
    pub id: Arc<str>,
    /// Its process.
    pub process: ProcessId,
    /// When it was registered.
    pub started_at: SystemTime,
    /// What it is, in one word.
    pub kind: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// Where it works.
    pub cwd: Option<PathBuf>,
}

/// What a process says of its session; of who it is the kernel tells.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Whose session it is; `None`: the peer's.
    pub pid: Option<i64>,
    /// What it is; `None`: `process`.
    pub kind: Option<String>,
    /// For people; `None`: the name of its command.
    pub name: Option<String>,
    /// Where it works; `None`: the process's current directory.
    pub cwd: Option<PathBuf>,
}

/// Why a session was not registered, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// What was asked for is no pid, or is too long.
    #[error("{0}")]
    Bad(String),
    /// It is not the caller's to register: neither the caller nor an ancestor of it, another user's,
    /// or nobody that can be seen from here.
    #[error("{0}")]
    Forbidden(String),
    /// It has ended meanwhile.
    #[error("{0}")]
    Gone(String),
}

/// The sessions of an agent. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Sessions(());

impl Sessions {
    /// Those of a home: what the last agent has left in `sessions.json` is read and looked at: who
    /// has died meanwhile is not among them any more. Nobody is watched before [`Sessions::watch`].
    pub fn open(_home: &Home) -> Self {
        Self(())
    }

    /// Registers a process. The same process again is the same session (and `true`); what is said of
    /// it then takes the place of what was said before.
    ///
    /// It is on disk when this returns.
    pub fn register(&self, _peer: &Peer, _ask: Ask) -> Result<(Session, bool), RegisterError> {
        Err(RegisterError::Bad("not yet".to_owned()))
    }

    /// Ends a session although its process lives on. `None`: there is none such.
    pub fn end(&self, _id: &str) -> Option<Session> {
        None
    }

    /// One that has not ended.
    pub fn get(&self, _id: &str) -> Option<Session> {
        None
    }

    /// All, oldest first.
    pub fn list(&self) -> Vec<Session> {
        Vec::new()
    }

    /// Those that a caller is in: its own process and its ancestors, the nearest first.
    pub fn mine(&self, _peer: &Peer) -> Vec<Session> {
        Vec::new()
    }

    /// Says what is to be done when one begins, or is said more of; errors are told in the log, and
    /// stop nobody. Called in the order in which things happen, before `register` returns.
    pub fn on_start(
        &self,
        _name: &str,
        _hook: impl Fn(&Session) -> Result<(), String> + Send + Sync + 'static,
    ) {
    }

    /// Says what is to be done when one has ended; called once for each, when it is in no list any
    /// more. It must not block: what takes its time is sent elsewhere.
    pub fn on_end(
        &self,
        _name: &str,
        _hook: impl Fn(&Session) -> Result<(), String> + Send + Sync + 'static,
    ) {
    }

    /// Watches over them, until it is dropped.
    pub async fn watch(&self) {
        std::future::pending().await
    }
}
