//! How a shim begins: from the agent's child to a process that belongs to nobody.
//!
//! Invariant: one shim a service. The record's lock is taken before anything is started, on the
//! file that has the record's name at that time, and held until the shim is gone. So an agent that
//! does not know of a living shim, for whatever reason, can't make a second copy of its service.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use hearth_process::locked::{LockedFile, TryError};
use hearth_process::{Liveness, ProcessId, child, stdio, tree};

use crate::connection::Connection;
use crate::frames::{FromShim, Spec, ToShim, VERSION};
use crate::record::Record;
use crate::refusal::why;
use crate::shim::{Parts, Shim};
use crate::signals::Signals;

/// Called wrongly, or told something else than what to start.
const USAGE: i32 = 2;

/// The program `hearth shim PROJECT/SERVICE`.
///
/// Its arguments are only for people who read `ps`; what to start comes as a
/// [`ToShim::Start`] over the socket that is its standard input. Whoever starts it as the leader of a
/// session of its own has made it nobody's child already, and it is the shim; else the process that
/// was called exits with 0 as soon as a second one leads a session, and that one is.
pub fn main() -> ! {
    let code = match prepare() {
        Ok(mut control) => match control.wait_for_frame() {
            Some(ToShim::Start(spec)) => run(*spec, control),
            Some(_) => USAGE,
            None => 1,
        },
        Err(error) => {
            eprintln!("hearth shim: {error} (it is started by hearth's agent, not by hand)");
            USAGE
        }
    };
    std::process::exit(code)
}

/// Cuts everything that ties this process to its caller, but the connection.
fn prepare() -> io::Result<Connection> {
    let control = Connection::inherited(inherit()?)?;
    if !leads_a_session() {
        detach()?;
    }
    Ok(control)
}

/// By number: a session that began outside this pid namespace has the number 0, which rustix's
/// type for a pid does not hold.
fn leads_a_session() -> bool {
    // SAFETY: both take and give numbers alone.
    unsafe { libc::getsid(0) == libc::getpid() }
}

/// The socket that was standard input; nothing else that the caller had open stays, but 1 and 2.
pub(crate) fn inherit() -> io::Result<UnixStream> {
    stdio::ensure_open()?;
    child::default_signals();
    child::keep_only(&[])?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Said by the kernel for what is no connected socket.
    socket.peer_addr()?;
    let null = std::fs::File::open("/dev/null")?;
    // SAFETY: 0 is open and meant to be replaced; Rust's stdin has read nothing.
    if unsafe { libc::dup2(null.as_raw_fd(), 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    std::env::set_current_dir("/")?;
    Ok(socket)
}

/// The second fork (the agent's was the first): returns in the process that becomes the shim. The
/// caller's child waits for its setsid, so that nothing that ends the agent's session reaches it.
fn detach() -> io::Result<()> {
    let (separated, separate) = io::pipe()?;
    // SAFETY: there is one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            rustix::process::setsid()?;
            drop(separate);
            Ok(())
        }
        _ => {
            drop(separate);
            let _ = io::Read::read(&mut &separated, &mut [0]);
            // SAFETY: ends the process without running what belongs to the shim.
            unsafe { libc::_exit(0) }
        }
    }
}

/// One life. Gives the exit code.
fn run(spec: Spec, mut control: Connection) -> i32 {
    let file = match claim(&spec.record_path) {
        Ok(file) => file,
        Err(refusal) => {
            control.send(&refusal);
            return 1;
        }
    };
    match begin(&spec, file) {
        Ok(parts) => {
            if control.never_wait().is_err() {
                control.ended = true;
            }
            Shim::new(spec, parts, control).live()
        }
        Err(error) => {
            // Nothing was started, and the agent may be told now only: there is no socket.
            let reason = format!("its shim could not start: {}", why(&error));
            control.send(&FromShim::StartFailed { reason });
            let _ = std::fs::remove_file(&spec.record_path);
            1
        }
    }
}

/// Locks the record.
fn claim(path: &Path) -> Result<LockedFile, FromShim> {
    let failed = |why: String| FromShim::StartFailed {
        reason: format!("its record {} can't be locked: {why}", path.display()),
    };
    loop {
        let file = LockedFile::open(path, true).map_err(|error| failed(why(&error)))?;
        let locked = match LockedFile::try_exclusive(file) {
            Ok(locked) => locked,
            Err((_, TryError::Held)) => {
                return Err(FromShim::Refused {
                    reason: format!("another shim holds {}", path.display()),
                });
            }
            Err((_, TryError::Unsupported(error) | TryError::Os(error))) => {
                return Err(failed(why(&error)));
            }
        };
        // A shim that was just acknowledged removes its record before it lets go of it: what was
        // locked then has no name, and would keep nobody out. Ends as soon as that shim is gone.
        if is_at(&locked, path) {
            return none_left(path).map(|()| locked);
        }
    }
}

/// The last gate before a second copy: a shim that was killed lets go of its record, and its
/// service's process runs on. Whoever asks for the next life has to end that one first.
fn none_left(path: &Path) -> Result<(), FromShim> {
    let last = Record::read(path).ok().flatten();
    let leader = last.filter(|record| !record.emptied).and_then(|record| record.leader);
    match leader {
        Some(leader) if leader.living() == Liveness::Living => Err(FromShim::Refused {
            reason: format!("pid {} of its last life runs on, its shim was killed", leader.pid),
        }),
        Some(_) | None => Ok(()),
    }
}

fn is_at(locked: &LockedFile, path: &Path) -> bool {
    match (locked.file().metadata(), path.symlink_metadata()) {
        (Ok(held), Ok(named)) => held.ino() == named.ino() && held.dev() == named.dev(),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// Everything that needs room, rights or descriptors and has nothing to do with the service.
fn begin(spec: &Spec, file: LockedFile) -> io::Result<Parts> {
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077)).as_raw_mode();
    let record = Record {
        version: VERSION,
        project: spec.project.clone(),
        service: spec.service.clone(),
        life: spec.life,
        shim: ProcessId::of(std::process::id())?,
        leader: None,
        started_at: None,
        failed: None,
        exit: None,
        emptied: false,
        pipes: Vec::new(),
    };
    record.write(&file)?;
    tree::become_subreaper()?;
    Ok(Parts {
        signals: Signals::install()?,
        listener: listen(&spec.socket_path)?,
        record,
        file,
        umask,
    })
}

/// Bound aside and renamed, so that nobody finds a socket that does not listen yet. The name aside
/// is not longer than the name, which fits just so.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let aside = path.with_extension("new");
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&aside)?;
    listener.set_nonblocking(true)?;
    std::fs::rename(&aside, path)?;
    Ok(listener)
}
