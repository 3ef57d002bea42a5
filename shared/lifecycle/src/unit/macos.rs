//! macOS: launchd.

use super::{Installed, Kind, launchd};
use crate::App;

pub(super) const KIND: Kind = Kind::Launchd;

pub(super) fn installed(app: &App) -> Installed {
    launchd::installed(app)
}
