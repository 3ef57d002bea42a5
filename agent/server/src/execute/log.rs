//! Readiness by a line of the output: told by the kernel when the log grows, never polled.
//!
//! Invariant: every line of the life is looked at once, from its first on; one that came in two
//! writes is one line, since the follower holds back what has not ended. A service that writes
//! without end before its line keeps nobody else waiting: between two portions it is others' turn,
//! and long ones are searched aside.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hearth_core::Verdict;
use hearth_logs::{Follow, Line};

use super::aside;
use super::fd::Followed;
use super::words::{plain, shown};

/// So many bytes are searched in passing, which takes the costliest pattern that is allowed some
/// milliseconds; more are searched aside.
const IN_PASSING: usize = 512;

/// Waits until a line of `life` matches: as it was written, or as a person sees it, without its
/// colours and its CR. Ends in a failure only where the log can't be watched.
pub(crate) async fn watch(dir: PathBuf, life: u64, pattern: &str) -> Verdict {
    let pattern = match hearth_config::pattern::compile(pattern) {
        Ok(pattern) => pattern,
        Err(refusal) => return Verdict::Fail(refusal.to_string()),
    };
    let matches = Arc::new(move |line: &Line| {
        let seen = plain(&line.bytes);
        pattern.is_match(&seen) || (seen.len() < line.bytes.len() && pattern.is_match(&line.bytes))
    });
    let found = async {
        let mut log = Followed::new(Follow::of_life(dir, life)?)?;
        loop {
            let lines = log.lines().await?;
            let bytes: usize = lines.iter().map(|line| line.bytes.len()).sum();
            let matches = Arc::clone(&matches);
            let find = move || lines.into_iter().find(|line| matches(line));
            let found = if bytes > IN_PASSING { aside::search_lines(find).await? } else { find() };
            if let Some(line) = found {
                return io::Result::Ok(line.bytes);
            }
            tokio::task::yield_now().await;
        }
    };
    match found.await {
        Ok(line) => Verdict::Pass(shown(&line)),
        Err(error) => Verdict::Fail(format!("its log can't be watched: {error}")),
    }
}
