//! The end of an agent: hooks, the socket, who is still in the queue; L last.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hearth_process::locked::LockedFile;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::handle::{Handle, Hook};
use super::manager::Ending;

/// How an agent ended. It holds L: whoever drops it lets the next agent begin.
#[derive(Debug)]
pub struct Stopped {
    /// Hooks that did not end in time.
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
        let Some(hook) = hook else { return hung };
        // A task of its own: a hook that panics stops nobody.
        let task = tokio::spawn((hook.run)());
        match timeout_at(deadline, task).await {
            Ok(Ok(())) => info!(hook = hook.name, "stop hook done"),
            Ok(Err(error)) => warn!(hook = hook.name, %error, "stop hook failed"),
            Err(_) => {
                warn!(hook = hook.name, "stop hook did not end in time");
                hung.push(hook.name);
            }
        }
    }
}
