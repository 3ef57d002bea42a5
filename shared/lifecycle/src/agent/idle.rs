//! Idle exit: no guard held for `idle_timeout`. One timer, and only while nothing is held: an agent
//! with services never wakes for it.
//!
//! Who has just been started is about to be asked: were it gone by then, the verb that started it would
//! start one after the other until its deadline.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Handle;

/// The first one to ask may take so long, on a busy machine.
const FIRST: Duration = Duration::from_secs(1);

/// Returns when nothing has kept the agent busy for `timeout`.
pub(super) async fn idle_for(handle: &Handle, timeout: Duration) {
    let mut patience = timeout.max(FIRST);
    loop {
        let changed = handle.0.busy_changed.notified();
        if handle.0.busy.load(Ordering::Acquire) > 0 {
            patience = timeout;
            changed.await;
            continue;
        }
        let Some(due) = Instant::now().checked_add(patience) else {
            changed.await;
            continue;
        };
        tokio::select! {
            () = changed => patience = timeout,
            () = sleep_until(due) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_was_not_asked_yet_waits_for_the_first_and_then_no_longer_than_said() {
        let (handle, short) = (Handle::new("x".into(), false, None), Duration::from_millis(1));
        let began = Instant::now();
        idle_for(&handle, short).await;
        assert!(began.elapsed() >= FIRST);
        let began = Instant::now();
        let asked = async {
            tokio::task::yield_now().await;
            drop(handle.busy());
        };
        tokio::join!(idle_for(&handle, short), asked);
        assert!(began.elapsed() < FIRST);
    }
}
