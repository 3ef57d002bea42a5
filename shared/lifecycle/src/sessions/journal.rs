//! `sessions.json`: a line for each that was registered, and for each that has ended.
//!
//! Invariant: what was registered is in it before it is answered, at the price of one line, whatever
//! the number of sessions. Nobody believes it: it says whom to ask the kernel about.
//!
//! The first line says the version; a session that is written again is the same one, said otherwise. It is
//! written anew, beside and then renamed, at an agent's start, when most of it is of no use any more,
//! and after a line that could not be written. Nothing is synced: the page cache outlives every
//! process, and after the machine's end no session is left.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearth_process::ProcessId;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::Session;
use crate::kept;

/// Version of the file. Fields may be added without another one; readers pass over what they do not
/// know.
const VERSION: u32 = 1;
/// So many lines of no use are never worth writing it anew.
const LITTER: usize = 1000;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Version(u32),
    Registered(Saved),
    Ended(Arc<str>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    id: Arc<str>,
    process: ProcessId,
    /// Milliseconds since the Unix epoch.
    started_at: u64,
    kind: Arc<str>,
    name: Arc<str>,
    #[serde(default)]
    cwd: Option<PathBuf>,
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// Where lines are added; `None`: it has to be written anew before.
    file: Option<File>,
    /// Device and inode of the file that this agent has read or written last.
    ours: Option<(u64, u64)>,
    /// Lines in it.
    lines: usize,
    failing: bool,
}

