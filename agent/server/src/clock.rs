//! The core's time and everybody's, from one moment on.

use std::time::{Duration, SystemTime};

use hearth_core::Time;
use tokio::time::Instant;

/// The moment at which the agent began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    began: SystemTime,
}

impl Clock {
    /// From now on.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now(), began: SystemTime::now() }
    }

    /// Now, for the core.
    pub(crate) fn now(&self) -> Time {
        Time(self.origin.elapsed())
    }

    /// When the runtime must wake for a moment of the core's; `None`: never.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        self.origin.checked_add(time.0)
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
