//! Taking over the shims of an earlier agent.
//!
//! Invariant: what lives is never started a second time. A record that is held is a living shim,
//! whether it answers or not; what does not answer is left alone and keeps its record, so a start
//! of its service is refused by the shim itself. A record that nobody holds is a shim that died:
//! what it left is ended before its service may start again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hearth_core::ServiceId;
use hearth_process::facts;
use hearth_process::locked::{self, LockedFile, TryError};
use hearth_process::watch::{ChangeKind, DirWatch};
use hearth_shim::Record;
use hearth_shim::frames::{Decoder, FromShim, encode};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::bundle::{self, Bundle, Held};
use crate::execute::fd::Watched;
use crate::execute::link::{Ending, Line, Link, Seen, Told, hello, read};
use crate::place::Place;

/// From its record to its socket a shim takes milliseconds; on a machine that is very busy, this.
const BIRTH: Duration = Duration::from_secs(2);
/// From its start to its record, likewise.
const LATE: Duration = Duration::from_secs(5);
/// What it holds, a shim that has just answered gives back within this.
const GIVEN_BACK: Duration = Duration::from_secs(2);

/// What was found under `shims/`.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Shims that were asked; each tells [`Told::Answered`] or [`Told::Unanswered`].
    pub(crate) asked: Vec<PathBuf>,
    /// Records of shims that died.
    pub(crate) dead: Vec<(PathBuf, Record)>,
}

/// Whether an answer comes by itself, after all others: then what the shim holds is fetched with it.
pub(crate) type Late = Arc<AtomicBool>;

/// Looks at every record, and asks those who live.
pub(crate) fn look(place: &Place, told: &mpsc::Sender<Told>, late: &Late) -> io::Result<Found> {
    let mut found = Found::default();
    for entry in std::fs::read_dir(place.records())? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "rec") {
            settle(&path, place, told, late, &mut found);
        }
    }
    Ok(found)
}

/// One record.
pub(crate) fn settle(
    path: &Path,
    place: &Place,
    told: &mpsc::Sender<Told>,
    late: &Late,
    found: &mut Found,
) {
    let left_alone = |error: io::Error| {
        warn!(record = %path.display(), %error, "cannot tell whether a shim lives: left alone");
    };
    // Held while it is read: a shim that was started at the last moment locks it just now.
    let lock = match locked::open(path, false).map(LockedFile::try_exclusive) {
        Ok(Ok(lock)) => lock,
        Ok(Err((_, TryError::Held))) => {
            ask(path, place, told, late);
            found.asked.push(path.to_owned());
            return;
        }
        Ok(Err((_, TryError::Unsupported(error) | TryError::Os(error)))) => {
            return left_alone(error);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return left_alone(error),
    };
    match Record::read(path).ok().flatten() {
        Some(record) => found.dead.push((path.to_owned(), record)),
        None => {
            warn!(record = %path.display(), "a shim's record is not understood: removed");
            drop(lock);
            remove(path, place);
        }
    }
}

/// Asks the shim that holds a record, or is about to.
pub(crate) fn ask(path: &Path, place: &Place, told: &mpsc::Sender<Told>, late: &Late) {
    let id = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let (socket, path, told) = (place.socket(id), path.to_owned(), told.clone());
    let late = Arc::clone(late);
    tokio::spawn(async move {
        let asked = async {
            let mut stream = connect(&socket).await?;
            stream.write_all(&encode(&hello())).await?;
            answer(&mut stream).await.map(|answer| (stream, answer))
        };
        match asked.await {
            Ok((stream, (state, decoder))) => {
                let bundle = match state.held.filter(|_| late.load(Ordering::Relaxed)) {
                    Some(_) => fetch(&socket).await.map(Box::new),
                    None => None,
                };
                adopted(stream, state, decoder, [socket, path], told, bundle).await;
            }
            Err(error) => {
                warn!(record = %path.display(), %error, "a shim does not let itself be asked");
                let _ = told.send(Told::Unanswered(path)).await;
            }
        }
    });
}

/// What a shim holds for its project.
pub(crate) async fn fetch(socket: &Path) -> Option<(Bundle, Held)> {
    match timeout(GIVEN_BACK, bundle::give_back(socket)).await {
        Ok(Ok(given)) => given,
        Ok(Err(error)) => {
            warn!(socket = %socket.display(), %error, "a shim does not give back what it holds");
            None
        }
        Err(_) => {
            warn!(socket = %socket.display(), "a shim does not give back what it holds in time");
            None
        }
    }
}

/// Whether the shim of this record was stopped (SIGSTOP), as far as anybody can tell: then it is no
/// use to wait for it.
pub(crate) fn is_stopped(path: &Path) -> bool {
    let record = Record::read(path).ok().flatten();
    record.is_some_and(|record| facts::is_stopped(record.shim.pid))
}

/// A shim locks its record a moment before it has a socket: the directory tells when it has.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    // Without a watch first: there are few of those (inotify(7)), and there may be many shims.
    match UnixStream::connect(socket).await {
        Err(error) if is_unborn(&error) => {}
        connected => return connected,
    }
    let sockets = socket.parent().unwrap_or(Path::new("/"));
    let mut watch = Watched::new(DirWatch::names(sockets)?)?;
    let found = async {
        loop {
            match UnixStream::connect(socket).await {
                Err(error) if is_unborn(&error) => drop(watch.changes().await?),
                connected => return connected,
            }
        }
    };
    match timeout(BIRTH, found).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it has no socket")),
    }
}

