//! Readiness by a line of the output: told by the kernel when the log grows, never polled.
//!
//! Invariant: every line of the life is looked at once, from its first on; one that came in two
//! writes is one line, since the follower holds back what has not ended.

use std::io;
use std::path::PathBuf;

use hearth_core::Verdict;
use hearth_logs::Follow;

use super::fd::Followed;

/// So much of the line that matched is shown.
const SHOWN: usize = 200;

/// Waits until a line of `life` matches. Ends in a failure only where the log can't be watched.
pub(crate) async fn watch(dir: PathBuf, life: u64, pattern: &str) -> Verdict {
    let pattern = match hearth_config::pattern::compile(pattern) {
        Ok(pattern) => pattern,
        Err(refusal) => return Verdict::Fail(refusal.to_string()),
    };
    let found = async {
        let mut log = Followed::new(Follow::of_life(dir, life)?)?;
        loop {
            for line in log.lines().await? {
                if pattern.is_match(&line.bytes) {
                    return io::Result::Ok(line.bytes);
                }
            }
        }
    };
    match found.await {
        Ok(line) => {
            let line = String::from_utf8_lossy(&line);
            Verdict::Pass(line.trim().chars().take(SHOWN).collect())
        }
        Err(error) => Verdict::Fail(format!("its log can't be watched: {error}")),
    }
}
