//! The failure record: why the last start failed, and when the next try is due.
//!
//! Persistent, because the tries are made by many short processes: without it a broken agent is
//! started once a verb, for ever (gradle 17819). The clock is that of the boot, so that a step of
//! the wall clock neither lengthens nor skips a pause.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use hearth_process::facts::boot_ms;

#[cfg(feature = "agent")]
use crate::Home;
use crate::spawn;

/// The first pause, and how far it doubles.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(30);
/// A record is far shorter; what is longer is none.
const MAX: u64 = 1024 * 1024;
/// Somebody's pipe at our path must not hold us.
const FLAGS: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits() as i32;

/// Content of `failures.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// How many starts in a row have failed.
    pub count: u32,
    /// Milliseconds since boot at which the last one failed.
    pub at_ms: u64,
    /// Which boot that was.
    pub boot: String,
    /// Which executable failed.
    pub executable: Executable,
    /// Its own words, or its exit.
    pub reason: String,
    /// The last lines of its log.
    pub log_tail: Vec<String>,
    /// A later try has come up: nothing is suppressed, and the count stands until the agent has
    /// lived for a while.
    pub succeeded: bool,
}

/// Identity of an executable: another file, or other contents, is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executable {
    /// Where it stands.
    pub path: PathBuf,
    /// Device, inode, size and time of change in nanoseconds; zeros where it cannot be read.
    pub version: (u64, u64, u64, i64),
}

impl Executable {
    /// The file at `path` as it is now.
    pub fn of(path: &Path) -> Self {
        let version = fs::metadata(path).map_or((0, 0, 0, 0), |found| {
            let changed = found.mtime().saturating_mul(1_000_000_000) + found.mtime_nsec();
            (found.dev(), found.ino(), found.size(), changed)
        });
        Self { path: path.into(), version }
    }
}

/// What the record says to a verb that would start an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try.
    Try,
    /// Do not, for so long.
    Suppressed(Duration),
}

impl Failures {
    /// Decides; pure. `now_ms` is on the clock of `boot`.
    pub fn verdict(&self, executable: &Executable, boot: &str, now_ms: u64) -> Verdict {
        if self.succeeded
            || self.boot != boot
            || self.executable != *executable
            || now_ms < self.at_ms
        {
            return Verdict::Try;
        }
        let due = self.at_ms.saturating_add(pause(self.count).as_millis() as u64);
        match due.checked_sub(now_ms) {
            None | Some(0) => Verdict::Try,
            Some(left) => Verdict::Suppressed(Duration::from_millis(left)),
        }
    }

    /// How long verbs of this executable still hold back; `None`: they try.
    pub fn pause_left(&self) -> Option<Duration> {
        let executable = Executable::of(&spawn::executable());
        match self.verdict(&executable, hearth_process::facts::boot_id().as_str(), boot_ms()) {
            Verdict::Try => None,
            Verdict::Suppressed(left) => Some(left),
        }
    }

    /// The record after one more failure.
    pub fn after(
        last: Option<Failures>,
        executable: Executable,
        boot: String,
        now_ms: u64,
        reason: String,
        log_tail: Vec<String>,
    ) -> Self {
        let count = match last {
            Some(last) if last.executable == executable && last.boot == boot => {
                last.count.saturating_add(1)
            }
            Some(_) | None => 1,
        };
        Self { count, at_ms: now_ms, boot, executable, reason, log_tail, succeeded: false }
    }

    /// Reads the record. A missing or garbled one suppresses nothing.
    pub fn read(path: &Path) -> Option<Self> {
        let file = fs::OpenOptions::new().read(true).custom_flags(FLAGS).open(path).ok()?;
        file.metadata().ok().filter(fs::Metadata::is_file)?;
        let mut bytes = Vec::new();
        file.take(MAX).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Adds a failure that the agent has itself a word for: the verb that started it may be gone.
    #[cfg(feature = "agent")]
    pub(crate) fn note(home: &Home, reason: &str) {
        let path = home.failures();
        let executable = Executable::of(&spawn::executable());
        let boot = hearth_process::facts::boot_id().to_string();
        let last = Self::read(&path);
        let failures = Self::after(last, executable, boot, boot_ms(), reason.into(), Vec::new());
        // Where it cannot be written, the next verb tries again: that is no worse.
        let _ = failures.write(&path);
    }

    /// Replaces the record in one step: a reader sees the old one or the new one. Writers hold S, or
    /// are the agent.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let aside = path.with_extension("new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(FLAGS)
            .open(&aside)?;
        let written = serde_json::to_vec(self).map_err(io::Error::from);
        let written = written.and_then(|bytes| file.write_all(&bytes));
        drop(file);
        written.and_then(|()| fs::rename(&aside, path)).inspect_err(|_| {
            let _ = fs::remove_file(&aside);
        })
    }
}

/// The pause after `count` failures: 5 s, 10 s, 20 s, then 30 s.
fn pause(count: u32) -> Duration {
    FIRST.saturating_mul(1 << count.saturating_sub(1).min(8)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(count: u32, at_ms: u64) -> (Failures, Executable) {
        let executable = Executable { path: "/bin/x".into(), version: (1, 2, 3, 4) };
        let mut record = None;
        for _ in 0..count {
            record = Some(Failures::after(
                record,
                executable.clone(),
                "b".into(),
                at_ms,
                "why".into(),
                vec![],
            ));
        }
        (record.unwrap(), executable)
    }

    #[test]
    fn the_pause_doubles_from_5_to_30_seconds() {
        let pauses: Vec<_> = (1..7).map(|count| pause(count).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 30, 30, 30]);
        let (record, executable) = failed(2, 1000);
        assert_eq!(
            record.verdict(&executable, "b", 2000),
            Verdict::Suppressed(Duration::from_millis(9000))
        );
        assert_eq!(record.verdict(&executable, "b", 11_000), Verdict::Try);
    }

    #[test]
    fn another_executable_another_boot_or_a_success_voids_it() {
        let (mut record, executable) = failed(1, 1000);
        let other = Executable { version: (1, 2, 3, 5), ..executable.clone() };
        assert_eq!(record.verdict(&other, "b", 1001), Verdict::Try);
        assert_eq!(record.verdict(&executable, "c", 1001), Verdict::Try);
        assert_eq!(record.verdict(&executable, "b", 999), Verdict::Try);
        record.succeeded = true;
        assert_eq!(record.verdict(&executable, "b", 1001), Verdict::Try);
    }

    proptest::proptest! {
        #[test]
        fn a_pause_is_never_longer_than_the_longest(count in 1u32.., at in 0u64..1 << 50, later in 0u64..1 << 50) {
            let (mut record, executable) = failed(1, at);
            record.count = count;
            if let Verdict::Suppressed(left) = record.verdict(&executable, "b", at + later) {
                assert!(left <= LONGEST);
            }
        }
    }
}