/// No socket, or one that a killed shim has left and that is about to be replaced.
fn is_unborn(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Tells of shims that appear in the first moments of this agent: an agent that was killed in the
/// middle of a start leaves a shim that is not there yet when its successor looks. (macOS does not
/// name what appears: there it is found when its service is to be started.)
pub(crate) fn watch(place: &Place, told: &mpsc::Sender<Told>) -> io::Result<()> {
    let mut watch = Watched::new(DirWatch::names(place.records())?)?;
    let (records, told) = (place.records().to_owned(), told.clone());
    tokio::spawn(async move {
        let watching = async {
            while let Ok(changes) = watch.changes().await {
                let made = changes.into_iter().filter(|change| change.kind == ChangeKind::Created);
                for name in made.filter_map(|change| change.name) {
                    let path = records.join(name);
                    let record = path.extension().is_some_and(|kind| kind == "rec");
                    if record && told.send(Told::Appeared(path)).await.is_err() {
                        return;
                    }
                }
            }
        };
        let _ = timeout(LATE, watching).await;
        // The kernel may take 20 ms for that, and nobody else shall wait for it.
        spawn_blocking(move || drop(watch));
    });
    Ok(())
}

type State = Box<hearth_shim::frames::State>;

/// The first frame, and what may have come behind it.
async fn answer(stream: &mut UnixStream) -> io::Result<(State, Decoder)> {
    let mut decoder = Decoder::new();
    loop {
        match decoder.next::<FromShim>().map_err(io::Error::other)? {
            Some(FromShim::State(state)) => return Ok((state, decoder)),
            Some(_) => continue,
            None => {}
        }
        stream.readable().await?;
        if !read(stream, &mut decoder)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Makes the way to it, gives it to the owner, and relays from here on.
async fn adopted(
    stream: UnixStream,
    state: State,
    decoder: Decoder,
    [socket, record]: [PathBuf; 2],
    told: mpsc::Sender<Told>,
    bundle: Option<Box<(Bundle, Held)>>,
) {
    let mut seen = Seen::default();
    seen.note(&FromShim::State(state.clone()));
    let (giver, orders) = mpsc::unbounded_channel();
    let id = ServiceId::new(state.project.as_str(), state.service.as_str());
    let life = state.life;
    let ending = Ending::default();
    let line = Line { id, life, socket, record, ending, told: told.clone(), orders, seen };
    // First the answer, then what follows from it.
    if told.send(Told::Answered { state, link: Link::to(giver), bundle }).await.is_ok() {
        line.relay(stream, decoder).await;
    }
}

/// One line for the agent's log.
pub(crate) fn tell_death(record: &Record) {
    let (project, service, life) = (&record.project, &record.service, record.life);
    match (&record.exit, &record.failed) {
        (Some(exit), _) => {
            let (code, signal) = (exit.code, exit.signal.map(|signal| signal.name()));
            info!(project, service, life, code, ?signal, "ended while no agent looked");
        }
        (None, Some(reason)) => info!(project, service, life, reason, "could not be started"),
        (None, None) => {
            warn!(project, service, life, "its shim was killed, how it ended nobody knows");
        }
    }
}

/// Removes what a dead shim has left; not where another one has the record by now, which an agent that
/// is dead too may have started at its last moment.
pub(crate) fn remove(record: &Path, place: &Place) {
    let Ok(Ok(_lock)) = locked::open(record, false).map(LockedFile::try_exclusive) else { return };
    let id = record.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    for path in [place.socket(id), place.notify(id), record.to_owned()] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(path = %path.display(), %error, "cannot remove what a shim has left");
            }
            Ok(()) | Err(_) => {}
        }
    }
}
