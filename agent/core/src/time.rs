//! Time as the driver measures it. Only differences count; arithmetic saturates, so that a
//! duration of "for ever" is a deadline that never comes and not an overflow.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment: the duration since an arbitrary origin of the driver's, on a clock that never goes
/// back.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub Duration);

impl Time {
    /// The moment `pause` later.
    #[must_use]
    pub fn after(self, pause: Duration) -> Self {
        Self(self.0.saturating_add(pause))
    }

    /// How long ago `earlier` was; zero where it is still to come.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
