//! The sessions there are, by the order in which they came, by id and by pid.
//!
//! Invariant: who is in it is in the journal as well, or the journal is known to be behind; and who is
//! taken out is told once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearth_process::{Ends, Liveness, OpenError, ProcessId};
use tracing::{info, warn};

use super::Session;
use super::hooks::{News, Unheard};
use super::journal::Journal;
use super::who::{self, Who};

#[derive(Debug)]
pub(super) struct Table {
    /// By their tokens, which rise.
    pub(super) entries: BTreeMap<u64, Session>,
    by_id: HashMap<Arc<str>, u64>,
    by_pid: HashMap<u32, u64>,
    /// Whose end the kernel does not tell.
    pub(super) unwatched: BTreeSet<u64>,
    pub(super) journal: Journal,
    pub(super) news: Unheard,
    next: u64,
}

impl Table {
    /// Those of a journal that live.
    pub(super) fn open(path: &Path, ends: Option<&Ends>) -> Self {
        let (journal, found) = Journal::open(path);
        let mut table = Self {
            entries: BTreeMap::new(),
            by_id: HashMap::new(),
            by_pid: HashMap::new(),
            unwatched: BTreeSet::new(),
            journal,
            news: Unheard::new(),
            next: 0,
        };
        let all = found.len();
        for session in found {
            // Who has ended meanwhile, or was given another's pid: of no use to anybody any more.
            let _ = table.insert(session, ends);
        }
        // A zombie can be watched, and its end is told at once.
        let ended = ends.and_then(|ends| ends.drain().ok()).unwrap_or_default();
        table.forget(&ended);
        if all > 0 {
            info!(taken_up = table.entries.len(), ended = all - table.entries.len(), "sessions");
        }
        table.journal.begin(table.entries.values());
        table
    }

    /// The session of this process, and whether it had one. Errors: its process has ended.
    pub(super) fn register(
        &mut self,
        who: Who,
        ends: Option<&Ends>,
    ) -> Result<(Session, bool), OpenError> {
        if let Some((session, changed)) = self.again(&who) {
            if changed {
                self.news.push_back(News::Started(session.clone()));
            }
            return Ok((session, true));
        }
        let session = self.begin(who, ends)?;
        self.news.push_back(News::Started(session.clone()));
        Ok((session, false))
    }

    /// The session of this process, if it has one, and whether something else is said of it now.
    fn again(&mut self, who: &Who) -> Option<(Session, bool)> {
        let token = *self.by_pid.get(&who.process.pid)?;
        let session = self.entries.get_mut(&token)?;
        if !same(&session.process, &who.process) {
            // It has ended, which nobody has taken note of yet.
            self.end(&[token]);
            return None;
        }
        let before = session.clone();
        if let Some(kind) = &who.kind {
            session.kind = kind.as_str().into();
        }
        if let Some(name) = &who.name {
            session.name = name.as_str().into();
        }
        if who.cwd.is_some() {
            session.cwd.clone_from(&who.cwd);
        }
        let session = session.clone();
        let changed = session != before;
        if changed {
            self.save(&session);
        }
        Some((session, changed))
    }

    /// A new session. Errors: its process has ended.
    fn begin(&mut self, who: Who, ends: Option<&Ends>) -> Result<Session, OpenError> {
        let Who { process, kind, name, cwd } = who;
        let session = Session {
            id: self.new_id(),
            started_at: now(),
            kind: kind.as_deref().unwrap_or("process").into(),
            name: name.unwrap_or_else(|| who::command(&process)).into(),
            cwd: cwd.or_else(|| who::directory(&process)),
            process,
        };
        self.insert(session.clone(), ends)?;
        self.save(&session);
        Ok(session)
    }

    fn insert(&mut self, session: Session, ends: Option<&Ends>) -> Result<(), OpenError> {
        let token = self.next;
        self.next += 1;
        let watched = match ends.map(|ends| ends.add(&session.process, token)) {
            Some(Ok(())) => true,
            Some(Err(OpenError::Os(error))) => self.cannot_watch(&session, &error.to_string())?,
            Some(Err(error)) => return Err(error),
            None => self.cannot_watch(&session, "no epoll or kqueue")?,
        };
        if !watched {
            self.unwatched.insert(token);
        }
        if let Some(before) = self.by_pid.insert(session.process.pid, token) {
            // A journal that says one process twice.
            self.forget(&[before]);
            ends.iter().for_each(|ends| ends.remove(before));
        }
        self.by_id.insert(Arc::clone(&session.id), token);
        self.entries.insert(token, session);
        Ok(())
    }

    /// It is looked at again and again, if it lives.
    fn cannot_watch(&self, session: &Session, reason: &str) -> Result<bool, OpenError> {
        match session.process.living() {
            Liveness::Living | Liveness::Unknown => {}
            Liveness::Ended => return Err(OpenError::Gone),
            Liveness::Recycled => return Err(OpenError::Recycled),
            Liveness::OtherWorld => return Err(OpenError::OtherWorld),
        }
        if self.unwatched.is_empty() {
            let (session, pid) = (&session.id, session.process.pid);
            warn!(%session, pid, reason, "a session can't be watched: it, and what else can't be, is \
                looked at every 5 s; raise the hard limit on open files (`ulimit -Hn`)");
        }
        Ok(false)
    }

    /// The kernel tells its end from now on.
    pub(super) fn is_watched(&mut self, token: u64) -> bool {
        if self.unwatched.remove(&token) && self.unwatched.is_empty() {
            info!("all sessions are watched again");
        }
        self.entries.contains_key(&token)
    }

    /// Whether there is something that must be tried again.
    pub(super) fn is_restless(&self) -> bool {
        !self.unwatched.is_empty() || self.journal.is_failing()
    }

    /// They have ended. Those that are not there are passed over.
    pub(super) fn end(&mut self, tokens: &[u64]) {
        let ended = self.forget(tokens);
        self.journal.ended(ended.iter().map(|session| &session.id));
        self.news.extend(ended.into_iter().map(News::Ended));
    }

    fn forget(&mut self, tokens: &[u64]) -> Vec<Session> {
        let mut forgotten = Vec::new();
        for token in tokens {
            let Some(session) = self.entries.remove(token) else { continue };
            self.by_id.remove(&session.id);
            if self.by_pid.get(&session.process.pid) == Some(token) {
                self.by_pid.remove(&session.process.pid);
            }
            self.unwatched.remove(token);
            forgotten.push(session);
        }
        forgotten
    }

    pub(super) fn token(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    /// The session of a process.
    pub(super) fn of(&self, process: &ProcessId) -> Option<&Session> {
        let session = self.entries.get(self.by_pid.get(&process.pid)?)?;
        same(&session.process, process).then_some(session)
    }

    fn save(&mut self, session: &Session) {
        let all = self.entries.values();
        self.journal.registered(session, all);
    }

    /// What could not be written is tried again.
    pub(super) fn save_again(&mut self) {
        let all = self.entries.values();
        self.journal.try_again(all);
    }

    fn new_id(&self) -> Arc<str> {
        loop {
            let id = super::random_name('s');
            if !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }
}

/// In whole milliseconds, as the journal has it: a session is the same for the next agent.
fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let whole = Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    UNIX_EPOCH.checked_add(whole).unwrap_or(UNIX_EPOCH)
}

/// Where the start time of one is not known, the pid decides: whose end is awaited has it still.
fn same(one: &ProcessId, other: &ProcessId) -> bool {
    one == other || one.pid == other.pid && (one.start.is_none() || other.start.is_none())
}
