//! Whose session it may be.
//!
//! Invariant: a caller registers itself or one of its ancestors of the same user, by what the kernel
//! says of the connection and of the process table; of what the caller says, a pid only chooses among
//! these.

use std::path::{Path, PathBuf};

use hearth_process::{Ancestor, OpenError, Peer, ProcessId, ancestors, facts};

use super::{Ask, RegisterError};
use crate::home::euid;

/// Bytes that a kind may have.
const KIND: usize = 32;
/// Bytes that a name may have.
const NAME: usize = 128;
/// Bytes that a path may have (`PATH_MAX`).
const CWD: usize = 4096;

pub(super) const OTHER_WORLD: &str =
    "the caller is in a pid namespace that can't be seen from the agent's";

/// One whose session it may be, and what is said of it.
#[derive(Debug)]
pub(super) struct Who {
    pub(super) process: ProcessId,
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
    pub(super) cwd: Option<PathBuf>,
}

/// Finds out whose session is asked for.
pub(super) fn resolve(peer: &Peer, ask: Ask) -> Result<Who, RegisterError> {
    let Ask { pid, kind, name, cwd } = ask;
    check("kind", kind.as_deref(), KIND)?;
    check("name", name.as_deref(), NAME)?;
    if let Some(cwd) = &cwd {
        check("cwd", Some(cwd.to_str().unwrap_or("\u{7f}")), CWD)?;
        if !cwd.is_absolute() {
            return Err(RegisterError::Bad("`cwd` must be an absolute path".to_owned()));
        }
    }
    let pid = pid.map(number).transpose()?;
    if peer.uid != euid() {
        return Err(RegisterError::Forbidden("the caller is another user's".to_owned()));
    }
    let process = match pid {
        None => peer.process().map_err(unknown)?,
        Some(pid) => chosen(&line(peer).map_err(unknown)?, pid)?,
    };
    Ok(Who { process, kind, name, cwd })
}

/// The caller and its ancestors, the nearest first.
pub(super) fn line(peer: &Peer) -> Result<Vec<Ancestor>, OpenError> {
    let own = peer.process()?;
    let above = ancestors(&own).map_err(|error| match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => OpenError::Os(error),
        Some(_) | None => OpenError::Gone,
    })?;
    let own = Ancestor { id: own, uid: Some(peer.uid) };
    Ok([own].into_iter().chain(above).collect())
}

fn chosen(line: &[Ancestor], pid: u32) -> Result<ProcessId, RegisterError> {
    let forbidden = |words: String| Err(RegisterError::Forbidden(words));
    let Some(found) = line.iter().find(|kin| number_there(line, kin) == Some(pid)) else {
        return forbidden(format!(
            "pid {pid} is neither the caller nor an ancestor of it: a session is registered by its \
             own process, or from below it"
        ));
    };
    if found.uid != Some(euid()) {
        return forbidden(format!("pid {pid} is another user's process"));
    }
    Ok(found.id.clone())
}

/// The number of one of a caller's line in the pid namespace of the caller, who is first in it.
///
/// A process is in the namespace of its parent or in one below that (`pid_namespaces(7)`): so in a line
/// of ancestors who is at the same depth is in the same one, and who is above it has no number there.
fn number_there(line: &[Ancestor], kin: &Ancestor) -> Option<u32> {
    let numbers = |kin: &Ancestor| facts::pids_of(kin.id.pid).unwrap_or_else(|| vec![kin.id.pid]);
    let (theirs, own) = (numbers(kin), numbers(line.first()?));
    theirs.last().copied().filter(|_| theirs.len() == own.len())
}

fn unknown(error: OpenError) -> RegisterError {
    match error {
        OpenError::Gone | OpenError::Recycled => {
            RegisterError::Gone("the caller has ended meanwhile".to_owned())
        }
        OpenError::OtherWorld => RegisterError::Forbidden(OTHER_WORLD.to_owned()),
        OpenError::Os(error) => {
            RegisterError::Forbidden(format!("it can't be found out who asks: {error}"))
        }
    }
}

/// 0 and what is negative mean groups to kill(2), and no pid is over `i32::MAX`.
fn number(pid: i64) -> Result<u32, RegisterError> {
    i32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 0)
        .map(i32::cast_unsigned)
        .ok_or_else(|| RegisterError::Bad(format!("`pid`: {pid} is no pid")))
}

/// What goes to terminals later must not steer them.
fn check(field: &str, text: Option<&str>, most: usize) -> Result<(), RegisterError> {
    let Some(text) = text else { return Ok(()) };
    let bad = |what: String| Err(RegisterError::Bad(format!("`{field}` {what}")));
    if text.is_empty() {
        return bad("is empty: leave it out, or say something".to_owned());
    }
    if text.len() > most {
        return bad(format!("has {} bytes, and may have {most}", text.len()));
    }
    if text.chars().any(steers) {
        return bad("has control characters in it, or is not UTF-8".to_owned());
    }
    Ok(())
}

/// Control characters, and those that turn the direction of what follows them: a line in which one
/// stands is read otherwise than it was written.
fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The name of its command.
pub(super) fn command(process: &ProcessId) -> String {
    let name = facts::command_of(process.pid).unwrap_or_default();
    let name: String = name.chars().filter(|letter| !steers(*letter)).collect();
    if name.is_empty() { format!("pid {}", process.pid) } else { name }
}

/// Where it works, if that can be said.
pub(super) fn directory(process: &ProcessId) -> Option<PathBuf> {
    let says = |path: &Path| path.to_str().is_some_and(|path| !path.contains(char::is_control));
    facts::directory_of(process.pid).filter(|path| says(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_in_any_script_and_steers_nothing() {
        for good in ["zsh", "\u{436}\u{6f22}", "a b", "\u{5d0}\u{5d1}"] {
            assert!(check("name", Some(good), NAME).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", "\u{1b}[2J", "\u{9b}2J", "\u{202e}hsz", "\u{2066}", "\u{200f}"] {
            assert!(check("name", Some(bad), NAME).is_err(), "{bad:?}");
        }
        assert!(check("name", Some(&"x".repeat(NAME + 1)), NAME).is_err());
    }
}
