//! Publishing the socket: bound aside, listening, then renamed into place.
//!
//! A socket that is bound and does not listen yet reads as a dead one (ECONNREFUSED), so no such
//! moment is ever visible at the path. Unlinking compares the inode first: an agent that ends never
//! takes its successor's socket away.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::Home;
use crate::home::{ASIDE, Blocked};

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

/// Binds, listens, and renames into place. Under L.
pub(super) fn publish(home: &Home) -> Result<(UnixListener, Inode), PublishError> {
    let path = home.socket();
    home.foreign_at_socket()?;
    if somebody_listens(&path) {
        return Err(PublishError::Foreign(path));
    }
    let aside = home.sockets().join(ASIDE);
    let bound = bind(&aside).and_then(|listener| {
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o600))?;
        let inode = Inode::of(&aside)?;
        fs::rename(&aside, &path)?;
        Ok((listener, inode))
    });
    Ok(bound.map_err(|e| Blocked::io("listen on", &path, &e))?)
}

fn bind(aside: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let address = SocketAddrUnix::new(aside)?;
    #[cfg(not(target_os = "macos"))]
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    #[cfg(target_os = "macos")]
    let socket = {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::empty(),
            None,
        )?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&socket, rustix::fs::OFlags::NONBLOCK)?;
        socket
    };
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Whether a living process listens there. Only ever asked under L, so it is none of our agents.
fn somebody_listens(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    is_socket && may_connect(path).is_ok_and(|may| may)
}

/// A queue that is full has somebody behind it: without waiting, who may be stopped for ever.
fn may_connect(path: &Path) -> io::Result<bool> {
    let socket =
        rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).map(fs::File::from)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&socket, rustix::fs::OFlags::NONBLOCK)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INPROGRESS) => Ok(true),
        Err(_) => Ok(false),
    }
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
