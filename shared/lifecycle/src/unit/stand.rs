//! Whose the manager is that is asked, and told.

use std::time::Instant;

use super::Unit;
use super::launchd::{self, Launchctl};
use super::standing::{Answer, Kind, Refused};
use super::systemd::{self, Systemctl};

/// On macOS alone, and in tests: elsewhere no unit is launchd's, and no executable has to carry what speaks
/// to it.
#[inline(always)]
fn launchctl() -> Result<Launchctl, Refused> {
    if cfg!(any(target_os = "macos", test)) {
        return Ok(Launchctl::default());
    }
    let words = "launchd is the service manager of macOS".to_owned();
    Err(Refused { words, remedy: String::new() })
}

pub(super) fn ask(unit: &Unit, until: Instant) -> Result<Answer, Refused> {
    match unit.kind {
        Kind::Systemd => Systemctl::default().ask(unit, until),
        Kind::Launchd => launchctl()?.ask(unit, until),
    }
}

pub(super) fn start(unit: &Unit, until: Instant) -> Result<(), Refused> {
    match unit.kind {
        Kind::Systemd => Systemctl::default().start(unit, until),
        Kind::Launchd => launchctl()?.start(unit, until),
    }
}

pub(super) fn stop(unit: &Unit, until: Instant) -> Result<(), Refused> {
    match unit.kind {
        Kind::Systemd => Systemctl::default().stop(unit, until),
        Kind::Launchd => launchctl()?.stop(unit, until),
    }
}

pub(super) fn restart(unit: &Unit, until: Instant) -> Result<(), Refused> {
    match unit.kind {
        Kind::Systemd => Systemctl::default().restart(unit, until),
        Kind::Launchd => launchctl()?.restart(unit, until),
    }
}

/// launchd has nothing to mend: it does not listen for the agent.
pub(super) fn mend(unit: &Unit, until: Instant) -> Result<(), Refused> {
    match unit.kind {
        Kind::Systemd => Systemctl::default().mend(unit, until),
        Kind::Launchd => start(unit, until),
    }
}

/// launchd does not give up: it only waits.
pub(super) fn forgive(unit: &Unit, until: Instant) -> Result<(), Refused> {
    match unit.kind {
        Kind::Systemd => Systemctl::default().forgive(unit, until),
        Kind::Launchd => Ok(()),
    }
}

/// The plist has `RunAtLoad`.
pub(super) fn at_login(unit: &Unit, at_login: bool, until: Instant) -> Result<(), Refused> {
    match unit.kind {
        Kind::Systemd => Systemctl::default().at_login(unit, at_login, until),
        Kind::Launchd => Ok(()),
    }
}

pub(super) fn look(unit: &Unit) -> String {
    match unit.kind {
        Kind::Systemd => systemd::look(unit),
        Kind::Launchd => launchd::look(unit),
    }
}
