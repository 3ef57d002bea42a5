//! What several of these tests need.
#![allow(dead_code)]

use std::io::Write;
use std::process::{Child, Command};

/// A child that does not outlive its test, however that ends.
pub struct Kept(pub Child);

impl Kept {
    pub fn sleeping() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn kill_and_reap(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.kill_and_reap();
    }
}

/// Whether a test that needs root may run. Said aloud if not; a failure where `CI=true`.
pub fn root_or_skip(test: &str) -> bool {
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

/// This test binary, to run one of its ignored tests in another process.
pub fn inner(command: &mut Command, test: &str) {
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
}

/// Runs one ignored test of this binary in namespaces of its own, by unshare(1).
pub fn in_namespaces(options: &[&str], test: &str, env: &[(&str, String)]) {
    let mut command = Command::new("unshare");
    command.args(options).arg(std::env::current_exe().unwrap());
    inner(&mut command, test);
    command.envs(env.iter().cloned());
    let output = command.output().expect("unshare(1) of util-linux");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{test}: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
    );
}
