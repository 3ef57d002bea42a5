//! Every end of a life is on record: a line in the agent's log.
//!
//! Invariant: whatever way an end is learned by, it is told here before anything follows from it. A
//! life whose end one agent has told and whose shim another one takes over is told twice.

use hearth_core::{Event, Exit, ServiceId};
use tracing::info;

/// The last words on a life, if the event is its end.
pub(super) fn tell(event: &Event) {
    match event {
        Event::Exited { id, life, exit } | Event::Adopted { id, life, exit: Some(exit), .. } => {
            exited(id, *life, exit);
        }
        Event::StartFailed { id, life, reason } => unknown(id, *life, reason),
        Event::ShimLost { id, life, .. } => unknown(id, *life, "its shim was killed"),
        Event::Missing { id, life, .. } => unknown(id, *life, "neither shim nor record is left"),
        Event::Up { .. }
        | Event::Lease { .. }
        | Event::Release { .. }
        | Event::Unstartable { .. }
        | Event::Down { .. }
        | Event::Restart { .. }
        | Event::Started { .. }
        | Event::Emptied { .. }
        | Event::Probed { .. }
        | Event::Adopted { exit: None, .. }
        | Event::Mute { .. }
        | Event::Settled
        | Event::Tick => {}
    }
}

fn exited(id: &ServiceId, life: u64, exit: &Exit) {
    let (code, signal) = (exit.code, exit.signal.as_deref());
    info!(project = %id.project, service = %id.name, life, code, signal, "a life has ended");
}

fn unknown(id: &ServiceId, life: u64, reason: &str) {
    info!(project = %id.project, service = %id.name, life, reason, "a life has ended");
}
