//! A home of a test's own.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use hearth_process::locked::{self, LockedFile};
use hearth_process::{ProcessHandle, ProcessId, Signal};
use serde_json::Value;

use crate::Verb;
use crate::leftovers::{Process, processes_of};

/// A throw-away `HEARTH_HOME`. When it is dropped, what runs in it is taken down; a test that passed
/// and left a process behind fails.
pub struct Home {
    root: tempfile::TempDir,
    dir: PathBuf,
}

/// How a verb ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; `None`: killed.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// From an output.
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Itself, if it ended with `code`; else the test fails with all that it said.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.stdout.trim()).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Standard output as JSON lines.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The one line of a refusal with `--json`.
    #[track_caller]
    pub fn refusal(&self) -> Value {
        let line = self.stderr.lines().find(|line| line.starts_with("{\"error\"")).unwrap_or("");
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        value["error"].clone()
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// A home that does not exist yet.
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("hearth-test-").tempdir().expect("a directory");
        // Services of other users must be able to pass.
        set_mode(root.path(), 0o755);
        let dir = root.path().join("home");
        Self { root, dir }
    }

    /// The home itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A directory around it, for whatever a test needs.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A file of the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// `hearth` with this home, no standard input, and no variable of hearth's from outside.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(crate::hearth());
        command.args(arguments).current_dir(self.root.path()).stdin(Stdio::null());
        for variable in ["HEARTH_NO_AUTOSPAWN", "HEARTH_SESSION", "NO_COLOR"] {
            command.env_remove(variable);
        }
        command.env("HEARTH_HOME", &self.dir);
        with_default_signals(&mut command);
        command
    }

    /// Runs a verb to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).finish()
    }

    /// Starts a verb; its output is kept.
    pub fn start(&self, arguments: &[&str]) -> Verb {
        start(&mut self.command(arguments))
    }

    /// Writes a file of the home, making the home if need be.
    pub fn write(&self, name: &str, text: &str) {
        if !self.dir.exists() {
            fs::create_dir(&self.dir).expect("the home can be made");
            set_mode(&self.dir, 0o700);
        }
        fs::write(self.dir.join(name), text).expect("a file can be written");
    }

    /// What the agent wrote into its lifetime lock.
    pub fn record(&self) -> Option<Value> {
        match locked::read_path(&self.path("agent.lock")) {
            Ok(locked::Record::Valid(bytes)) => serde_json::from_slice(&bytes).ok(),
            Ok(locked::Record::Empty | locked::Record::Torn) | Err(_) => None,
        }
    }

    /// The agent's pid, where one lives.
    pub fn agent_pid(&self) -> Option<u32> {
        let held = locked::is_held(&self.path("agent.lock")).unwrap_or(false);
        if !held {
            return None;
        }
        self.record()?["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    }

    /// Waits until an agent has published its socket; for one that no verb of the test starts.
    pub fn await_socket(&self) {
        // Where there is no home yet there is nothing to watch.
        self.write("agent.toml", "");
        let is_socket = |_: &str| self.path("agent.sock").exists();
        crate::await_file(&self.path("agent.sock"), is_socket);
    }

    /// Signals the agent.
    #[track_caller]
    pub fn signal_agent(&self, signal: Signal) {
        send(self.agent_pid().expect("an agent lives"), signal);
    }

    /// Kills the agent and returns when it is gone, and with it its locks. A verb that waits may
    /// have started the next one by then.
    #[track_caller]
    pub fn kill_agent(&self) {
        let pid = self.agent_pid().expect("an agent lives");
        send(pid, Signal::KILL);
        crate::await_end(pid);
    }

    /// The same, and its shims do not bring one back for as long as what this gives is kept: it is
    /// the lock by which they choose who does.
    #[track_caller]
    #[must_use]
    pub fn kill_agent_for_good(&self) -> LockedFile {
        let file = locked::open(&self.path("shims/return.lock"), true).expect("it has shims");
        let election = LockedFile::exclusive(file).expect("a lock can be waited for");
        self.kill_agent();
        election
    }

    /// Returns when nobody holds the lifetime lock.
    pub fn wait_until_free(&self) {
        if let Ok(file) = locked::open(&self.path("agent.lock"), false) {
            drop(LockedFile::exclusive(file).expect("a lock can be waited for"));
        }
    }

    /// All processes that belong to this home: agent, shims, services.
    pub fn processes(&self) -> Vec<Process> {
        processes_of(&self.dir)
    }

    fn take_down(&self) -> Vec<Process> {
        if !self.dir.exists() {
            return self.processes();
        }
        // Stopped ones must run again to hear of the end.
        for process in self.processes() {
            let _ = ProcessHandle::open(&process.id).map(|handle| handle.signal(Signal::CONT));
        }
        if self.dir.join("shims").exists() {
            // Also where a start that failed keeps the next one from being tried.
            let _ = self.run(&["daemon", "up", "--timeout", "10s"]);
            let _ = self.run(&["down", "--all", "--force", "--timeout", "20s"]);
        }
        let _ = self.run(&["daemon", "down", "--timeout", "10s"]);
        let mut left = self.processes();
        left.retain(|process| {
            let Ok(handle) = ProcessHandle::open(&process.id) else { return false };
            // Agent and shims let go of what they hold before they are gone; a service is gone first.
            // So does what a shell's hook has in the background.
            let is = |what: &str| process.command.contains(what);
            let own = is("hearth shim") || is("hearth agent") || is("/hearth hook ");
            !(own && handle.wait_timeout(Duration::from_secs(5)).unwrap_or(false))
        });
        if !left.is_empty() {
            self.kill_everything();
        }
        left
    }

    /// Also what an agent starts again while others are being killed.
    fn kill_everything(&self) {
        let election = locked::open(&self.path("shims/return.lock"), true);
        let _election = election.map(LockedFile::try_exclusive);
        for _ in 0..100 {
            let mut all = self.processes();
            if all.is_empty() {
                return;
            }
            all.sort_by_key(|process| !process.command.starts_with("hearth agent"));
            for process in all {
                let Ok(handle) = ProcessHandle::open(&process.id) else { continue };
                let _ = handle.signal(Signal::KILL);
                let _ = handle.wait();
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let left = self.take_down();
        let socket = self.record().and_then(|record| record["socket"].as_str().map(PathBuf::from));
        if let Some(directory) = socket.as_deref().and_then(Path::parent)
            && directory != self.dir
            && directory.starts_with("/tmp")
        {
            let _ = fs::remove_dir_all(directory);
        }
        if !left.is_empty() && !std::thread::panicking() {
            panic!("processes were left behind: {left:#?}");
        }
    }
}

/// Starts a command whose output is kept.
pub(crate) fn start(command: &mut Command) -> Verb {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Verb::of(command.spawn().expect("hearth runs"))
}

/// What a shell runs in the background ignores SIGINT, and so would what tests interrupt.
pub(crate) fn with_default_signals(command: &mut Command) {
    // SAFETY: sigaction(2) and sigprocmask(2) are async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            hearth_process::child::default_signals();
            Ok(())
        });
    }
}

/// Signals a process through a handle.
#[track_caller]
pub fn send(pid: u32, signal: Signal) {
    let id = ProcessId::of(pid).expect("the process lives");
    ProcessHandle::open(&id)
        .expect("the process lives")
        .signal(signal)
        .expect("it can be signalled");
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
}
