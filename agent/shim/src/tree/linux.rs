//! All that hangs on the shim, which is a subreaper, less the agent and other shims.

use std::io;
use std::path::Path;

use hearth_process::{Liveness, ProcessId, locked, tree};
use serde::Deserialize;

use super::Tree;

/// The kernel tells of every end by SIGCHLD, so nobody has to look again by the clock.
pub const MUST_LOOK_AGAIN: bool = false;

pub fn members(of: &Tree, leader: u32, probes: &[u32]) -> io::Result<Vec<ProcessId>> {
    let own = std::process::id();
    let all = tree::below(own, &|pid| probes.contains(&pid))?;
    // Nobody or the leader alone, as nearly always: no other record need be read.
    let all = if all.iter().any(|member| member.id.pid != leader) {
        let others = others(of, own);
        tree::below(own, &|pid| probes.contains(&pid) || others.contains(&pid))?
    } else {
        all
    };
    let mine = all.into_iter().filter(|member| !probes.contains(&member.sid));
    Ok(mine.map(|member| member.id).collect())
}

/// The pids of the agent and of all other shims that live.
///
/// Known gap: an agent that has L but has not written its record yet is not known. If it was
/// started from inside a service that is killed in that moment it is killed too, which the verb
/// that waits for it sees as a failed start.
fn others(of: &Tree, own: u32) -> Vec<u32> {
    // The holder's identity stands at the top level of its record.
    let agent = payload::<ProcessId>(&of.agent_lock);
    let records = std::fs::read_dir(&of.records).into_iter().flatten().flatten();
    let shims = records
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rec"))
        .filter_map(|path| payload::<Shim>(&path))
        .map(|record| record.shim)
        .filter(|shim| shim.pid != own);
    let living = agent.into_iter().chain(shims).filter(|id| id.living() == Liveness::Living);
    living.map(|id| id.pid).collect()
}

/// What of a shim's record is needed here.
#[derive(Deserialize)]
struct Shim {
    shim: ProcessId,
}

fn payload<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    match locked::read_path(path).ok()? {
        locked::Record::Valid(bytes) => serde_json::from_slice(&bytes).ok(),
        locked::Record::Empty | locked::Record::Torn => None,
    }
}
