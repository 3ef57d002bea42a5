//! Everything below a process.
//!
//! Invariant: if [`below`] finds nothing, then nothing was there but what was left out. A stop
//! that believes an empty list wrongly leaves orphans behind, which is what hearth exists to
//! prevent. (Kernels without lists of children: see the race admitted at `sift`.) A list that is not empty is a picture of a moving thing: act on it, then look again.
//!
//! On Linux no process escapes by a double fork or a session of its own, if the root is a
//! subreaper ([`become_subreaper`]): orphans come back to it. On macOS they go to launchd and are
//! not seen.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::ProcessId;
use crate::table::{self, Entry};

/// One process of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub id: ProcessId,
    /// The pid of its parent when it was read.
    pub parent: u32,
    /// Its process group.
    pub pgid: u32,
    /// Its session.
    pub sid: u32,
    /// The letter of its state as in `proc_pid_stat(5)`; `Z` waits for its parent to reap it.
    pub state: char,
    /// The name of its command, cut by the kernel (15 bytes on Linux).
    pub command: String,
}

impl From<&Entry> for Member {
    fn from(entry: &Entry) -> Self {
        Self {
            id: ProcessId::with_start(entry.pid, Some(entry.start)),
            parent: entry.parent,
            pgid: entry.pgid,
            sid: entry.sid,
            state: entry.state,
            command: String::from_utf8_lossy(entry.name.as_bytes()).into_owned(),
        }
    }
}

/// All processes, but this one, that hold an end of one of these pipes open; by inode number.
///
/// What a process has started holds the pipes that it was started with, unless it let go of them: so
/// descendants that have lost their parents are found, whatever session they are in. Linux: one pass
/// over `/proc/PID/fd`, as far as it may be read. macOS: nobody is found.
///
/// Errors: those of reading the table; a process that ends meanwhile is none.
pub fn holding(pipes: &[u64]) -> io::Result<Vec<ProcessId>> {
    let mut found = Vec::new();
    if pipes.is_empty() {
        return Ok(found);
    }
    let ourselves = std::process::id();
    table::each_pid(|pid| {
        if pid != ourselves && table::holds(pid, pipes) {
            found.extend(ProcessId::of(pid));
        }
    })?;
    Ok(found)
}

/// All descendants of `root`, zombies included, parents before their children, `root` itself not.
/// A process for which `excluded` says true is left out with all that is below it.
///
/// Linux: `/proc/PID/task/*/children`, so that it costs by the size of the tree; one pass over
/// `/proc` on kernels without it. macOS: one pass over `proc_listpids`.
///
/// Errors: those of reading the table; a process that ends meanwhile is none, nor is a `root`
/// that is not there, which has nothing below it.
pub fn below(root: u32, excluded: &dyn Fn(u32) -> bool) -> io::Result<Vec<Member>> {
    #[cfg(target_os = "linux")]
    if table::has_children_files() {
        return walk(root, excluded);
    }
    sift(root, excluded)
}

/// All descendants of each of these processes, in their order, by one pass over the table whatever
/// their number. One that is below another is left out of that with all that is below it.
///
/// For figures: unlike [`below`] it looks once, and what forks in that moment may be missed.
///
/// Errors: those of reading the table.
pub fn below_each(roots: &[u32]) -> io::Result<Vec<Vec<Member>>> {
    let borders: HashSet<u32> = roots.iter().copied().collect();
    let mut children: HashMap<u32, Vec<Member>> = HashMap::new();
    table::each_pid(|pid| {
        if let Ok(entry) = table::entry(pid)
            && !borders.contains(&pid)
        {
            children.entry(entry.parent).or_default().push(Member::from(&entry));
        }
    })?;
    let below = |root: &u32| {
        let mut members = children.remove(root).unwrap_or_default();
        let mut next = 0;
        while let Some(member) = members.get(next) {
            // Taken out, so that a pid that came round twice makes no circle.
            let more = children.remove(&member.id.pid).unwrap_or_default();
            members.extend(more);
            next += 1;
        }
        members
    };
    Ok(roots.iter().map(below).collect())
}

/// Makes this process the one to which orphans below it come back, instead of init.
/// `PR_SET_CHILD_SUBREAPER` (Linux 3.4); not inherited by children, kept over exec. No-op on macOS.
pub fn become_subreaper() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // Any pid means "yes" to this prctl.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// From each process to its children, by the kernel's own lists.
///
/// The kernel may skip a child in a list when the one before it is reaped in that moment, and an
/// orphan may go from a parent not yet read to `root`, which was read already. Both need a process
/// that was listed; so nothing was missed if nothing was listed. What was listed but gone before
/// its row was read leaves an empty result in doubt: then once more.
#[cfg(target_os = "linux")]
fn walk(root: u32, excluded: &dyn Fn(u32) -> bool) -> io::Result<Vec<Member>> {
    loop {
        let mut members: Vec<Member> = Vec::new();
        let mut vanished = false;
        let mut parent = root;
        let mut next = 0;
        loop {
            table::children(parent, |pid| {
                if excluded(pid) || members.iter().any(|member| member.id.pid == pid) {
                    return;
                }
                match table::entry(pid) {
                    Ok(entry) => members.push(Member::from(&entry)),
                    Err(_) => vanished = true,
                }
            })?;
            let Some(member) = members.get(next) else {
                break;
            };
            parent = member.id.pid;
            next += 1;
        }
        if !(members.is_empty() && vanished) {
            return Ok(members);
        }
    }
}

/// From the table of all processes, what hangs on `root`.
///
/// Known race: a process that was forked with a pid below that of its parent after the pass had
/// gone by, and whose parent ended before the pass came to it, is missed.
fn sift(root: u32, excluded: &dyn Fn(u32) -> bool) -> io::Result<Vec<Member>> {
    let mut all: Vec<Entry> = Vec::new();
    table::each_pid(|pid| {
        if let Ok(entry) = table::entry(pid) {
            all.push(entry);
        }
    })?;
    let mut members: Vec<Member> = Vec::new();
    let mut parent = root;
    let mut next = 0;
    loop {
        let children = all.iter().filter(|entry| entry.parent == parent);
        for child in children {
            let known = child.pid == root || members.iter().any(|known| known.id.pid == child.pid);
            if !known && !excluded(child.pid) {
                members.push(Member::from(child));
            }
        }
        let Some(member) = members.get(next) else {
            return Ok(members);
        };
        parent = member.id.pid;
        next += 1;
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// Both ways of asking see the same tree.
    #[test]
    fn the_pass_over_the_table_agrees_with_the_lists_of_children() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 1000 & read line; kill $!; wait"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let ours = |found: Vec<Member>| {
            let mut pids: Vec<u32> = found.iter().map(|member| member.id.pid).collect();
            pids.sort_unstable();
            pids
        };
        let none = |_: u32| false;
        let by_table = loop {
            let found = ours(sift(shell.id(), &none).unwrap());
            // Until the shell has forked: there is no event for that without being its parent.
            if !found.is_empty() {
                break found;
            }
            std::thread::yield_now();
        };
        if table::has_children_files() {
            assert_eq!(by_table, ours(walk(shell.id(), &none).unwrap()));
        }
        let each = below_each(&[1 << 30, shell.id()]).unwrap();
        assert!(each[0].is_empty());
        assert_eq!(by_table, ours(each[1].clone()));
        // A border: what is behind it is its own.
        let both = below_each(&[shell.id(), by_table[0]]).unwrap();
        assert!(both[0].is_empty(), "{both:?}");
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}
