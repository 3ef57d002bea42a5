//! The leader's process group: macOS has no subreaper, so who leaves the group is out of reach.
//!
//! The kernel gives out no pid that is still the id of a group, so the group is the leader's own
//! also after that was reaped. Known race: all of it ends and its id comes round again between two
//! looks.

use std::io;

use hearth_process::{ProcessId, facts};

use super::Tree;

/// Orphans go to launchd, and the kernel does not tell us of their end.
pub const MUST_LOOK_AGAIN: bool = true;

/// `PROC_PGRP_ONLY` of `sys/proc_info.h`: the members of one process group.
const PROC_PGRP_ONLY: u32 = 2;

pub fn members(_of: &Tree, leader: u32, _probes: &[u32]) -> io::Result<Vec<ProcessId>> {
    let mut pids = vec![0_i32; 256];
    loop {
        let size = size_of_val(pids.as_slice());
        // SAFETY: the buffer is as large as its size says.
        let filled = unsafe {
            libc::proc_listpids(PROC_PGRP_ONLY, leader, pids.as_mut_ptr().cast(), size as i32)
        };
        let Ok(filled) = usize::try_from(filled) else { return Err(io::Error::last_os_error()) };
        if filled < size {
            pids.truncate(filled / size_of::<i32>());
            break;
        }
        pids.resize(pids.len() * 2, 0);
    }
    let pids = pids.into_iter().filter_map(|pid| u32::try_from(pid).ok());
    Ok(pids
        .filter(|pid| facts::state_of(*pid).is_some_and(|state| state != 'Z'))
        .filter_map(|pid| ProcessId::of(pid).ok())
        .collect())
}
