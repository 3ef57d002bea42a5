//! For the tests of an embedder: a throw-away home, and what runs in it.
//!
//! Kept true here: a test that passes and leaves a process behind fails; whatever happens, what was
//! started in the home is ended with it.
//!
//! ```no_run
//! use hearth_lifecycle::App;
//! use hearth_lifecycle::testing::ThrowAwayHome;
//!
//! const NOTES: App = App::new("notes", "1.0.0");
//!
//! #[test]
//! fn a_note_is_kept() {
//!     let home = ThrowAwayHome::new(&NOTES);
//!     let added = home.command(env!("CARGO")).args(["add", "milk"]).output().unwrap();
//!     assert!(added.status.success());
//! } // the agent is ended here; a process that it left behind fails the test
//! ```

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hearth_process::facts;
use hearth_process::locked::LockedFile;
use hearth_process::{ProcessHandle, ProcessId, Signal};

use crate::{App, Client, Home, Record, Running, Stop, record, running};

/// What is told to end gets so long.
const ENDING: Duration = Duration::from_secs(10);
/// What has let go of everything is gone within this.
const GOING: Duration = Duration::from_secs(2);

/// A home of a test's own, below a temporary directory. Dropped, the agent in it is ended; the test fails
/// where any other process is left that was given this home.
#[derive(Debug)]
pub struct ThrowAwayHome {
    app: App,
    root: tempfile::TempDir,
    home: Home,
}

/// A process that was given a home.
#[derive(Clone, Debug)]
pub struct Process {
    /// Who it is.
    pub id: ProcessId,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl ThrowAwayHome {
    /// One that does not exist yet.
    ///
    /// # Panics
    ///
    /// Where no temporary directory can be made.
    pub fn new(app: &App) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory can be made");
        let home = Home::resolve(app, Some(&root.path().join("home")));
        Self { app: app.clone(), root, home: home.expect("a temporary directory is absolute") }
    }

    /// The home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// A directory around it, for whatever a test needs.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A client in this process. What it starts runs this process's executable, which is a test: mostly it
    /// is for what [`ThrowAwayHome::command`] has started.
    pub fn client(&self) -> Client {
        Client::at(&self.app, self.home.clone())
    }

    /// A command in this home, without standard input, and with none of the app's variables from outside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let prefix = self.app.var_name("");
        let ours = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with(&prefix));
        std::env::vars_os().filter(|(name, _)| ours(name)).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command.env(self.variable(), self.home.dir()).stdin(Stdio::null());
        command
    }

    /// The agent that lives.
    pub fn agent(&self) -> Option<Record> {
        match running(&self.home) {
            Ok(Running::Living(record)) => record,
            Ok(Running::Gone(_) | Running::Died(_)) | Err(_) => None,
        }
    }

    /// Sends the agent a signal.
    ///
    /// # Panics
    ///
    /// Where none lives.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let handle = self.process();
        handle.signal(signal).expect("it can be signalled");
    }

    /// Kills the agent, and returns when nothing of it is left: neither its locks nor its end of a socket.
    ///
    /// # Panics
    ///
    /// Where none lives.
    #[track_caller]
    pub fn kill(&self) {
        let handle = self.process();
        handle.signal(Signal::KILL).expect("it can be signalled");
        handle.wait().expect("its end can be waited for");
        self.wait_until_free();
    }

    #[track_caller]
    fn process(&self) -> ProcessHandle {
        let agent = self.agent().expect("an agent lives");
        ProcessHandle::open(&agent.process).expect("its process lives")
    }

    /// Returns when nobody holds the lifetime lock.
    pub fn wait_until_free(&self) {
        if let Ok(file) = record::open(&self.home.agent_lock()) {
            let _ = LockedFile::exclusive(file);
        }
    }

    /// All processes that were given this home by its variable, and live: the agent, verbs, and what they
    /// have started with the same environment.
    pub fn processes(&self) -> Vec<Process> {
        let (name, dir) = (self.variable(), self.home.dir().as_os_str());
        let all = facts::processes_of(crate::home::euid()).unwrap_or_default();
        let belongs = |pid: &u32| {
            *pid != std::process::id()
                && !matches!(facts::state_of(*pid), None | Some('Z' | 'X'))
                && facts::variable_of(*pid, &name).is_some_and(|value| value == dir)
        };
        let process = |pid| {
            let id = ProcessId::of(pid).ok()?;
            let arguments = facts::arguments_of(pid)?;
            let arguments = arguments.iter().map(|it| it.to_string_lossy().into_owned()).collect();
            Some(Process { id, arguments })
        };
        all.into_iter().filter(belongs).filter_map(process).collect()
    }

    fn variable(&self) -> String {
        self.app.var_name("HOME")
    }

    /// What is left after the agent was ended in order; it is killed.
    fn take_down(&self) -> Vec<Process> {
        if self.agent().is_some() {
            // A stopped one must run again to hear of its end.
            self.signal_if_it_lives(Signal::CONT);
            let _ = self.client().stop(Stop { within: Some(ENDING), force: true });
        }
        let mut left = self.processes();
        left.retain(|process| {
            let Ok(handle) = ProcessHandle::open(&process.id) else { return false };
            // An agent lets go of its lock, and a verb of its answer, right before it is gone.
            !handle.wait_timeout(GOING).unwrap_or(false)
        });
        for process in &left {
            if let Ok(handle) = ProcessHandle::open(&process.id) {
                let _ = handle.signal(Signal::KILL);
                let _ = handle.wait_timeout(ENDING);
            }
        }
        left
    }

    fn signal_if_it_lives(&self, signal: Signal) {
        let handle = self.agent().map(|agent| ProcessHandle::open(&agent.process));
        if let Some(Ok(handle)) = handle {
            let _ = handle.signal(signal);
        }
    }
}

impl Drop for ThrowAwayHome {
    fn drop(&mut self) {
        let left = self.take_down();
        let elsewhere = self.home.published_socket().unwrap_or_else(|| self.home.socket());
        remove_short_directory(&elsewhere, self.home.dir());
        if !left.is_empty() && !std::thread::panicking() {
            panic!("processes were left behind: {left:#?}");
        }
    }
}

/// Of a home too deep for sockets, what stands elsewhere.
fn remove_short_directory(socket: &Path, home: &Path) {
    let directory: Option<PathBuf> = socket.parent().map(Path::to_owned);
    if let Some(directory) = directory.filter(|directory| directory != home) {
        let _ = std::fs::remove_dir_all(directory);
    }
}
