//! macOS: launchd.

use super::Installed;
use crate::App;

pub(super) fn installed(_app: &App) -> Installed {
    Installed::None
}
