//! Ports that somebody else has.
//!
//! Invariant: the owner is not kept waiting. Where nobody listens it takes microseconds; where
//! somebody does, the look at every process is a thread's.

use hearth_process::facts;
use hearth_process::port::{self, Listener};
use tokio::task::spawn_blocking;

/// `port 8080 is in use by python3 (pid 123)`; `None`: nobody listens.
pub(crate) async fn told(port: u16) -> Option<String> {
    let listener = port::listener(port)?;
    spawn_blocking(move || words(port, listener.process(), &listener)).await.ok()
}

/// The same of a stranger: of none that descends from the shim with this pid. For who may take the
/// time.
pub(crate) fn by_stranger(port: u16, shim: Option<u32>) -> Option<String> {
    let listener = port::listener(port)?;
    let process = listener.process();
    let own = |(pid, _): &(u32, String)| shim.is_some_and(|shim| descends(*pid, shim));
    if process.as_ref().is_some_and(own) {
        return None;
    }
    Some(words(port, process, &listener))
}

/// Whether `pid` is `ancestor` or stands below it.
fn descends(pid: u32, ancestor: u32) -> bool {
    std::iter::successors(Some(pid), |pid| facts::parent_of(*pid).filter(|parent| *parent > 1))
        .any(|pid| pid == ancestor)
}

fn words(port: u16, process: Option<(u32, String)>, listener: &Listener) -> String {
    let us = rustix::process::geteuid().as_raw();
    let by = match (process, listener.uid) {
        (Some((pid, name)), _) => format!("by {name} (pid {pid})"),
        (None, Some(uid)) if uid != us => format!("by somebody else (uid {uid})"),
        (None, Some(_) | None) => "by a process that can't be seen from here".to_owned(),
    };
    format!("port {port} is in use {by}")
}
