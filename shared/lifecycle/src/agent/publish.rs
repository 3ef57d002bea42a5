//! Publishing the socket: bound aside, listening, then renamed into place.
//!
//! A socket that is bound and does not listen yet reads as a dead one (ECONNREFUSED), so no such
//! moment is ever visible at the path. Unlinking compares the inode first: an agent that ends never
//! takes its successor's socket away.

use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, sockopt};

use crate::home::{ASIDE, Blocked};
use crate::http::unix_socket;
use crate::{Home, wait};

/// As long as the kernel allows (`net.core.somaxconn`): a herd of verbs fits in.
const BACKLOG: i32 = 4096;

/// Which file we published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inode(u64, u64);

impl Inode {
    /// Of what stands there now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(|found| Self(found.dev(), found.ino()))
    }
}

/// Why the socket could not be published.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    /// Somebody else listens at our path, and lives.
    #[error("another process listens on {}; this agent steps down", .0.display())]
    Foreign(PathBuf),
    #[error(transparent)]
    Blocked(#[from] Blocked),
}

/// An agent that was killed has closed its listener so long after it let go of L.
pub(super) const DYING: Duration = Duration::from_secs(1);

/// Binds, listens, and renames into place. Under L. Blocks for `patience` at most, where somebody
/// listens there who may be about to end.
pub(super) fn publish(
    home: &Home,
    patience: Duration,
) -> Result<(UnixListener, Inode), PublishError> {
    let path = home.socket();
    home.foreign_at_socket()?;
    if somebody_listens(&path, patience) {
        return Err(PublishError::Foreign(path));
    }
    let aside = home.sockets().join(ASIDE);
    let bound = bind(&aside).and_then(|listener| {
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o600))?;
        let inode = Inode::of(&aside)?;
        fs::rename(&aside, &path)?;
        Ok((listener, inode))
    });
    Ok(bound.map_err(|e| Blocked::io("listen on", &aside, &e))?)
}

fn bind(aside: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let address = SocketAddrUnix::new(aside)?;
    let socket = unix_socket()?;
    rustix::fs::fcntl_setfl(&socket, rustix::fs::OFlags::NONBLOCK)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Whether a living process listens there. Only ever asked under L, so it is none of our agents; but
/// the kernel closes the lock of one that was killed first (`LockedFile::let_go_first`), and until it
/// has come to the listener, connections are taken into its queue. They are reset with it.
fn somebody_listens(path: &Path, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
        if !is_socket {
            return false;
        }
        match connect(path, until) {
            Ok(Some(queued)) if has_ended(&queued, until) && Instant::now() < until => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
}

/// A place in the queue of who listens. `None`: the queue is full, so that somebody is behind it; he
/// may be stopped for ever.
fn connect(path: &Path, until: Instant) -> io::Result<Option<fs::File>> {
    let socket = unix_socket().map(fs::File::from)?;
    // None at all would be without end.
    let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(left))?;
    loop {
        return match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
            Ok(()) => Ok(Some(socket)),
            Err(Errno::AGAIN | Errno::INPROGRESS) => Ok(None),
            Err(Errno::INTR) => continue,
            Err(error) => Err(error.into()),
        };
    }
}

/// Whether the other side has closed without a word, by `until`.
fn has_ended(mut connection: &fs::File, until: Instant) -> bool {
    let told = wait::any_readable(&[connection.as_fd()], until).is_ok_and(|told| told[0]);
    told && !matches!(connection.read(&mut [0]), Ok(1))
}

/// What stands at our path now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Our socket.
    Ours,
    /// Nothing, or another file.
    Gone,
}

pub(super) fn standing(home: &Home, inode: Inode) -> Standing {
    match Inode::of(&home.socket()) {
        Ok(found) if found == inode => Standing::Ours,
        Ok(_) | Err(_) => Standing::Gone,
    }
}

/// Unlinks the socket if it is still ours. Under L.
pub(super) fn withdraw(home: &Home, inode: Inode) {
    if standing(home, inode) == Standing::Ours {
        let _ = fs::remove_file(home.socket());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_as_he_is_asked_does_not_listen_and_who_stays_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let dying = UnixListener::bind(&path).unwrap();
        let end = std::thread::spawn(move || {
            // Somebody is in its queue: what the kernel closes next is the listener.
            let long = Instant::now() + DYING;
            assert!(wait::any_readable(&[dying.as_fd()], long).unwrap()[0]);
        });
        assert!(!somebody_listens(&path, DYING));
        end.join().unwrap();
        fs::remove_file(&path).unwrap();
        let stays = UnixListener::bind(&path).unwrap();
        let began = Instant::now();
        assert!(somebody_listens(&path, Duration::from_millis(100)));
        assert!(began.elapsed() < DYING);
        drop(stays);
    }
}
