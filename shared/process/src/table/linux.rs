//! `/proc`, by `proc_pid_stat(5)`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::{Entry, Name};
use crate::StartTime;
use crate::facts::Executable;

/// The row of `pid`. Errors: `NotFound` (or ESRCH) if it is gone, or hidden from us.
pub(crate) fn entry(pid: u32) -> io::Result<Entry> {
    let mut buffer = [0; 1024];
    let file = rustix::fs::open(
        ProcPath::new(format_args!("/proc/{pid}/stat")).as_str(),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer[..]))?;
    parse(pid, &buffer[..length])
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat"))
}

/// Splits after the last `)`, since a command's name may hold spaces and parentheses.
fn parse(pid: u32, line: &[u8]) -> Option<Entry> {
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let name = line.get(open + 1..close)?;
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    // Field 3 of the man page is the first one here.
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let pgid = fields.next()?.parse().unwrap_or(0);
    let sid = fields.next()?.parse().unwrap_or(0);
    let terminal: i64 = fields.next()?.parse().ok()?;
    let threads: u64 = fields.nth(12)?.parse().ok()?;
    let start = fields.nth(1)?.parse().ok()?;
    Some(Entry {
        pid,
        parent,
        pgid,
        sid,
        has_terminal: terminal != 0,
        state,
        // A leader that called pthread_exit(3) is a zombie while its other threads run on.
        ended: matches!(state, 'X' | 'x') || state == 'Z' && threads <= 1,
        start: StartTime::from_raw(start),
        name: Name::new(name),
    })
}

/// Calls `each` with every pid that `/proc` lists.
pub(crate) fn each_pid(mut each: impl FnMut(u32)) -> io::Result<()> {
    numbered("/proc", &mut each)
}

/// Whether `pid` holds an end of one of these pipes open. What may not be looked at holds none.
pub(crate) fn holds(pid: u32, pipes: &[u64]) -> bool {
    let fds = ProcPath::new(format_args!("/proc/{pid}/fd"));
    let mut found = false;
    let _ = numbered(fds.as_str(), &mut |fd| {
        if !found {
            let path = ProcPath::new(format_args!("/proc/{pid}/fd/{fd}"));
            found = std::fs::read_link(path.as_str()).is_ok_and(|target| is_one_of(&target, pipes));
        }
    });
    found
}

/// `pipe:[4711]` (proc(5)).
fn is_one_of(target: &std::path::Path, pipes: &[u64]) -> bool {
    let number = || target.to_str()?.strip_prefix("pipe:[")?.strip_suffix(']')?.parse().ok();
    number().is_some_and(|number: u64| pipes.contains(&number))
}

/// The effective user: the second number of `Uid:` (`proc_pid_status(5)`). Not the owner of
/// `/proc/PID`, who is root where the process may not be looked into.
pub(crate) fn uid(pid: u32) -> Option<u32> {
    status_line(pid, "Uid:", |line| line.split_ascii_whitespace().nth(1)?.parse().ok())
}

/// The numbers of a process, from our pid namespace to its own: `NSpid:` (Linux 4.1).
pub(crate) fn pids(pid: u32) -> Option<Vec<u32>> {
    status_line(pid, "NSpid:", |line| {
        line.split_ascii_whitespace().map(|number| number.parse().ok()).collect()
    })
}

fn status_line<T>(pid: u32, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let path = ProcPath::new(format_args!("/proc/{pid}/status"));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path.as_str(), flags, Mode::empty()).ok()?;
    // What is asked for stands in the first lines; `Groups:`, which may be long, comes after `Uid:`,
    // and `NSpid:` after that.
    let mut text = Vec::with_capacity(2048);
    std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    parse(text.lines().find_map(|line| line.strip_prefix(name))?)
}

/// Where a process works. `None` where it may not be looked into, or the directory is no more.
pub(crate) fn directory(pid: u32) -> Option<std::path::PathBuf> {
    let link = ProcPath::new(format_args!("/proc/{pid}/cwd"));
    let path = std::fs::read_link(link.as_str()).ok()?;
    // Linux appends this to the link of a directory that was removed (proc(5)).
    let removed = path.as_os_str().as_encoded_bytes().ends_with(b" (deleted)");
    (path.is_absolute() && (!removed || path.exists())).then_some(path)
}

/// What a process executes. The kernel appends a word to the link where that file was unlinked or
/// renamed over (proc(5)).
pub(crate) fn executable(pid: u32) -> Option<Executable> {
    let link = ProcPath::new(format_args!("/proc/{pid}/exe"));
    let path = std::fs::read_link(link.as_str()).ok()?;
    let removed = path.as_os_str().as_encoded_bytes().strip_suffix(b" (deleted)");
    match removed {
        Some(before) if !path.exists() => {
            let path = OsString::from_vec(before.to_vec()).into();
            Some(Executable { path, gone: true })
        }
        Some(_) | None => Some(Executable { path, gone: false }),
    }
}

