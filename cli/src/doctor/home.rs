//! The home: that it is there or can be made, and is ours alone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hearth_lifecycle::Home;
use hearth_process::machine;

use crate::finding::Finding;

/// Its findings.
pub const NAMES: &[&str] = &["home", "sockets", "home-file-system"];

/// Looks.
pub fn look(home: &Home) -> Vec<Finding> {
    vec![itself(home), sockets(home), file_system(home)]
}

fn itself(home: &Home) -> Finding {
    let shown = home.dir().display();
    match home.look() {
        // What is wrong with the sockets' directory alone is told there.
        Err(blocked) if fs::symlink_metadata(home.dir()).is_ok() && sound(home.dir()) => {
            let _ = blocked;
            Finding::ok("home", format!("{shown} (0700, yours)"))
        }
        Err(blocked) => Finding::fault("home", blocked.reason, blocked.remedy),
        Ok(true) => Finding::ok("home", format!("{shown} (0700, yours)")),
        Ok(false) => not_there(home),
    }
}

fn sound(dir: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(dir)
        .is_ok_and(|it| it.is_dir() && it.uid() == own && it.mode() & 0o777 == 0o700)
}

/// Whether it could be made: the nearest directory that is there must let us.
fn not_there(home: &Home) -> Finding {
    let shown = home.dir().display();
    let above = nearest(home.dir());
    let writable =
        rustix::fs::access(above, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
    match writable {
        Ok(()) if above.is_dir() => {
            Finding::ok("home", format!("{shown} is not there yet: the first verb makes it"))
        }
        Ok(()) => Finding::fault(
            "home",
            format!("{shown} can't be made: {} is not a directory", above.display()),
            "move it away, or name another home with --home",
        ),
        Err(error) => Finding::fault(
            "home",
            format!(
                "{shown} can't be made: {} can't be written to: {}",
                above.display(),
                std::io::Error::from(error)
            ),
            "see who owns it with `ls -ld`, or name another home with --home",
        ),
    }
}

/// The path itself, or the nearest one above it that is there.
pub fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|above| fs::symlink_metadata(above).is_ok()).unwrap_or(Path::new("/"))
}

fn sockets(home: &Home) -> Finding {
    let (dir, shown) = (home.sockets(), home.sockets().display());
    if dir == home.dir() {
        return Finding::ok("sockets", "stand in the home");
    }
    let why = format!("the home's path is too long for sockets, which stand in {shown}");
    match home.look() {
        Err(blocked) if sound(home.dir()) => {
            Finding::fault("sockets", format!("{why}\n{}", blocked.reason), blocked.remedy)
        }
        Err(_) | Ok(_) => Finding::warning(
            "sockets",
            format!("{why} (a cleaner of /tmp may take them away)"),
            "name a home with a shorter path, by HEARTH_HOME",
        ),
    }
}

fn file_system(home: &Home) -> Finding {
    const NAME: &str = "home-file-system";
    let path = nearest(home.dir());
    let found = match machine::file_system(path) {
        Ok(found) => found,
        Err(error) => {
            let why = format!("the file system of {} can't be looked at: {error}", path.display());
            return Finding::fault(NAME, why, "name a home on another one with HEARTH_HOME");
        }
    };
    let kind = &found.kind;
    if found.read_only {
        let why = format!("{} is on a file system that is read-only ({kind})", path.display());
        return Finding::fault(
            NAME,
            why,
            "mount it writable, or name another home with HEARTH_HOME",
        );
    }
    if let Err(error) = can_lock(home, path) {
        let why = format!(
            "{} is on a file system that can't lock files ({kind}): {error}",
            path.display()
        );
        return Finding::fault(NAME, why, "name a home on a local file system with HEARTH_HOME");
    }
    if found.remote {
        return Finding::warning(
            NAME,
            format!(
                "{} is on a file system of another machine ({kind}): its locks may fail, and an agent of \
                 another machine may have them",
                path.display()
            ),
            "name a home on a local file system with HEARTH_HOME",
        );
    }
    Finding::ok(NAME, format!("{kind}, local, locks files"))
}

/// By the lifetime lock where it is there, else by the directory itself: nothing is made for it.
fn can_lock(home: &Home, path: &Path) -> std::io::Result<()> {
    let lock = home.agent_lock();
    if lock.is_file() {
        return match hearth_process::locked::is_held(&lock) {
            // That we may not read it is told with the lock.
            Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => Err(error),
            Ok(_) | Err(_) => Ok(()),
        };
    }
    let Ok(directory) = fs::File::open(path) else { return Ok(()) };
    match rustix::fs::flock(&directory, rustix::fs::FlockOperation::NonBlockingLockShared) {
        Ok(()) | Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
