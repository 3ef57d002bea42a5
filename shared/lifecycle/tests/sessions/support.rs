//! What several of these tests need.

use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::time::Duration;

use hearth_lifecycle::sessions::{Ask, Session, Sessions};
use hearth_lifecycle::{App, Home};
use hearth_process::{Peer, ProcessHandle, ProcessId};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub const APP: App = App {
    name: "pair",
    prefix: "PAIR_TEST_UNSET",
    version: "1.0.0",
    api: (1, 1),
    spawn_args: &["agent"],
    longest_socket: "agent.sock",
};

/// A home that is no more when the test ends.
pub struct OwnHome {
    pub home: Home,
    _dir: tempfile::TempDir,
}

impl OwnHome {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::resolve(&APP, Some(dir.path())).unwrap();
        Self { home, _dir: dir }
    }

    pub fn journal(&self) -> String {
        std::fs::read_to_string(self.home.sessions()).unwrap_or_default()
    }
}

/// A child that does not outlive its test, however that ends.
pub struct Kept(pub Child);

impl Kept {
    pub fn sleeping() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn kill(&mut self) {
        self.0.kill().unwrap();
    }

    pub fn kill_and_reap(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub fn peer(&self) -> Peer {
        peer(self.pid())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.kill_and_reap();
    }
}

/// What the kernel would say of a process at the other end of a connection.
pub fn peer(pid: u32) -> Peer {
    let handle = ProcessHandle::open(&ProcessId::of(pid).unwrap()).unwrap();
    Peer {
        uid: rustix::process::geteuid().as_raw(),
        pid: Some(pid),
        pidfd: Some(OwnedFd::from(handle)),
    }
}

pub fn register(sessions: &Sessions, peer: &Peer) -> Session {
    sessions.register(peer, Ask::default()).unwrap().0
}

/// The ids of those that end, as they do.
pub fn ends(sessions: &Sessions) -> UnboundedReceiver<String> {
    let (send, receive) = unbounded_channel();
    sessions.on_end("test", move |session| {
        send.send(session.id.to_string()).map_err(|error| error.to_string())
    });
    receive
}

/// Runs something while the sessions are watched over.
pub fn watched<F: Future>(sessions: &Sessions, what: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::select! {
            () = sessions.watch() => unreachable!("it watches until it is dropped"),
            output = tokio::time::timeout(Duration::from_secs(60), what) => output.expect("in time"),
        }
    })
}
