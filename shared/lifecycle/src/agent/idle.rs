//! Idle exit: no guard held for `idle_timeout`. One timer, and only while nothing is held: an agent
//! with services never wakes for it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Handle;

/// Returns when nothing has kept the agent busy for `timeout`.
pub(super) async fn idle_for(handle: &Handle, timeout: Duration) {
    loop {
        let changed = handle.0.busy_changed.notified();
        if handle.0.busy.load(Ordering::Acquire) > 0 {
            changed.await;
            continue;
        }
        let Some(due) = Instant::now().checked_add(timeout) else {
            changed.await;
            continue;
        };
        tokio::select! {
            () = changed => {}
            () = sleep_until(due) => return,
        }
    }
}
