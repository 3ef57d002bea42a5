//! What several of these tests need.

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hearth_lifecycle::sessions::{Ask, Session, Sessions};
use hearth_lifecycle::{App, Home};
use hearth_process::{Peer, ProcessHandle, ProcessId};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub const APP: App = App::new("pair", "1.0.0").prefix("PAIR_TEST_UNSET").label("dev.pair.agent");

/// A home that is no more when the test ends.
pub struct OwnHome {
    pub home: Home,
    _dir: Option<tempfile::TempDir>,
}

impl OwnHome {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::resolve(&APP, Some(dir.path())).unwrap();
        Self { home, _dir: Some(dir) }
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

    /// Returns when it has ended, which it has not been reaped for.
    pub fn await_end(&self) {
        ProcessHandle::open(&ProcessId::of(self.pid()).unwrap()).unwrap().wait().unwrap();
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

const HOME: &str = "HEARTH_TEST_SESSIONS_HOME";

impl OwnHome {
    /// The one of who runs this test inside of another.
    pub fn given() -> Option<Self> {
        let dir = std::env::var_os(HOME)?;
        let home = Home::resolve(&APP, Some(dir.as_ref())).unwrap();
        Some(Self { home, _dir: None })
    }
}

/// Whether a test that needs root may run. Said aloud if not; a failure where `CI=true`.
pub fn is_root(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!ci, "{test} needs root, and CI=true forbids to skip it");
    // Not eprintln!, which the test runner keeps to itself.
    let line = format!("SKIPPED, needs root: {test}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    false
}

/// Runs one ignored test of this program in another process, in the home given: in namespaces of its
/// own where there are options for unshare(1).
pub fn inner(test: &str, home: &str, unshare: Option<&[&str]>) {
    let before: Vec<_> = unshare.into_iter().flat_map(|options| [&["unshare"], options]).collect();
    inner_as(&before.concat(), &std::env::current_exe().unwrap(), test, home);
}

/// The same with a copy of this program, by another one that executes it.
pub fn inner_as(by: &[&str], program: &Path, test: &str, home: &str) {
    let mut words = by.iter().map(OsStr::new).chain([program.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command.args(["--ignored", "--nocapture", "--test-threads=1", test]).env(HOME, home);
    let output = command.output().expect("unshare(1), setpriv(1) of util-linux");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{test}: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
    );
}

/// What is told in the log meanwhile, by this thread.
pub fn logged(what: impl FnOnce()) -> String {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), what);
    log.text()
}

/// Every event as a line.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>, Arc<Notify>);

impl Log {
    /// What any thread of this process tells from here on; for a test that has a process of its own.
    pub fn everywhere() -> Self {
        let log = Self::default();
        tracing::subscriber::set_global_default(log.clone()).unwrap();
        log
    }

    /// All of it, once this is in it.
    pub async fn until(&self, text: &str) -> String {
        while !self.text().contains(text) {
            self.1.notified().await;
        }
        self.text()
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

struct Words(String);

impl tracing::field::Visit for Words {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut words = Words(format!("{} ", event.metadata().level()));
        event.record(&mut words);
        self.0.lock().unwrap().push(words.0);
        self.1.notify_one();
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
