//! What this machine can do, and how much of what it has is left: for who looks for a fault.
//!
//! Invariant: nothing is made, changed or waited for. What the system does not tell is absent; no limit
//! and no figure is guessed. A file system that hangs hangs the call: who has a deadline asks from a
//! thread.

use std::io;
use std::path::Path;

#[cfg(target_os = "linux")]
#[path = "machine/linux.rs"]
mod os;
#[cfg(target_os = "macos")]
#[path = "machine/macos.rs"]
mod os;

/// The file system that a path is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// What it is called: `ext4`, `nfs`; the number of its kind where that has no name here.
    pub kind: String,
    /// It stands on another machine.
    pub remote: bool,
    /// Nothing can be written to it.
    pub read_only: bool,
    /// Bytes that we may still write.
    pub free: u64,
    /// Files that may still be made; `None` where it has no such limit.
    pub files_left: Option<u64>,
}

/// The file system of `path` (`statfs(2)`, `statvfs(3)`).
pub fn file_system(path: &Path) -> io::Result<FileSystem> {
    let found = rustix::fs::statvfs(path)?;
    let (kind, remote) = os::kind_of(path)?;
    Ok(FileSystem {
        kind,
        remote,
        read_only: found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
        free: found.f_bavail.saturating_mul(found.f_frsize),
        // btrfs and many that are not disks say that they have none at all.
        files_left: (found.f_files > 0).then_some(found.f_favail),
    })
}

/// Something of the kernel's that is built upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// A word for it, the same on every system: `exits`, `peers`, `memory`, `orphans`, `watches`,
    /// `processes`.
    pub name: &'static str,
    /// What it is here, and for what it is used.
    pub words: String,
    /// Why it can't be had; `None`: it is there.
    pub lack: Option<String>,
    /// Without it nothing works; else something is done in a worse way.
    pub needed: bool,
}

/// Each of them, tried.
pub fn features() -> Vec<Feature> {
    os::features()
}

/// Watches on files, of which a user has so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watches {
    /// Descriptors for watches that a user may have.
    pub instances: u64,
    /// How many this user has, as far as it can be seen.
    pub instances_used: u64,
    /// Watches that a user may have.
    pub watches: u64,
    /// How many this user has, as far as it can be seen.
    pub watches_used: u64,
}

/// `inotify(7)`'s limits. `None` on macOS, where a watch is a descriptor like any other.
pub fn watches() -> Option<Watches> {
    os::watches()
}

/// How many connections may wait for a listener (`net.core.somaxconn`, `kern.ipc.somaxconn`).
pub fn backlog() -> Option<u64> {
    os::backlog()
}

/// How many more processes may be started in our control group, and what says so.
pub fn room_in_group() -> Option<(u64, std::path::PathBuf)> {
    os::room_in_group()
}

/// Who took the flock that is on a file (`proc_locks(5)`): its pid. `None` where nobody holds one, the
/// system does not tell, or who took it is of another pid namespace. It may have handed it on and ended.
pub fn lock_taker(file: &Path) -> Option<u32> {
    os::lock_taker(file)
}

/// Whether somebody in our network namespace listens on the Unix socket at `path`, told without
/// connecting to it (which may start a service). `None` where the system does not tell.
pub fn has_listener(path: &Path) -> Option<bool> {
    os::has_listener(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_here_and_every_feature_has_its_name() {
        let names: Vec<_> = features().iter().map(|feature| feature.name).collect();
        assert_eq!(names, ["exits", "peers", "memory", "orphans", "watches", "processes"]);
        for feature in features() {
            assert!(!feature.needed || feature.lack.is_none(), "{feature:?}");
        }
    }

    #[test]
    fn a_file_system_has_a_name_and_room() {
        let found = file_system(Path::new("/")).unwrap();
        assert!(!found.kind.is_empty() && found.free > 0, "{found:?}");
        assert!(file_system(Path::new("/no/such/path")).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_took_a_lock_and_who_listens_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = crate::locked::LockedFile::open(&path, true).unwrap();
        assert_eq!(lock_taker(&path), None);
        let _lock = crate::locked::LockedFile::try_exclusive(lock).unwrap();
        assert_eq!(lock_taker(&path), Some(std::process::id()));
        let path = dir.path().join("socket");
        assert_eq!(has_listener(&path), Some(false));
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(has_listener(&path), Some(true));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn our_own_watches_are_counted() {
        let one = crate::watch::DirWatch::new(Path::new("/")).unwrap();
        let found = watches().unwrap();
        assert!(found.instances_used >= 1 && found.watches_used >= 1, "{found:?}");
        drop(one);
    }
}
