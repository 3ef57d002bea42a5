//! Who needs the agent: processes that have said so, for as long as they live.
//!
//! Invariant: a session is one process by the kernel's word, and ends when that process does: at
//! once, and however it ends; and it is never taken for ended while it lives.
//!
//! # Theory of operation
//!
//! All ends are awaited by one descriptor ([`hearth_process::Ends`]), whatever their number. What it
//! cannot take, because a limit is reached, is looked at every five seconds, for only as long as there
//! is such a session. `sessions.json` is a journal in the home: a registration is in it before it is
//! answered, and an end as soon as it is seen. What it has is only what is to be looked at anew: the
//! next agent asks the kernel about each.
//!
//! When an agent hands over, its successor opens the journal after the old one was frozen, and writes a
//! file of its own in its place. The old one may still see an end: it finds another file than its own
//! and writes nothing, and whatever it has written before the successor read it was true. An end that
//! only the old one saw is seen by the new one too, which asks the kernel about everybody.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

pub use hearth_process::Peer;
use hearth_process::{Ends, OpenError, ProcessId};
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::Notify;
use tracing::warn;

use crate::Home;
use crate::agent::{BusyGuard, Handle};
use hooks::Hooks;
use table::Table;

mod hooks;
mod journal;
mod table;
mod watch;
mod who;

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
    /// Where it works; UTF-8.
    pub cwd: Option<PathBuf>,
}

/// What a process says of its session; of who it is the kernel tells.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ask {
    /// Whose session it is; `None`: the peer's. A number of the peer's own pid namespace.
    pub pid: Option<i64>,
    /// What it is; `None`: `process`. At most 32 bytes.
    pub kind: Option<String>,
    /// For people; `None`: the name of its command. At most 128 bytes.
    pub name: Option<String>,
    /// Where it works; `None`: the process's current directory. Absolute, at most 4096 bytes.
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

impl From<RegisterError> for crate::Problem {
    /// 400 for what is no session, 403 for one that is not the caller's.
    fn from(error: RegisterError) -> Self {
        let status = if matches!(error, RegisterError::Bad(_)) { 400 } else { 403 };
        let code = if status == 400 { "bad-request" } else { "forbidden" };
        let hint = "a process registers itself, or one that it was started by";
        Self::new(status, code, error.to_string(), if status == 400 { "" } else { hint })
    }
}

impl Serialize for Session {
    /// `{id, pid, started_at, kind, name, cwd}`, the time as RFC 3339.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let at = humantime::format_rfc3339_millis(self.started_at).to_string();
        serde_json::json!({
            "id": &*self.id, "pid": self.process.pid, "started_at": at, "kind": &*self.kind,
            "name": &*self.name, "cwd": self.cwd,
        })
        .serialize(serializer)
    }
}

impl RegisterError {
    /// Stable, for programs: `bad-request`, `forbidden`, `gone`.
    pub fn code(&self) -> &'static str {
        match self {
            RegisterError::Bad(_) => "bad-request",
            RegisterError::Forbidden(_) => "forbidden",
            RegisterError::Gone(_) => "gone",
        }
    }
}

/// The sessions of an agent. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None`: the system has refused it, and everybody is looked at every five seconds.
    ends: Option<Arc<Ends>>,
    // A std mutex is right: it is held for a look, and for a line to the page cache, never across an
    // await, and never while a hook runs.
    table: Mutex<Table>,
    hooks: Hooks,
    /// There is something to be done again and again.
    stirred: Notify,
    /// Whom sessions keep from exiting for idleness, and whether there are any.
    kept: Mutex<Option<(Handle, Option<BusyGuard>)>>,
}

impl Sessions {
    /// Those of a home: what the last agent has left in `sessions.json` is read and looked at: who
    /// has died meanwhile is not among them any more. Nobody is watched before [`Sessions::watch`].
    ///
    /// A journal that is damaged, or of a newer version, is set aside and told in the log.
    pub fn open(home: &Home) -> Self {
        let ends = Ends::new()
            .inspect_err(|error| warn!(%error, "cannot be told of the ends of sessions"))
            .ok()
            .map(Arc::new);
        let table = Table::open(&home.sessions(), ends.as_deref());
        Self(Arc::new(Inner {
            ends,
            table: Mutex::new(table),
            hooks: Hooks::default(),
            stirred: Notify::new(),
            kept: Mutex::new(None),
        }))
    }

    /// Keeps the agent from exiting for idleness for as long as there are any. What sessions hold beside
    /// that is for hooks.
    pub fn keep_busy(&self, handle: &Handle) {
        *self.0.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((handle.clone(), None));
        self.hold();
    }

    fn hold(&self) {
        let any = !self.table().entries.is_empty();
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((handle, guard)) = &mut *kept
            && any != guard.is_some()
        {
            *guard = any.then(|| handle.busy());
        }
    }

