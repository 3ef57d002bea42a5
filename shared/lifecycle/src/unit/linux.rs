//! Linux: systemd's user manager.

use super::{Installed, Kind, systemd};
use crate::App;

pub(super) const KIND: Kind = Kind::Systemd;

pub(super) fn installed(app: &App) -> Installed {
    systemd::installed(app)
}
