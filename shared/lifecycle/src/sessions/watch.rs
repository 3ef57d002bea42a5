//! Watching over the sessions: the kernel tells of an end, and for those of whom it can't, time does.
//!
//! Invariant: while every session is watched and the journal can be written, nothing here ever wakes by
//! itself.

use std::sync::Arc;
use std::time::Duration;

use hearth_process::{Ends, Liveness, OpenError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::Sessions;

/// Who can't be watched is looked at so often: nothing tells of his end, nor of room for one more.
const SWEEP: Duration = Duration::from_secs(5);
/// A journal that can't be written is tried again after this: nothing tells when there is room again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn watch(sessions: &Sessions) {
    let fd = sessions.0.ends.as_ref().and_then(|ends| register(Arc::clone(ends)));
    let (mut sweep_at, mut save_at) = (None, None);
    let mut sweeping: Option<JoinHandle<()>> = None;
    loop {
        let (unwatched, failing) = restless(sessions, fd.is_some());
        sweep_at = due(unwatched && sweeping.is_none(), sweep_at, SWEEP);
        save_at = due(failing, save_at, TRY_AGAIN);
        tokio::select! {
            () = ended(sessions, fd.as_ref()) => {}
            () = at(sweep_at) => {
                let sessions = sessions.clone();
                sweep_at = None;
                sweeping = Some(spawn_blocking(move || sweep(&sessions)));
            }
            () = swept(&mut sweeping) => {}
            () = at(save_at) => {
                save_at = None;
                sessions.table().save_again();
            }
            () = sessions.0.stirred.notified() => {}
        }
    }
}

fn register(ends: Arc<Ends>) -> Option<AsyncFd<Arc<Ends>>> {
    // SAFETY: it owns its descriptor, always tells the same one, and closes it when the last owner is
    // dropped, of which the `AsyncFd` is one.
    let fd = unsafe { AsyncFd::register_with_interest(ends, Interest::READABLE) };
    fd.inspect_err(|error| warn!(%error, "sessions are looked at every 5 s")).ok()
}

/// Whether somebody must be looked at, and whether the journal is behind.
fn restless(sessions: &Sessions, told: bool) -> (bool, bool) {
    let table = sessions.table();
    let unwatched = !table.unwatched.is_empty() || !told && !table.entries.is_empty();
    (unwatched, table.journal.is_failing())
}

/// When it is due, in `pause` at the latest; what was due stays so.
fn due(is_needed: bool, before: Option<Instant>, pause: Duration) -> Option<Instant> {
    is_needed.then(|| before.unwrap_or_else(|| Instant::now() + pause))
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn swept(sweeping: &mut Option<JoinHandle<()>>) {
    match sweeping {
        Some(running) => {
            // A panic in there is told by the runtime; the next look is in five seconds.
            let _ = running.await;
            *sweeping = None;
        }
        None => std::future::pending().await,
    }
}

/// Returns when some have ended and were told; never where nothing tells of them.
async fn ended(sessions: &Sessions, fd: Option<&AsyncFd<Arc<Ends>>>) {
    let Some(fd) = fd else { return std::future::pending().await };
    let Ok(mut ready) = fd.readable().await else { return };
    // Before it is emptied: an end that comes between the two wakes us once more.
    ready.clear_ready();
    drain(sessions, fd.get_ref());
}

fn drain(sessions: &Sessions, ends: &Ends) {
    match ends.drain() {
        Ok(tokens) => {
            sessions.table().end(&tokens);
            sessions.tell();
        }
        Err(error) => warn!(%error, "cannot take the ends of sessions"),
    }
}

/// Looks at those of whom the kernel tells nothing, and tries to have it tell.
fn sweep(sessions: &Sessions) {
    let ends = sessions.0.ends.as_deref();
    ends.iter().for_each(|ends| drain(sessions, ends));
    let unwatched: Vec<_> = {
        let table = sessions.table();
        let entry = |token: &u64| Some((*token, table.entries.get(token)?.process.clone()));
        table.unwatched.iter().filter_map(entry).collect()
    };
    let mut ended = Vec::new();
    let mut room = ends;
    for (token, process) in unwatched {
        match room.map(|ends| ends.add(&process, token)) {
            Some(Ok(())) => {
                let there = sessions.table().is_watched(token);
                ends.filter(|_| !there).iter().for_each(|ends| ends.remove(token));
                continue;
            }
            // A limit: for the others there is no room either.
            Some(Err(OpenError::Os(_))) => room = None,
            Some(Err(OpenError::Gone | OpenError::Recycled | OpenError::OtherWorld)) | None => {}
        }
        match process.living() {
            // What can't be read now is no change.
            Liveness::Living | Liveness::Unknown => {}
            Liveness::Ended | Liveness::Recycled | Liveness::OtherWorld => ended.push(token),
        }
    }
    sessions.table().end(&ended);
    sessions.tell();
}
