//! Ports that somebody else has.
//!
//! Invariant: the owner is not kept waiting. Where nobody listens it takes microseconds; where
//! somebody does, the look at every process is a thread's.

use std::sync::OnceLock;

use hearth_process::facts;
use hearth_process::port;
use tokio::task::spawn_blocking;

/// On which ports of its tests somebody listened when a life began: who answers there may be a
/// stranger, and the service about to end for it.
#[derive(Debug, Default)]
pub(crate) struct Before(OnceLock<Vec<u16>>);

impl Before {
    /// Looks, once, before there is a process.
    pub(crate) fn look(&self, ports: &[u16]) {
        self.0.get_or_init(|| {
            let taken = ports.iter().filter(|port| port::listener(**port).is_some());
            taken.copied().collect()
        });
    }

    /// Whether somebody had it. Of a life that another agent has begun nobody knows: then not.
    pub(crate) fn had(&self, port: u16) -> bool {
        self.0.get().is_some_and(|ports| ports.contains(&port))
    }
}

/// `port 8080 is in use by python3 (pid 123)`; `None`: nobody listens.
pub(crate) async fn told(port: u16) -> Option<String> {
    let listener = port::listener(port)?;
    spawn_blocking(move || words(port, listener.process(), listener.uid)).await.ok()
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
    Some(words(port, process, listener.uid))
}

/// Whether `pid` is `ancestor` or stands below it.
fn descends(pid: u32, ancestor: u32) -> bool {
    std::iter::successors(Some(pid), |pid| facts::parent_of(*pid).filter(|parent| *parent > 1))
        .any(|pid| pid == ancestor)
}

fn words(port: u16, process: Option<(u32, String)>, uid: Option<u32>) -> String {
    let us = rustix::process::geteuid().as_raw();
    let by = match (process, uid) {
        (Some((pid, name)), _) => format!("by {name} (pid {pid})"),
        (None, Some(uid)) if uid != us => format!("by somebody else (uid {uid})"),
        (None, Some(_) | None) => "by a process that can't be seen from here".to_owned(),
    };
    format!("port {port} is in use {by}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_it_is_said_as_far_as_it_is_known() {
        let us = rustix::process::geteuid().as_raw();
        let said = words(80, Some((7, "python3".into())), Some(us));
        assert_eq!(said, "port 80 is in use by python3 (pid 7)");
        let said = words(80, None, Some(us + 1));
        assert_eq!(said, format!("port 80 is in use by somebody else (uid {})", us + 1));
        let unseen = "port 80 is in use by a process that can't be seen from here";
        assert_eq!([words(80, None, Some(us)), words(80, None, None)], [unseen, unseen]);
    }

    #[test]
    fn a_listener_below_the_shim_is_no_stranger() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let parent = facts::parent_of(std::process::id());
        if cfg!(target_os = "linux") {
            assert_eq!(by_stranger(port, Some(std::process::id())), None);
            assert_eq!(by_stranger(port, parent), None);
        }
        assert!(by_stranger(port, None).is_some());
        drop(listener);
        assert_eq!(by_stranger(port, None), None);
    }
}
