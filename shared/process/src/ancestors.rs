//! Those above a process.
//!
//! Invariant: who is told to be an ancestor was one at a moment of the walk, under the identity that is
//! told. The failure that this prevents: a parent that ends while it is looked at, whose number a
//! stranger gets, who is then taken for the ancestor.

use std::io;

use crate::table::{self, Entry};
use crate::{ProcessId, facts};

/// A walk that meets more is going round in a circle.
const MOST: usize = 4096;

/// One of those above a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    /// Who it is.
    pub id: ProcessId,
    /// Its effective user; `None` where that is hidden from us.
    pub uid: Option<u32>,
}

/// The parent of a process, its parent, and so on, as far as our pid namespace and the process table
/// show them; the nearest first.
///
/// Each is read between two looks at its child: had it ended meanwhile, the child would have another
/// parent. Where that happens, the walk goes on with the new one.
///
/// Errors: `NotFound` (or ESRCH) if `of` is gone, or hidden from us, or is not the process any more
/// that it was; EMFILE, ENFILE.
pub fn ancestors(of: &ProcessId) -> io::Result<Vec<Ancestor>> {
    let mut child = table::entry(of.pid)?;
    if !of.same_world() || of.start.is_some_and(|start| start != child.start) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut found = Vec::new();
    while let Some((ancestor, row)) = parent(&child)? {
        found.push(ancestor);
        child = match row {
            Some(row) if found.len() < MOST => row,
            Some(_) | None => break,
        };
    }
    Ok(found)
}

/// The parent with its own row; without that where it is hidden, and nothing above it can be seen.
fn parent(child: &Entry) -> io::Result<Option<(Ancestor, Option<Entry>)>> {
    let mut child = *child;
    loop {
        if child.parent == 0 {
            return Ok(None);
        }
        let row = seen(table::entry(child.parent))?;
        let uid = facts::uid_of(child.parent);
        let Some(again) = seen(table::entry(child.pid))?.filter(|row| row.start == child.start)
        else {
            return Ok(None);
        };
        if again.parent == child.parent {
            let id = ProcessId::with_start(child.parent, row.map(|row| row.start));
            return Ok(Some((Ancestor { id, uid }, row)));
        }
        child = again;
    }
}

/// A row that is hidden is none; one that can't be read for want of a descriptor is an error, or who
/// it is about would be told without his start time.
fn seen(row: io::Result<Entry>) -> io::Result<Option<Entry>> {
    match row {
        Ok(row) => Ok(Some(row)),
        Err(error) if is_want(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn is_want(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// The leader of the session that a process shares with its controlling terminal: the shell of a
/// terminal, most of the time. `None` where there is no controlling terminal, or the leader is no
/// ancestor (it has ended, or it is the process itself), or another user's.
pub fn terminal_leader(of: &ProcessId) -> Option<ProcessId> {
    let own = table::entry(of.pid).ok()?;
    let uid = facts::uid_of(of.pid)?;
    if !own.has_terminal || own.sid == 0 {
        return None;
    }
    let leader = ancestors(of).ok()?.into_iter().find(|ancestor| ancestor.id.pid == own.sid)?;
    (leader.uid == Some(uid)).then_some(leader.id)
}