/// Through the root directory that the process has (proc_pid_root(5)).
pub(crate) fn is_there_for(pid: u32, path: &std::path::Path) -> bool {
    let root = std::path::PathBuf::from(format!("/proc/{pid}/root"));
    let seen = root.join(path.strip_prefix("/").unwrap_or(path)).symlink_metadata();
    match seen {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => path.exists(),
        Err(_) => false,
    }
}

/// Each ends with a zero byte; a process may have written something else over them.
pub(crate) fn arguments(pid: u32) -> Option<Vec<OsString>> {
    let bytes = std::fs::read(ProcPath::new(format_args!("/proc/{pid}/cmdline")).as_str()).ok()?;
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    let words = || bytes.split(|byte| *byte == 0);
    (!bytes.is_empty()).then(|| words().map(|word| OsString::from_vec(word.to_vec())).collect())
}

pub(crate) fn variable(pid: u32, name: &str) -> Option<OsString> {
    let bytes = std::fs::read(ProcPath::new(format_args!("/proc/{pid}/environ")).as_str()).ok()?;
    let value = |entry: &[u8]| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(OsString::from_vec(value.to_vec()))
    };
    bytes.split(|byte| *byte == 0).find_map(value)
}

/// Whether this kernel tells a process's children (`CONFIG_PROC_CHILDREN`, most do).
pub(crate) fn has_children_files() -> bool {
    let path = "/proc/thread-self/children";
    rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok()
}

/// Calls `each` with every child of `pid`, of all its threads. Says whether `pid` was there.
pub(crate) fn children(pid: u32, mut each: impl FnMut(u32)) -> io::Result<bool> {
    let tasks = ProcPath::new(format_args!("/proc/{pid}/task"));
    let mut result: io::Result<()> = Ok(());
    let listed = numbered(tasks.as_str(), &mut |task| {
        let path = ProcPath::new(format_args!("/proc/{pid}/task/{task}/children"));
        if let Err(error) = children_of_task(path.as_str(), &mut each)
            && !gone(error)
        {
            result = Err(error.into());
        }
    });
    result?;
    match listed {
        Ok(()) => Ok(true),
        Err(error) => match Errno::from_io_error(&error) {
            Some(errno) if gone(errno) => Ok(false),
            Some(_) | None => Err(error),
        },
    }
}

/// Pids separated by spaces; a read may end in the middle of one.
fn children_of_task(path: &str, each: &mut dyn FnMut(u32)) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = [0; 1024];
    let mut pid: u32 = 0;
    loop {
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer[..]))?;
        for byte in &buffer[..length] {
            if byte.is_ascii_digit() {
                pid = pid.wrapping_mul(10).wrapping_add(u32::from(byte - b'0'));
            } else if pid != 0 {
                each(std::mem::take(&mut pid));
            }
        }
        if length == 0 {
            if pid != 0 {
                each(pid);
            }
            return Ok(());
        }
    }
}

fn gone(error: Errno) -> bool {
    error == Errno::NOENT || error == Errno::SRCH
}

/// Calls `each` with every name in a directory that is a number.
fn numbered(path: &str, each: &mut dyn FnMut(u32)) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut names = RawDir::new(directory, &mut buffer);
    while let Some(name) = names.next() {
        let name = name?;
        if let Ok(Ok(number)) = name.file_name().to_str().map(str::parse) {
            each(number);
        }
    }
    Ok(())
}

/// A path made on the stack: the tree is walked while memory may be short.
pub(crate) struct ProcPath {
    bytes: [u8; 64],
    length: usize,
}

impl ProcPath {
    pub(crate) fn new(path: std::fmt::Arguments<'_>) -> Self {
        let mut bytes = [0; 64];
        let mut rest = &mut bytes[..];
        // The longest path of this crate, with two pids of ten digits, has 42 bytes.
        let _ = rest.write_fmt(path);
        let left = rest.len();
        Self { length: bytes.len() - left, bytes }
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_moves_no_field() {
        let line = b"42 (a) R 1 (b c)) S 7 8 9 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3\n";
        let entry = parse(42, line).unwrap();
        assert_eq!(entry.name.as_bytes(), b"a) R 1 (b c)");
        assert_eq!((entry.parent, entry.pgid, entry.sid), (7, 8, 9));
        assert_eq!((entry.state, entry.ended, entry.has_terminal), ('S', false, false));
        assert_eq!(entry.start, StartTime::from_raw(98765));
    }

    #[test]
    fn a_zombie_leader_with_running_threads_has_not_ended() {
        let line = |threads| {
            format!("1 (x) Z 7 8 9 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 {threads} 0 98765 1 2 3\n")
        };
        assert!(!parse(1, line(2).as_bytes()).unwrap().ended);
        assert!(parse(1, line(1).as_bytes()).unwrap().ended);
    }

    #[test]
    fn half_a_line_is_no_row() {
        assert!(parse(42, b"42 (a) S 7 8").is_none());
        assert!(parse(42, b"").is_none());
        assert!(parse(42, b") 1 (").is_none());
    }
}
