//! What is left of a service whose shim was killed: ended, before there is a next life.
//!
//! Invariant: never a second copy. A shim's death lets go of its record, so nothing else would
//! keep a new life from starting beside the old one's processes. Found are the leader, its session
//! and its process group, whoever writes to the pipes that only its shim read, and what hangs on
//! those. Known hole: what made a session of its own, lost its parent, and closed its output (or
//! whose leader had ended before anybody looked at its pipes) can't be told from anybody else's
//! process once the subreaper is gone. The log says so.

use std::io;
use std::time::Duration;

use hearth_process::output::Pipes;
use hearth_process::{Liveness, ProcessHandle, ProcessId, Signal, tree};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tracing::warn;

use super::fd;

/// How often what survives SIGKILL, or was forked under it, is looked for again.
const PASSES: usize = 8;
/// How long a killed process may take to be gone: longer only in the kernel's own trouble.
const GONE: Duration = Duration::from_secs(2);

/// Ends what is left below `leader`, whose output was `output`: the signal first, SIGKILL after
/// `patience`. Returns the pids of what is still there after that, the leader's own where nobody can
/// tell.
pub(crate) async fn end(
    leader: &ProcessId,
    output: &Pipes,
    signal: Signal,
    patience: Duration,
) -> Vec<u32> {
    match pass(leader, output, signal, patience).await {
        Ok(true) => return Vec::new(),
        Ok(false) => {}
        Err(error) => warn!(leader = leader.pid, %error, "cannot see what a lost shim left behind"),
    }
    for _ in 0..PASSES {
        match pass(leader, output, Signal::KILL, GONE).await {
            Ok(true) => return Vec::new(),
            Ok(false) => {}
            Err(_) => break,
        }
    }
    let left = match members(leader, output) {
        Ok(left) if left.is_empty() => return Vec::new(),
        Ok(left) => left.iter().map(|member| member.pid).collect(),
        Err(_) => vec![leader.pid],
    };
    warn!(leader = leader.pid, ?left, "processes of a service whose shim was killed may be left");
    left
}

/// Signals all that is found and waits for its end. True: nothing was left to be found.
async fn pass(
    leader: &ProcessId,
    output: &Pipes,
    signal: Signal,
    patience: Duration,
) -> io::Result<bool> {
    let (wanted, output) = (leader.clone(), output.clone());
    let found =
        spawn_blocking(move || members(&wanted, &output)).await.map_err(io::Error::other)??;
    if found.is_empty() {
        return Ok(true);
    }
    let mut ends = JoinSet::new();
    for member in found {
        // Gone meanwhile, or somebody else's by now: nothing to do.
        if let Ok(handle) = ProcessHandle::open(&member) {
            let _ = handle.signal(signal);
            ends.spawn(fd::ended(handle));
        }
    }
    let _ = timeout(patience, async { while ends.join_next().await.is_some() {} }).await;
    Ok(false)
}

fn members(leader: &ProcessId, output: &Pipes) -> io::Result<Vec<ProcessId>> {
    let mut found: Vec<ProcessId> = match leader.living() {
        Liveness::Living => vec![leader.clone()],
        // A session's number is not given out again while the session has members (setsid(2)).
        Liveness::Ended => Vec::new(),
        // Its session is empty then; but who wrote to its pipes is known.
        Liveness::Recycled => return output.abandoned(),
        Liveness::OtherWorld | Liveness::Unknown => return Ok(Vec::new()),
    };
    found.extend(output.abandoned()?.into_iter().filter(|writer| writer != leader));
    let ourselves = std::process::id();
    // Not all of a container is below its process 1, so the leader's branch is looked at by itself.
    for root in [leader.pid, 1] {
        // Parents come before children, so one pass finds whole branches.
        for member in tree::below(root, &|pid| pid == ourselves)? {
            let of_leader = member.sid == leader.pid || member.pgid == leader.pid;
            let below = found.iter().any(|known| known.pid == member.parent);
            let new = !found.contains(&member.id);
            if (of_leader || below) && new && member.state != 'Z' {
                found.push(member.id);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[tokio::test]
    async fn a_group_without_its_shim_is_ended_with_its_children() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; sleep 600 & echo started; wait; sleep 600"])
            .stdout(std::process::Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let leader = ProcessId::of(child.id()).unwrap();
        assert_eq!(members(&leader, &Pipes::default()).unwrap().len(), 2);
        assert!(
            end(&leader, &Pipes::default(), Signal::TERM, Duration::from_millis(50))
                .await
                .is_empty()
        );
        assert!(members(&leader, &Pipes::default()).unwrap().is_empty());
        assert!(!child.wait().unwrap().success());
    }
}
