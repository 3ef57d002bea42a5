//! The home's `logs/` removed, or read-only for a while, under services that write and a reader that
//! follows: no service is disturbed, what could not be kept is told, and the rest is there.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::Command;

use hearth_tests::{Gate, Project, Verb, is_root};

/// Writes a line for each that it is given.
fn echo() -> (Project, Gate) {
    let project = Project::new(
        r#"
        [services.s]
        run = "echo $$ >> pids; echo up; while read x < gate; do echo said $x; echo $x >> took; done"
        ready = { log = "^up$" }
        "#,
    );
    let gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    (project, gate)
}

/// Returns when the service has written it.
fn say(project: &Project, gate: &mut Gate, number: usize) {
    gate.say(&number.to_string());
    project.await_lines("took", number);
}

#[track_caller]
fn until(follower: &mut Verb, wanted: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = follower.line().unwrap_or_else(|| panic!("no `{wanted}` in {lines:?}"));
        lines.push(line);
        if lines.last().is_some_and(|line| line == wanted) {
            return lines;
        }
    }
}

#[test]
fn removed_while_a_service_writes_and_a_reader_follows() {
    let (project, mut gate) = echo();
    let mut follower = project.start(&["logs", "-f", "-n", "10", "s"]);
    until(&mut follower, "up");
    let mut number = 0;
    for _ in 0..3 {
        number += 1;
        say(&project, &mut gate, number);
        until(&mut follower, &format!("said {number}"));
        fs::remove_dir_all(project.home.path("logs")).unwrap();
        number += 1;
        say(&project, &mut gate, number);
        assert_eq!(until(&mut follower, &format!("said {number}")), [format!("said {number}")]);
        // Also for who begins to read now, with and without an agent.
        let shown = project.run(&["logs", "s"]).exits(0).stdout;
        assert_eq!(shown, format!("said {number}\n"));
        let cold = project.run(&["logs", "--no-spawn", "s"]).exits(0).stdout;
        assert_eq!(cold, shown);
    }
    follower.kill();
    assert_eq!(project.read("pids").lines().count(), 1, "it was not disturbed");
    // The next life writes where there is nothing.
    fs::remove_dir_all(project.home.path("logs")).unwrap();
    project.run(&["restart", "s"]).exits(0);
    assert_eq!(project.run(&["logs", "s"]).exits(0).stdout, "up\n");
    fs::remove_dir_all(project.home.path("logs")).unwrap();
    assert_eq!(project.run(&["logs", "s"]).exits(0).stdout, "");
    project.run(&["down"]).exits(0);
}

/// A file system of its own over `logs/`; it goes with the guard.
struct Mounted<'a>(&'a Project);

impl<'a> Mounted<'a> {
    fn over_logs(project: &'a Project) -> Self {
        fs::create_dir(project.home.path("logs")).unwrap();
        let mounted = Self(project);
        mounted.mount(&["-t", "tmpfs", "-o", "size=1m,mode=0700", "none"]);
        mounted
    }

    fn mount(&self, options: &[&str]) {
        let status = Command::new("mount").args(options).arg(self.0.home.path("logs")).status();
        assert!(status.expect("mount is installed").success(), "mount {options:?}");
    }
}

impl Mounted<'_> {
    /// Takes away what was mounted last. Lazily: somebody may have a file of it open.
    fn uncover(&self) {
        let path = self.0.home.path("logs");
        let status = Command::new("umount").arg("-l").arg(path).status();
        assert!(status.expect("umount is installed").success());
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // However many there are.
        let unmount = || Command::new("umount").arg("-ql").arg(self.0.home.path("logs")).status();
        while unmount().is_ok_and(|status| status.success()) {}
    }
}

#[test]
fn read_only_for_a_while() {
    if !is_root("read_only_for_a_while") {
        return;
    }
    let project = Project::empty();
    project.home.write("agent.toml", "");
    let mounted = Mounted::over_logs(&project);
    project.write(
        "hearth.toml",
        r#"
        [services.s]
        run = "echo $$ >> pids; echo up; while read x < gate; do printf '%0200d\\n' $x; echo said $x; echo $x >> took; done"
        ready = { log = "^up$" }
        log = { max_size = "1KB" }
        [services.later]
        run = "echo up; exec sleep 1000"
        ready = { settle = "0s" }
        "#,
    );
    let mut gate = project.gate("gate");
    project.run(&["up", "s"]).exits(0);
    let mut follower = project.start(&["logs", "-f", "-n", "10", "s"]);
    until(&mut follower, "up");
    say(&project, &mut gate, 1);
    until(&mut follower, "said 1");
    // Files that are open for writing keep a mount from becoming read-only, so it gets another one
    // over it: what is open can be written and what is to be made can not.
    mounted.mount(&["--bind", project.home.path("logs").to_str().unwrap()]);
    mounted.mount(&["-o", "remount,bind,ro"]);
    // More than what is open has room for.
    for number in 2..60 {
        say(&project, &mut gate, number);
    }
    // What is started now has no log, and comes up nevertheless.
    project.run(&["up", "later"]).exits(0);
    project.run(&["logs", "s"]).exits(0);
    mounted.uncover();
    say(&project, &mut gate, 60);
    let lines = until(&mut follower, "said 60");
    let told = lines.iter().any(|line| line.contains("lost") && line.contains("read-only"));
    assert!(told, "how much is missing, and why: {lines:?}");
    follower.kill();
    assert_eq!(project.read("pids").lines().count(), 1, "it was not disturbed");
    project.run(&["down"]).exits(0);
    project.run(&["daemon", "down"]).exits(0);
    drop(mounted);
}
