//! Built without the feature `units`: no service manager is known, and nothing that speaks to one is compiled.
//!
//! Kept true here: there is no value of [`Unit`], so that the compiler knows what is only reached where a
//! unit is in charge, and leaves it out. Who installs a unit has the feature, in all of his executables: one
//! without it would start an agent beside the manager's.

#[expect(dead_code, reason = "nobody tells how it stands with what there is not")]
#[path = "standing.rs"]
mod standing;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub use standing::{Answer, Kind, Refused, Standing};

use crate::{App, Home};

/// What an app has installed for its agent, if it could have.
pub struct Unit {
    pub kind: Kind,
    pub app: &'static str,
    pub name: String,
    pub files: Vec<PathBuf>,
    pub executable: PathBuf,
    never: Infallible,
}

/// None.
pub fn in_charge(_: &App, _: &Home) -> Option<Unit> {
    None
}

type Done<T = ()> = Result<T, Refused>;

impl Unit {
    pub fn ask(&self, _: Instant) -> Done<Answer> {
        match self.never {}
    }

    pub fn start(&self, _: Instant) -> Done {
        match self.never {}
    }

    pub fn stop(&self, _: Instant) -> Done {
        match self.never {}
    }

    pub fn restart(&self, _: Instant) -> Done {
        match self.never {}
    }

    pub fn mend(&self, _: Instant) -> Done {
        match self.never {}
    }

    pub fn forgive(&self, _: Instant) -> Done {
        match self.never {}
    }

    pub fn look(&self) -> String {
        match self.never {}
    }

    pub fn file(&self) -> &Path {
        match self.never {}
    }
}
