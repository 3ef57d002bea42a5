//! Which processes belong to a home.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hearth_process::ProcessId;

/// A process that belongs to a home.
#[derive(Debug)]
pub struct Process {
    /// Who it is.
    pub id: ProcessId,
    /// Its command line, the arguments joined by spaces.
    pub command: String,
}

/// Processes whose environment names the home: the agent, its shims, their services and all that
/// those started, unless they hid it. Zombies are nobody's process any more.
///
/// Linux: `/proc/PID/environ`. Elsewhere nothing is found, and the tests only run on Linux.
pub fn processes_of(home: &Path) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut wanted = b"HEARTH_HOME=".to_vec();
    wanted.extend_from_slice(home.as_os_str().as_bytes());
    let pids =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let belongs = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        *pid != std::process::id()
            && environment.split(|byte| *byte == 0).any(|entry| entry == wanted)
    };
    pids.filter(belongs)
        .filter_map(|pid| {
            let id = ProcessId::of(pid).ok()?;
            let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
            (!command.is_empty()).then_some(Process { id, command })
        })
        .collect()
}
