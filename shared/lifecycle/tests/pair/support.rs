//! A throw-away home for the example pair. What was started in it is ended with it, and a test that
//! leaves an agent behind fails.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use hearth_process::locked::{self, LockedFile};
use hearth_process::{ProcessHandle, ProcessId, Signal};
use serde_json::Value;

/// What `pair get` said.
#[derive(Debug)]
pub struct Told {
    pub state: String,
    pub reason: String,
    pub hint: String,
    pub pid: Option<u32>,
    pub version: String,
    pub body: String,
    pub notice: String,
    pub code: Option<i32>,
}

pub struct Home {
    pub root: tempfile::TempDir,
    pub dir: PathBuf,
    pub program: PathBuf,
}

impl Home {
    pub fn new() -> Self {
        Self::below("home")
    }

    /// With the home at `name` below a directory of its own.
    pub fn below(name: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join(name);
        Self { dir, root, program: program() }
    }

    pub fn make(&self) -> &Self {
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&self.dir).unwrap();
        self
    }

    pub fn write(&self, name: &str, text: &str) -> &Self {
        self.make();
        fs::write(self.dir.join(name), text).unwrap();
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("PAIR_HOME", &self.dir).env_remove("PAIR_NO_AUTOSPAWN");
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn get(&self) -> Told {
        told(&self.run(&["get"]))
    }

    pub fn stop(&self) -> String {
        String::from_utf8(self.run(&["stop"]).stdout).unwrap().trim().to_owned()
    }

    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn lock(&self) -> PathBuf {
        self.dir.join("agent.lock")
    }

    pub fn record(&self) -> Option<Value> {
        match locked::read_path(&self.lock()) {
            Ok(locked::Record::Valid(bytes)) => serde_json::from_slice(&bytes).ok(),
            _ => None,
        }
    }

    pub fn socket(&self) -> PathBuf {
        PathBuf::from(self.record().unwrap()["socket"].as_str().unwrap())
    }

    pub fn lives(&self) -> bool {
        locked::is_held(&self.lock()).unwrap_or(false)
    }

    /// Returns when nobody holds L.
    pub fn wait_until_free(&self) {
        if let Ok(file) = locked::open(&self.lock(), false) {
            drop(LockedFile::exclusive(file).unwrap());
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = u32::try_from(self.record().unwrap()["pid"].as_u64().unwrap()).unwrap();
        ProcessHandle::open(&ProcessId::of(pid).unwrap()).unwrap().signal(signal).unwrap();
    }

    pub fn kill(&self) {
        self.signal(Signal::KILL);
        self.wait_until_free();
    }

    /// Returns when `name` is in the home.
    pub fn wait_for(&self, name: &str) {
        let watch = hearth_process::watch::DirWatch::names(&self.make().dir).unwrap();
        while !self.path(name).exists() {
            let mut fds = [rustix::event::PollFd::new(&watch, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, None).unwrap();
            watch.drain().unwrap();
        }
    }

    /// Returns when somebody blocks in flock(2) on `name`; the kernel lists it, and tells nobody.
    pub fn wait_for_waiter(&self, name: &str) {
        use std::os::unix::fs::MetadataExt;
        let inode = fs::metadata(self.path(name)).unwrap().ino();
        let waits = |line: &str| line.contains("->") && line.contains(&format!(":{inode} "));
        while !fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
            std::thread::yield_now();
        }
    }

    /// A file of the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.lives() && self.record().is_some() {
            // A stopped one must run again to hear of its end.
            self.signal(Signal::KILL);
            self.wait_until_free();
        }
        if let Some(record) = self.record() {
            let socket = PathBuf::from(record["socket"].as_str().unwrap_or_default());
            if !socket.starts_with(&self.dir)
                && let Some(short) = socket.parent()
            {
                let _ = fs::remove_dir_all(short);
            }
        }
    }
}

pub fn told(output: &Output) -> Told {
    let text = String::from_utf8_lossy(&output.stdout);
    let value: Value = serde_json::from_str(text.trim()).unwrap_or_else(|e| {
        panic!("{e}: {text:?}, stderr {:?}", String::from_utf8_lossy(&output.stderr))
    });
    let string = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Told {
        state: string("state"),
        reason: string("reason"),
        hint: string("hint"),
        version: string("version"),
        body: string("body"),
        notice: string("notice"),
        pid: value["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()),
        code: output.status.code(),
    }
}

/// The example that cargo built beside this test.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples/pair")
}

/// Whether a test that needs root may run; says aloud if not, and does not let CI pass without.
pub fn is_root(what: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "{what} needs root, and CI may not skip");
    eprintln!("SKIPPED, needs root: {what}");
    false
}

/// Copies an executable by another process: were it open for writing in this one, a fork of another
/// test's at that moment would keep it open, and executing it would fail (ETXTBSY, execve(2)).
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let status = Command::new("cp").arg(from.as_ref()).arg(to.as_ref()).status().unwrap();
    assert!(status.success());
}