impl Journal {
    /// Reads what an earlier agent has left, in the order in which they were registered.
    pub(super) fn open(path: &Path) -> (Self, Vec<Session>) {
        let mut journal =
            Self { path: path.to_owned(), file: None, ours: there(path), lines: 0, failing: false };
        let found = match kept::read(path) {
            Ok(bytes) => journal.parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                journal.set_aside(&format!("it can't be read: {error}"));
                Vec::new()
            }
        };
        (journal, found)
    }

    fn parse(&mut self, bytes: &[u8]) -> Vec<Session> {
        let mut found = Found::default();
        let mut version = None;
        let mut faults = 0;
        // Behind the last newline stands nothing, or half a line: its writer was killed in the middle,
        // and has answered nobody.
        let (whole, torn) =
            bytes.split_at(bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1));
        for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Line::Version(of)) => version = version.or(Some(of)),
                Ok(Line::Registered(saved)) => found.registered(saved.into()),
                Ok(Line::Ended(id)) => found.ended(&id),
                Err(_) => faults += 1,
            }
            self.lines += 1;
            if version.is_some_and(|version| version > VERSION) {
                break;
            }
        }
        match version {
            Some(version) if version > VERSION => {
                self.set_aside(&format!(
                    "it is of version {version}, and this agent knows {VERSION}"
                ));
                return Vec::new();
            }
            Some(_) if faults == 0 => {}
            Some(_) => self.set_aside(&format!("it is damaged: {faults} lines are no sessions")),
            None => self.set_aside("it is damaged: it does not say its version"),
        }
        if !torn.is_empty() && version.is_some() {
            info!(path = %self.path.display(), "the last line was written in half: passed over");
        }
        found.in_order()
    }

    fn set_aside(&self, reason: &str) {
        let moved = kept::set_aside(&self.path);
        warn!(path = %self.path.display(), reason, "which sessions there were is not understood, {moved}; \
            who could be read is taken up, and the others have to be registered again");
    }

    /// From here on it is this agent's: a file of its own, or none while there is nobody to write down.
    pub(super) fn begin<'s>(&mut self, all: impl Iterator<Item = &'s Session>) {
        let mut all = all.peekable();
        if all.peek().is_some() {
            self.rewrite(all);
        } else if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            self.failed(&error);
        }
    }

    /// Writes down one that has begun, or of whom something else is said. `all`: it and the others.
    pub(super) fn registered<'s>(
        &mut self,
        session: &Session,
        all: impl ExactSizeIterator<Item = &'s Session>,
    ) {
        let fits = self.is_ours() && self.lines <= LITTER + 2 * all.len();
        if !fits || !self.append(&line(&Line::Registered(session.into())), 1) {
            self.rewrite(all);
        }
    }

    /// Writes down that they have ended. Where that fails, the next agent sees by itself whose process
    /// has ended; for those that were ended by request it is tried again.
    pub(super) fn ended<'s>(&mut self, ids: impl ExactSizeIterator<Item = &'s Arc<str>>) {
        let number = ids.len();
        if number > 0 && self.is_ours() {
            let lines: Vec<u8> = ids.flat_map(|id| line(&Line::Ended(Arc::clone(id)))).collect();
            self.append(&lines, number);
        }
    }

    /// Tries again what could not be written; not where another agent has written its own: that one
    /// has taken our place, or will be taken for failed, and then the next registration comes by.
    pub(super) fn try_again<'s>(&mut self, all: impl Iterator<Item = &'s Session>) {
        let there = there(&self.path);
        if there.is_some() && there != self.ours {
            self.failing = false;
        } else if self.failing {
            self.rewrite(all);
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }

    /// Whether the file at the path is the one that lines are added to: another agent may have written
    /// its own there, or somebody removed it.
    fn is_ours(&self) -> bool {
        self.file.is_some() && self.ours.is_some() && self.ours == there(&self.path)
    }

    /// In one write(2) of a file opened for appending. Half of it may be there after a failure: then
    /// the file is of no use any more.
    fn append(&mut self, bytes: &[u8], lines: usize) -> bool {
        let Some(file) = &mut self.file else { return false };
        match file.write_all(bytes) {
            Ok(()) => {
                self.lines += lines;
                true
            }
            Err(error) => {
                self.file = None;
                self.failed(&error);
                false
            }
        }
    }

    fn rewrite<'s>(&mut self, all: impl Iterator<Item = &'s Session>) {
        let mut bytes = line(&Line::Version(VERSION));
        let mut lines = 1;
        for session in all {
            bytes.extend(line(&Line::Registered(session.into())));
            lines += 1;
        }
        self.file = None;
        let written = kept::replace(&self.path, &bytes).and_then(|()| {
            let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(File::from(rustix::fs::open(&self.path, flags, rustix::fs::Mode::empty())?))
        });
        match written {
            Ok(file) => {
                self.ours = file.metadata().ok().map(|file| (file.dev(), file.ino()));
                self.file = Some(file);
                self.lines = lines;
                if std::mem::take(&mut self.failing) {
                    info!(path = %self.path.display(), "can be written again");
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            let path = self.path.display();
            warn!(%path, %error, "cannot be written: if this agent is killed now, the next one does not \
                know of the sessions since; it is tried again until it can be");
        }
    }
}

/// What a journal says in the end.
#[derive(Default)]
struct Found {
    /// By the order in which they came; `None`: ended.
    sessions: Vec<Option<Session>>,
    places: std::collections::HashMap<Arc<str>, usize>,
}

impl Found {
    fn registered(&mut self, session: Session) {
        let next = self.sessions.len();
        match *self.places.entry(Arc::clone(&session.id)).or_insert(next) {
            place if place == next => self.sessions.push(Some(session)),
            place => self.sessions[place] = Some(session),
        }
    }

    fn ended(&mut self, id: &str) {
        if let Some(place) = self.places.remove(id) {
            self.sessions[place] = None;
        }
    }

    fn in_order(self) -> Vec<Session> {
        self.sessions.into_iter().flatten().collect()
    }
}

/// Device and inode of what stands there.
fn there(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

fn line(line: &Line) -> Vec<u8> {
    // Nothing in it can fail to be JSON: paths are UTF-8, by `who`.
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

impl From<&Session> for Saved {
    fn from(session: &Session) -> Self {
        let since = session.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id: Arc::clone(&session.id),
            process: session.process.clone(),
            started_at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            kind: Arc::clone(&session.kind),
            name: Arc::clone(&session.name),
            cwd: session.cwd.clone(),
        }
    }
}

impl From<Saved> for Session {
    fn from(saved: Saved) -> Self {
        let Saved { id, process, started_at, kind, name, cwd } = saved;
        let since = Duration::from_millis(started_at);
        let started_at = UNIX_EPOCH.checked_add(since).unwrap_or_else(SystemTime::now);
        Self { id, process, started_at, kind, name, cwd }
    }
}
