//! The end of an agent: hooks, the socket, who is still in the queue; L last.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hearth_process::locked::LockedFile;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::handle::{Handle, Hook, Run};
use super::manager::Ending;

/// How an agent ended. It holds L: whoever drops it lets the next agent begin.
#[derive(Debug)]
pub struct Stopped {
    /// Hooks that did not end in time, or not in order: those that panicked are named so.
    pub hung: Vec<String>,
    pub(super) _lock: LockedFile,
}

/// Runs what is to be done where everything ends, then the hooks; each last registered first, the
/// latter all within `budget`. Tells which did not end.
pub(super) async fn run_all(handle: &Handle, budget: Duration) -> Vec<String> {
    if handle.ending() == Ending::Shutdown {
        // A century: whoever is in a hurry kills.
        run_hooks(&handle.0.last_hooks, Duration::from_secs(100 * 365 * 86400)).await;
    }
    run_hooks(&handle.0.hooks, budget).await
}

async fn run_hooks(hooks: &Mutex<Vec<Hook>>, budget: Duration) -> Vec<String> {
    let deadline = Instant::now() + budget;
    let mut hung = Vec::new();
    loop {
        let hook = hooks.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(Hook { name, within, run }) = hook else { return hung };
        let own = within.and_then(|within| Instant::now().checked_add(within));
        let until = own.map_or(deadline, |own| own.min(deadline));
        match timeout_at(until, in_a_thread(&name, run)).await {
            Ok(Ok(())) => info!(hook = name, "stop hook done"),
            Ok(Err(Failed)) => {
                warn!(hook = name, "stop hook panicked");
                hung.push(format!("{name} (panicked)"));
            }
            Err(_) => {
                warn!(hook = name, "stop hook did not end in time");
                hung.push(name);
            }
        }
    }
}

/// It panicked.
struct Failed;

/// Runs a hook where it can neither block us nor take us along. Its thread is nobody's to wait for: one
/// that hangs ends with the process.
async fn in_a_thread(name: &str, run: Run) -> Result<(), Failed> {
    let (done, ended) = oneshot::channel();
    // Dropped with us: what only waits ends then, and does not outlive the runtime.
    let (_wanted, unwanted) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Handle::current();
    let (kept, again) = (Arc::new(Mutex::new(Some(run))), name.to_owned());
    let taken = Arc::clone(&kept);
    let take =
        |kept: &Mutex<Option<Run>>| kept.lock().unwrap_or_else(PoisonError::into_inner).take();
    let started = thread::Builder::new().name("stop hook".into()).spawn(move || {
        let Some(run) = take(&taken) else { return };
        runtime.block_on(async {
            tokio::select! {
                () = run() => drop(done.send(())),
                _ = unwanted => {}
            }
        });
    });
    if let Err(error) = started {
        // No room for a thread: then here, where it can at least not panic into us.
        warn!(hook = again, %error, "a stop hook has no thread of its own");
        let Some(run) = take(&kept) else { return Err(Failed) };
        return tokio::spawn(async move { run().await }).await.map_err(|_| Failed);
    }
    // Dropped without a word where the thread has panicked.
    ended.await.map_err(|_| Failed)
}
