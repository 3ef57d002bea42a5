//! `/proc/PID/fd`: each entry is a link that names the pipe by its inode; `/proc/PID/fdinfo` says
//! which end it is.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::ProcessId;

pub(super) fn pipes(pid: u32) -> Vec<String> {
    let name = |fd| pipe(Path::new(&format!("/proc/{pid}/fd/{fd}")));
    let mut pipes: Vec<String> = [1, 2].into_iter().filter_map(name).collect();
    pipes.dedup();
    pipes
}

pub(super) fn abandoned(pipes: &[String]) -> io::Result<Vec<ProcessId>> {
    let mut read = BTreeSet::new();
    let mut writers = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let Some(pid) = pid else { continue };
        // Who it is comes first: if the pid passes to another one meanwhile, this one is gone.
        let Ok(id) = ProcessId::of(pid) else { continue };
        let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for fd in fds.flatten() {
            let Some(name) = pipe(&fd.path()).filter(|name| pipes.contains(name)) else { continue };
            let info = format!("/proc/{pid}/fdinfo/{}", fd.file_name().display());
            if only_writes(&info) {
                writers.push((id.clone(), name));
            } else {
                read.insert(name);
            }
        }
    }
    let mut found: Vec<ProcessId> = Vec::new();
    for (id, name) in writers {
        if !read.contains(&name) && id.pid != std::process::id() && !found.contains(&id) {
            found.push(id);
        }
    }
    Ok(found)
}

fn pipe(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?.into_os_string().into_string().ok()?;
    target.starts_with("pipe:[").then_some(target)
}

/// By its flags, in octal (proc_pid_fdinfo(5)). Where that cannot be read, it may be a reader.
fn only_writes(info: &str) -> bool {
    let info = fs::read_to_string(info).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE == libc::O_WRONLY)
}