    /// Registers a process. The same process again is the same session (and `true`); what is said of
    /// it then takes the place of what was said before, and what is not said stays.
    ///
    /// It is on disk when this returns (in the page cache, which outlives every process); where the
    /// disk is full, that is told in the log and tried again.
    pub fn register(&self, peer: &Peer, ask: Ask) -> Result<(Session, bool), RegisterError> {
        let who = who::resolve(peer, ask)?;
        let mut table = self.table();
        let registered = table.register(who, self.0.ends.as_deref()).map_err(not_begun);
        self.stir(&table);
        drop(table);
        // Although it may have been refused: the one before it may have ended by that.
        self.tell();
        registered
    }

    /// Ends a session although its process lives on. `None`: there is none such.
    pub fn end(&self, id: &str) -> Option<Session> {
        let mut table = self.table();
        let token = table.token(id)?;
        let session = table.entries.get(&token)?.clone();
        table.end(&[token]);
        self.stir(&table);
        drop(table);
        if let Some(ends) = &self.0.ends {
            ends.remove(token);
        }
        self.tell();
        Some(session)
    }

    /// One that has not ended.
    pub fn get(&self, id: &str) -> Option<Session> {
        let table = self.table();
        table.entries.get(&table.token(id)?).cloned()
    }

    /// All, oldest first.
    pub fn list(&self) -> Vec<Session> {
        self.table().entries.values().cloned().collect()
    }

    /// Those that a caller is in: its own process and its ancestors, the nearest first.
    pub fn mine(&self, peer: &Peer) -> Vec<Session> {
        if self.table().entries.is_empty() {
            return Vec::new();
        }
        let line = who::line(peer).unwrap_or_default();
        let table = self.table();
        line.iter().filter_map(|kin| table.of(&kin.id)).cloned().collect()
    }

    /// Says what is to be done when one begins, or is said more of; errors are told in the log, and
    /// stop nobody. Called in the order in which things happen, before `register` returns. Nothing is
    /// said of those that [`Sessions::open`] has found.
    pub fn on_start(
        &self,
        name: &str,
        hook: impl Fn(&Session) -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.0.hooks.on_start(name, Box::new(hook));
    }

    /// Says what is to be done when one has ended; called once for each, when it is in no list any
    /// more. It must not block: what takes its time is sent elsewhere.
    pub fn on_end(
        &self,
        name: &str,
        hook: impl Fn(&Session) -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.0.hooks.on_end(name, Box::new(hook));
    }

    /// Watches over them, until it is dropped. One at a time, on a tokio runtime with I/O and time.
    ///
    /// A session that nobody watches over yet does not end; its end is told when somebody does.
    pub async fn watch(&self) {
        watch::watch(self).await;
    }

    /// Who watches over them hears of it where there is something to be tried again.
    fn stir(&self, table: &Table) {
        if table.is_restless() {
            self.0.stirred.notify_one();
        }
    }

    /// Runs the hooks for what has happened.
    fn tell(&self) {
        self.0.hooks.tell(|| self.table().news.pop_front());
        self.hold();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name such as `s-4k2mzq`: the letter, and six of 32 letters and digits, of the kernel's randomness.
/// Whoever gives it makes sure that nothing else has it.
pub fn random_name(letter: char) -> Arc<str> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; 6];
    crate::random(&mut bytes);
    let letters = bytes.map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    format!("{letter}-{}", String::from_iter(letters)).into()
}

fn not_begun(error: OpenError) -> RegisterError {
    match error {
        OpenError::Gone | OpenError::Recycled | OpenError::Os(_) => {
            RegisterError::Gone("the process has ended meanwhile".to_owned())
        }
        OpenError::OtherWorld => RegisterError::Forbidden(who::OTHER_WORLD.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Else what it holds would stay until something else happens.
    #[test]
    fn whose_pid_was_recycled_has_ended_although_the_one_that_has_it_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions(Arc::new(Inner {
            ends: None,
            table: Mutex::new(Table::open(&dir.path().join("sessions.json"), None)),
            hooks: Hooks::default(),
            stirred: Notify::new(),
            kept: Mutex::new(None),
        }));
        let told = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::clone(&told);
        sessions.on_end("test", move |session| {
            ended.lock().unwrap().push(session.id.clone());
            Ok(())
        });
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let own = rustix::process::geteuid().as_raw();
        let peer = Peer { uid: own, pid: Some(child.id()), pidfd: None };
        let (first, _) = sessions.register(&peer, Ask::default()).unwrap();
        // It was another process that had this pid; and the one that has it now is a zombie.
        for session in sessions.table().entries.values_mut() {
            session.process.start = Some(hearth_process::StartTime::from_raw(1));
        }
        let handle = hearth_process::ProcessHandle::open(&first.process).unwrap();
        child.kill().unwrap();
        handle.wait().unwrap();
        let refused = sessions.register(&peer, Ask::default());
        assert!(matches!(refused, Err(RegisterError::Gone(_))), "{refused:?}");
        assert_eq!(*told.lock().unwrap(), [first.id]);
        child.wait().unwrap();
    }
}
