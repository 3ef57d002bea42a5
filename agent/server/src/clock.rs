//! The core's time and everybody's, from one moment on.
//!
//! Invariant: the core's time is one clock over all agents of a boot, so what one has saved means the
//! same to the next: that of `CLOCK_MONOTONIC`, which no step of the wall clock moves, and which
//! stands still while the machine sleeps, as the runtime's timers do.

use std::time::{Duration, SystemTime};

use hearth_core::Time;
use tokio::time::Instant;

/// The moment at which the agent began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    since_boot: Duration,
    began: SystemTime,
}

impl Clock {
    /// From now on.
    pub(crate) fn start() -> Self {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let since_boot = Duration::try_from(boot).unwrap_or_default();
        Self { origin: Instant::now(), since_boot, began: SystemTime::now() }
    }

    /// Now, for the core.
    pub(crate) fn now(&self) -> Time {
        Time(self.since_boot.saturating_add(self.origin.elapsed()))
    }

    /// When the runtime must wake for a moment of the core's; `None`: never.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        self.origin.checked_add(time.0.saturating_sub(self.since_boot))
    }

    /// How long the agent has lived.
    pub(crate) fn uptime(&self) -> Duration {
        self.origin.elapsed()
    }

    /// When the agent began, for people.
    pub(crate) fn began(&self) -> SystemTime {
        self.began
    }
}
