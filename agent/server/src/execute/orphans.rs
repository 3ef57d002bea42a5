//! What is left of a service whose shim was killed: ended, before there is a next life.
//!
//! Invariant: never a second copy. A shim's death lets go of its record, so nothing else would
//! keep a new life from starting beside the old one's processes. Found are the leader, its session
//! and its process group, whoever still holds the pipes that the service was to write to, and what
//! hangs on those. Known hole: what made a session of its own, lost its parent and let go of the
//! pipes can't be told from anybody else's process once the subreaper is gone (macOS: whatever made a
//! session of its own and lost its parent).

use std::io;
use std::time::Duration;

use hearth_process::{Liveness, ProcessHandle, ProcessId, Signal, tree};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tracing::warn;

use super::fd;

/// How often what survives SIGKILL, or was forked under it, is looked for again.
const PASSES: usize = 8;
/// How long a killed process may take to be gone: longer only in the kernel's own trouble.
const GONE: Duration = Duration::from_secs(2);

/// By what the processes of a life are found without its shim.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remains {
    /// The service's process; None: the shim was killed before it could note it.
    pub(crate) leader: Option<ProcessId>,
    /// Inode numbers of its pipes.
    pub(crate) pipes: Vec<u64>,
}

impl Remains {
    fn pid(&self) -> Option<u32> {
        self.leader.as_ref().map(|leader| leader.pid)
    }
}

/// Ends what is left: the signal first, SIGKILL after `patience`. Returns the pids of what is still
/// there after that, the leader's own where nobody can tell.
pub(crate) async fn end(remains: &Remains, signal: Signal, patience: Duration) -> Vec<u32> {
    let leader = remains.pid();
    match pass(remains, signal, patience).await {
        Ok(true) => return Vec::new(),
        Ok(false) => {}
        Err(error) => warn!(leader, %error, "cannot see what a lost shim left behind"),
    }
    for _ in 0..PASSES {
        match pass(remains, Signal::KILL, GONE).await {
            Ok(true) => return Vec::new(),
            Ok(false) => {}
            Err(_) => break,
        }
    }
    let left = match members(remains) {
        Ok(left) if left.is_empty() => return Vec::new(),
        Ok(left) => left.iter().map(|member| member.pid).collect(),
        Err(_) => Vec::from_iter(leader),
    };
    warn!(leader, ?left, "processes of a service whose shim was killed may be left");
    left
}

/// Signals all that is found and waits for its end. True: nothing was left to be found.
async fn pass(remains: &Remains, signal: Signal, patience: Duration) -> io::Result<bool> {
    let wanted = remains.clone();
    let found = spawn_blocking(move || members(&wanted)).await.map_err(io::Error::other)??;
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

fn members(remains: &Remains) -> io::Result<Vec<ProcessId>> {
    let mut found = tree::holding(&remains.pipes)?;
    let mut leader = None;
    if let Some(known) = &remains.leader {
        match known.living() {
            Liveness::Living => {
                leader = Some(known.pid);
                if !found.contains(known) {
                    found.push(known.clone());
                }
            }
            // A session's number is not given out again while the session has members (setsid(2)).
            Liveness::Ended => leader = Some(known.pid),
            Liveness::Recycled | Liveness::OtherWorld | Liveness::Unknown => {}
        }
    }
    let ourselves = std::process::id();
    // Not all of a container is below its process 1, so what was found is looked at by itself.
    let roots: Vec<u32> = found.iter().map(|known| known.pid).chain(leader).chain([1]).collect();
    for root in roots {
        // Parents come before children, so one pass finds whole branches.
        for member in tree::below(root, &|pid| pid == ourselves)? {
            let of_leader = leader.is_some_and(|pid| member.sid == pid || member.pgid == pid);
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
        let remains = Remains { leader: Some(leader), pipes: Vec::new() };
        assert_eq!(members(&remains).unwrap().len(), 2);
        assert!(end(&remains, Signal::TERM, Duration::from_millis(50)).await.is_empty());
        assert!(members(&remains).unwrap().is_empty());
        assert!(!child.wait().unwrap().success());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_in_a_session_of_its_own_and_has_lost_its_parent_is_found_by_its_pipe() {
        use std::os::linux::fs::MetadataExt;
        let (mut reader, writer) = std::io::pipe().unwrap();
        let file = std::fs::File::from(std::os::fd::OwnedFd::from(writer));
        let pipes = vec![file.metadata().unwrap().st_ino()];
        let script = "setsid sh -c 'echo started; exec sleep 600' & exit 0";
        let status = Command::new("sh").args(["-c", script]).stdout(file).status();
        assert!(status.unwrap().success());
        let mut line = [0; 8];
        std::io::Read::read_exact(&mut reader, &mut line).unwrap();
        let remains = Remains { leader: None, pipes };
        assert_eq!(members(&remains).unwrap().len(), 1);
        assert!(end(&remains, Signal::TERM, Duration::from_secs(10)).await.is_empty());
        assert!(members(&remains).unwrap().is_empty());
    }
}
