//! `statfs(2)`, `/proc/sys`, `/proc/locks`, and a trial of each system call.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::{Feature, Watches};
use crate::watch::DirWatch;
use crate::{facts, peer, sealed, table};

/// Numbers of `linux/magic.h` and of the file systems' own sources; whether it is another machine's.
const KINDS: &[(u64, &str, bool)] = &[
    (0xEF53, "ext4", false),
    (0x9123_683E, "btrfs", false),
    (0x5846_5342, "xfs", false),
    (0x0102_1994, "tmpfs", false),
    (0x794C_7630, "overlay", false),
    (0x2FC1_2FC1, "zfs", false),
    (0xF2F5_2010, "f2fs", false),
    (0xCA45_1A4E, "bcachefs", false),
    (0x6573_5546, "fuse", false),
    (0x4D44, "vfat", false),
    (0x2011_BAB0, "exfat", false),
    (0x6969, "nfs", true),
    (0x517B, "smb", true),
    (0xFF53_4D42, "cifs", true),
    (0xFE53_4D42, "smb2", true),
    (0x00C3_6400, "ceph", true),
    (0x0102_1997, "9p", true),
    (0x5346_414F, "afs", true),
    (0x6B41_4653, "afs", true),
    (0x7375_7245, "coda", true),
    (0x0BD0_0BD0, "lustre", true),
];

pub(super) fn kind_of(path: &Path) -> io::Result<(String, bool)> {
    // The kernel's field is a signed or an unsigned number, by machine; a kind has 32 bits.
    let number = rustix::fs::statfs(path)?.f_type as u64 & 0xFFFF_FFFF;
    Ok(match KINDS.iter().find(|(known, ..)| *known == number) {
        Some((_, name, remote)) => ((*name).to_owned(), *remote),
        None => (format!("{number:#x}"), false),
    })
}

pub(super) fn features() -> Vec<Feature> {
    vec![exits(), peers(), memory(), orphans(), watching(), processes()]
}

fn feature(name: &'static str, words: &str, needed: bool, lack: Option<String>) -> Feature {
    Feature { name, words: words.to_owned(), lack, needed }
}

fn exits() -> Feature {
    let tried = pidfd_open(getpid(), PidfdFlags::empty());
    let lack = tried.err().map(|error| format!("pidfd_open(2), Linux 5.3: {}", io(error)));
    feature("exits", "pidfd_open: the end of a process is told at once", true, lack)
}

fn peers() -> Feature {
    let found = UnixStream::pair().and_then(|(one, _other)| peer(&one));
    let lack = match found {
        Ok(peer) if peer.pidfd.is_some() => None,
        Ok(_) => Some("SO_PEERPIDFD, Linux 6.5: who connects is told by its pid alone".to_owned()),
        Err(error) => Some(format!("SO_PEERCRED: {error}")),
    };
    feature("peers", "SO_PEERPIDFD: who connects can't be mistaken for another", false, lack)
}

fn memory() -> Feature {
    let lack = sealed::seal(b"x").err().map(|error| format!("memfd_create(2) and seals: {error}"));
    feature("memory", "sealed memfd: environments are never on disk", true, lack)
}

fn orphans() -> Feature {
    let lack = rustix::process::child_subreaper().err();
    let lack = lack.map(|error| format!("PR_SET_CHILD_SUBREAPER, Linux 3.4: {}", io(error)));
    feature("orphans", "child subreaper: nothing that a service starts gets lost", true, lack)
}

fn watching() -> Feature {
    let lack = DirWatch::new(Path::new("/")).err().map(|error| format!("inotify(7): {error}"));
    feature("watches", "inotify: nobody looks at a file again and again", false, lack)
}

/// `/proc` may be missing, of another pid namespace, or hide what is not ours (`hidepid`).
fn processes() -> Feature {
    let link = fs::read_link("/proc/self").ok();
    let own: Option<u32> = link.and_then(|link| link.to_str()?.parse().ok());
    let words = "/proc shows the processes";
    match own {
        Some(pid) if pid == std::process::id() => {
            let hides = table::entry(1).is_err().then(|| {
                "/proc hides other users' processes (hidepid): theirs can't be looked at".to_owned()
            });
            feature("processes", words, false, hides)
        }
        Some(_) => {
            feature("processes", words, true, Some("/proc is of another pid namespace".into()))
        }
        None => feature("processes", words, true, Some("/proc is not mounted".into())),
    }
}

fn io(error: rustix::io::Errno) -> io::Error {
    error.into()
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

pub(super) fn watches() -> Option<Watches> {
    let mut found = Watches {
        instances: number("/proc/sys/fs/inotify/max_user_instances")?,
        watches: number("/proc/sys/fs/inotify/max_user_watches")?,
        instances_used: 0,
        watches_used: 0,
    };
    // Counted is by the real user; that of a process with two is no matter here.
    let own = rustix::process::getuid().as_raw();
    let _ = table::each_pid(|pid| {
        if facts::uid_of(pid) == Some(own) {
            count_watches(pid, &mut found);
        }
    });
    Some(found)
}

fn count_watches(pid: u32, found: &mut Watches) {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    for fd in fds {
        let is_inotify = |link: PathBuf| link.as_os_str() == "anon_inode:inotify";
        if !fs::read_link(fd.path()).is_ok_and(is_inotify) {
            continue;
        }
        found.instances_used += 1;
        let info = format!("/proc/{pid}/fdinfo/{}", fd.file_name().to_string_lossy());
        let info = fs::read_to_string(info).unwrap_or_default();
        found.watches_used +=
            info.lines().filter(|line| line.starts_with("inotify wd:")).count() as u64;
    }
}

pub(super) fn backlog() -> Option<u64> {
    number("/proc/sys/net/core/somaxconn")
}

/// cgroup v2 alone; a group above with a smaller limit counts too.
pub(super) fn room_in_group() -> Option<(u64, PathBuf)> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let all = root.join(own);
    let rooms = all.ancestors().take_while(|group| group.starts_with(root)).filter_map(|group| {
        let limit = group.join("pids.max");
        let most = number(limit.to_str()?)?;
        let now = number(group.join("pids.current").to_str()?)?;
        Some((most.saturating_sub(now), limit))
    });
    rooms.min_by_key(|(room, _)| *room)
}

/// `1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF` (proc_locks(5)).
pub(super) fn lock_taker(file: &Path) -> Option<u32> {
    let found = fs::metadata(file).ok()?;
    let (major, minor) = (rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
    let whose = format!("{major:02x}:{minor:02x}:{}", found.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, _, pid, file, ..] = fields[..] else { return None };
        (file == whose).then(|| pid.parse().ok()).flatten().filter(|pid| *pid > 0)
    })
}

/// `Num RefCount Protocol Flags Type St Inode Path`; the flag of a listener is `__SO_ACCEPTCON`.
pub(super) fn has_listener(path: &Path) -> Option<bool> {
    const LISTENS: u32 = 0x10000;
    let sockets = fs::read_to_string("/proc/net/unix").ok()?;
    let wanted = path.to_str()?;
    Some(sockets.lines().any(|line| {
        let flags =
            line.split_ascii_whitespace().nth(3).and_then(|it| u32::from_str_radix(it, 16).ok());
        let at = line.find('/').map(|start| &line[start..]);
        at == Some(wanted) && flags.is_some_and(|flags| flags & LISTENS != 0)
    }))
}
