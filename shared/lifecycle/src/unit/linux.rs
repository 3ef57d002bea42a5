//! Linux: systemd's user manager.

use super::{Installed, systemd};
use crate::App;

pub(super) fn installed(app: &App) -> Installed {
    systemd::installed(app)
}
