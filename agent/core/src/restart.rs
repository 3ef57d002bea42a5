//! What follows a life that ended though it was wanted: another try after a pause, or none.
//!
//! Invariant: every failure either leads to a later try, its pause within `backoff`, or is told as
//! final with the reason; nothing is retried without a pause having been set, so that nothing
//! spins.

use std::time::Duration;

use crate::{
    definition::Restart,
    node::{Next, Node},
    nouns::Kind,
    time::Time,
    words,
};

/// How the life ended.
pub(crate) enum Cause {
    /// By itself.
    Exit {
        /// With code 0.
        success: bool,
        /// It had been ready.
        ready: bool,
    },
    /// Stopped, for it was not ready in time.
    Overdue,
    /// There never was a process.
    NotStarted,
}

/// What follows, and the words for it. `last`: the words for the end itself.
pub(crate) fn follow(node: &mut Node, cause: &Cause, last: String, now: Time) -> (Next, String) {
    let oneshot = node.definition.kind == Kind::Oneshot;
    match (cause, node.definition.restart) {
        (Cause::Exit { success: true, .. }, _) if oneshot => (Next::Done, last),
        (Cause::Exit { success: true, ready: true }, Restart::OnFailure | Restart::Never) => {
            (Next::Done, last)
        }
        (Cause::Exit { success: true, ready: true }, Restart::Always) => again(node, &last, now),
        // Nearly always a server that puts itself into the background: to try it again would end
        // the same way, and the words help more.
        (Cause::Exit { success: true, ready: false }, Restart::OnFailure | Restart::Never) => {
            (Next::Failed, format!("{last} before it was ready"))
        }
        // A misspelled command is told at once; one that ran before may be back in a moment (it
        // is being built anew).
        (Cause::NotStarted, Restart::Always | Restart::OnFailure) if !node.history.has_started => {
            (Next::Failed, last)
        }
        (
            Cause::Exit { success: false, .. } | Cause::Overdue | Cause::NotStarted,
            Restart::Never,
        ) => (Next::Failed, last),
        (Cause::Overdue, Restart::Always | Restart::OnFailure) => {
            node.history.stalled += now.since(node.life.began);
            failed(node, &last, now)
        }
        (Cause::Exit { .. } | Cause::NotStarted, Restart::Always | Restart::OnFailure) => {
            failed(node, &last, now)
        }
    }
}

/// Another failure: one too many, or another try.
fn failed(node: &mut Node, last: &str, now: Time) -> (Next, String) {
    let limit = node.definition.give_up;
    let history = &mut node.history;
    let clock = Time(now.0.saturating_sub(history.stalled));
    history.failures.retain(|time| clock.since(*time) <= limit.within);
    history.failures.push(clock);
    let count = u32::try_from(history.failures.len()).unwrap_or(u32::MAX);
    if limit.failures == 0 {
        // Never given up, so never counted.
        history.failures.clear();
    } else if count >= limit.failures {
        let times = if count == 1 { "1 failure".into() } else { format!("{count} failures") };
        let within = words::duration(limit.within);
        return (Next::Failed, format!("gave up after {times} within {within}, last: {last}"));
    }
    again(node, last, now)
}

fn again(node: &mut Node, last: &str, now: Time) -> (Next, String) {
    let backoff = node.definition.backoff;
    let history = &mut node.history;
    if now.since(node.life.began) >= backoff.reset_after {
        history.doubled = 0;
    }
    let pause = pause(backoff.min, backoff.max, history.doubled);
    history.doubled = history.doubled.saturating_add(1);
    history.restarts = history.restarts.saturating_add(1);
    let message = format!("{last}, next try in {}", words::duration(pause));
    (Next::Backoff { until: now.after(pause) }, message)
}

/// `min`, doubled so often, `max` at most (never less than `min`).
fn pause(min: Duration, max: Duration, doubled: u32) -> Duration {
    let factor = 2u32.saturating_pow(doubled.min(31));
    min.saturating_mul(factor).min(max.max(min))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_and_stays_within_its_bounds() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(30));
        let pauses: Vec<u128> = (0..11).map(|n| pause(min, max, n).as_millis()).collect();
        assert_eq!(pauses[..5], [100, 200, 400, 800, 1600]);
        assert_eq!(pauses[9..], [30_000, 30_000]);
        assert_eq!(pause(max, min, 7), max);
        assert_eq!(pause(Duration::MAX, Duration::MAX, u32::MAX), Duration::MAX);
    }
}
