//! A home and a project of the test's own, and hearth run in them.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Everything below one directory that goes with the test.
pub struct Place {
    dir: tempfile::TempDir,
}

/// What a verb left: exit code, stdout, stderr.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("project")).expect("a project");
        Self { dir }
    }

    /// One with this `hearth.toml`.
    pub fn with(text: &str) -> Self {
        let place = Self::new();
        std::fs::write(place.project().join("hearth.toml"), text).expect("a file");
        place
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub fn project(&self) -> PathBuf {
        self.dir.path().join("project").canonicalize().expect("its path")
    }

    /// hearth in the project; no agent is started for want of leave, unless `arguments` say so.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
        command
            .args(arguments)
            .current_dir(self.project())
            .env("HEARTH_HOME", self.home())
            .env("HEARTH_NO_AUTOSPAWN", "1")
            .env_remove("NO_COLOR");
        // What a shell runs in the background ignores SIGINT, and so would what tests interrupt.
        // SAFETY: sigaction(2) and sigprocmask(2) are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                hearth_process::child::default_signals();
                Ok(())
            });
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().expect("hearth runs"))
    }
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code().expect("it exited"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// The answer, as JSON.
    #[allow(dead_code, reason = "not every test has one")]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }

    /// The error: one line of JSON on stderr, with all its parts.
    pub fn error(&self) -> Value {
        let line = self.err.strip_suffix('\n').expect("a line");
        assert!(!line.contains('\n'), "{line}");
        let error = serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let error = error["error"].clone();
        for part in ["code", "message", "hint", "details"] {
            assert!(!error[part].is_null(), "{part} is missing: {error}");
        }
        error
    }
}

/// Names of what is in a directory.
#[allow(dead_code, reason = "not every test looks")]
pub fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect()
}
