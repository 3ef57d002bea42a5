//! The agent's own checks: does its owner answer, is up what was to be after the boot, and can its home
//! be written?
//!
//! Invariant: none of them can keep `/v1/health` from answering. What a home is good for is not only
//! to be there: an agent that can't save says so here, before a restart shows it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use hearth_lifecycle::health::{CheckResult, Checks};
use rustix::fs::statvfs;

use crate::command::{Command, Port};

/// How long each may take.
pub(crate) const WITHIN: Duration = Duration::from_secs(1);

/// With less room than this, a log or the state that is saved may not fit any more.
const ROOM: u64 = 4 << 20;

/// What is written to see whether it can be.
const TRIAL: &str = ".health";

/// What they are called.
pub(crate) const NAMES: [&str; 3] = ["agent", "boot", "home"];

/// All of them.
pub(crate) fn checks(port: Port, home: &Path) -> Checks {
    let checks = Checks::new(WITHIN);
    let [agent, boot, place] = NAMES;
    let asked = port.clone();
    checks.register(boot, move || {
        let port = asked.clone();
        async move {
            match port.ask(Command::Boot).await.map_err(|refusal| refusal.0.detail)?? {
                0 => Ok(String::new()),
                1 => Ok("1 service is enabled".to_owned()),
                count => Ok(format!("{count} services are enabled")),
            }
        }
    });
    checks.register(agent, move || {
        let port = port.clone();
        async move {
            let answered = port.ask(Command::Pulse).await;
            answered.map(|()| String::new()).map_err(|refusal| refusal.0.detail)
        }
    });
    let home = home.to_owned();
    checks.register_blocking(place, move || look(&home));
    checks
}

fn look(home: &Path) -> CheckResult {
    let words = |what: &str, error: std::io::Error| format!("{} {what}: {error}", home.display());
    let trial = home.join(TRIAL);
    let written = fs::File::create(&trial).and_then(|mut file| file.write_all(b"well\n"));
    // Also where only a part of it could be written.
    let _ = fs::remove_file(&trial);
    written.map_err(|error| words("can't be written", error))?;
    let found = statvfs(home).map_err(|error| words("can't be looked at", error.into()))?;
    let left = found.f_bavail.saturating_mul(found.f_frsize);
    match left < ROOM {
        true => Err(format!("{} has only {} left", home.display(), size(left))),
        false => Ok(format!("{} free", size(left))),
    }
}

/// `1.5 GB`, as `max_size` counts.
fn size(bytes: u64) -> String {
    let (mut left, mut unit) = (bytes as f64, "bytes");
    for larger in ["KB", "MB", "GB", "TB"] {
        if left < 1000.0 {
            break;
        }
        (left, unit) = (left / 1000.0, larger);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{left:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_that_can_be_written_has_room_and_keeps_nothing() {
        let home = tempfile::tempdir().unwrap();
        let said = look(home.path()).unwrap();
        assert!(said.ends_with(" free"), "{said}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        let refusal = look(&home.path().join("gone")).unwrap_err();
        assert!(refusal.contains("gone can't be written: No such file"), "{refusal}");
    }

    #[test]
    fn sizes_are_for_people() {
        let all = [(999, "999 bytes"), (1500, "1.5 KB"), (4 << 20, "4.2 MB"), (7 << 40, "7.7 TB")];
        for (bytes, words) in all {
            assert_eq!(size(bytes), words);
        }
    }
}
