//! The agent and its shims, living, stopped, dead, replaced.

use std::fs;
use std::process::Command;

use hearth_process::Signal;
use hearth_process::facts::is_stopped;
use hearth_tests::{Home, Project, next_version};

use crate::support::{around, command, doctor, report};

const SERVICE: &str = "[services.steady]\nrun = 'exec sleep 1000'\n";

#[test]
fn an_agent_that_is_stopped_by_a_signal_is_told() {
    let home = Home::new();
    home.run(&["daemon", "up"]).exits(0);
    let pid = home.agent_pid().unwrap();
    home.signal_agent(Signal::STOP);
    while !is_stopped(pid) {
        std::thread::yield_now();
    }
    let found = doctor(&home);
    let remedy = format!("kill -CONT {pid}");
    found.says("agent", "fault", &["stopped by a signal", &remedy]);
    found.says("agent-health", "fault", &["does not answer", &remedy]);
    // It would publish it again, and can't hear of it.
    fs::remove_file(home.path("agent.sock")).unwrap();
    doctor(&home).says("socket", "fault", &["an agent lives and has no socket"]);
    home.signal_agent(Signal::CONT);
    home.await_socket();
    doctor(&home).says("agent", "ok", &[]).says("agent-health", "ok", &[]).says(
        "socket",
        "ok",
        &[],
    );
}

#[test]
fn services_without_an_agent_are_told_and_none_is_started_for_them() {
    let project = Project::new(SERVICE);
    project.run(&["up"]).exits(0);
    doctor(&project.home).says("shims", "ok", &["1 service runs: steady"]);
    let election = project.home.kill_agent_for_good();
    let found = doctor(&project.home);
    found.says("shims", "warning", &["no agent looks after", "hearth daemon up"]);
    found.says("agent-end", "warning", &["died without a word", "hearth daemon logs"]);
    found.says("socket", "ok", &["stale"]);
    assert_eq!(project.home.agent_pid(), None, "it was started");
    drop(election);
    project.run(&["status"]).exits(0);
    doctor(&project.home).says("shims", "ok", &[]).says("agent-end", "ok", &[]);
}

#[test]
fn a_shim_that_is_stopped_by_a_signal_is_told() {
    let project = Project::new(SERVICE);
    project.run(&["up"]).exits(0);
    let shim = hearth_process::facts::parent_of(project.pid("steady")).unwrap();
    hearth_tests::send(shim, Signal::STOP);
    while !is_stopped(shim) {
        std::thread::yield_now();
    }
    doctor(&project.home).says("shims", "fault", &["steady", &format!("kill -CONT {shim}")]);
    hearth_tests::send(shim, Signal::CONT);
}

#[test]
fn an_executable_that_was_replaced_or_removed_is_told() {
    let home = Home::new();
    let copy = home.root().join("hearth");
    let cp = |to: &std::path::Path| {
        assert!(Command::new("cp").arg(hearth_tests::hearth()).arg(to).status().unwrap().success());
    };
    cp(&copy);
    let mut up = around(&home, Command::new(&copy));
    up.args(["daemon", "up"]).env("HEARTH_HOME", home.dir()).env_remove("HEARTH_NO_AUTOSPAWN");
    assert!(up.status().unwrap().success());
    doctor(&home).says("agent-executable", "ok", &[copy.to_str().unwrap()]);
    let aside = home.root().join("new");
    cp(&aside);
    fs::rename(aside, &copy).unwrap();
    doctor(&home).says("agent-executable", "warning", &["was replaced", "hearth daemon restart"]);
    fs::remove_file(&copy).unwrap();
    doctor(&home).says("agent-executable", "warning", &["is there no more"]);
}

#[test]
fn an_agent_of_another_version_is_told_and_so_is_another_command_in_the_way() {
    let home = Home::new();
    let bin = home.root().join("bin");
    fs::create_dir(&bin).unwrap();
    let next = bin.join("hearth");
    next_version(&next);
    let mut up = around(&home, Command::new(&next));
    up.args(["daemon", "up"]).env("HEARTH_HOME", home.dir()).env_remove("HEARTH_NO_AUTOSPAWN");
    assert!(up.status().unwrap().success());
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let found = report(command(&home).env("PATH", &path));
    found.says("agent-version", "warning", &["is newer than this command"]);
    found.says("path", "warning", &["is not the first", next.to_str().unwrap()]);
    // The other way round.
    home.run(&["daemon", "down"]).exits(0);
    home.run(&["daemon", "up"]).exits(0);
    let mut newer = around(&home, Command::new(&next));
    newer
        .args(["doctor", "--json"])
        .env("HEARTH_HOME", home.dir())
        .env_remove("HEARTH_NO_AUTOSPAWN");
    report(&mut newer).says(
        "agent-version",
        "warning",
        &["is older than this command", "hearth daemon restart"],
    );
}

#[test]
fn agents_of_other_homes_are_told_and_one_whose_home_is_gone_is_a_warning() {
    let (home, other) = (Home::new(), Home::new());
    other.run(&["daemon", "up"]).exits(0);
    let pid = other.agent_pid().unwrap();
    // Other tests have theirs, too.
    let told = |words: &str| {
        let found = doctor(&home);
        let message = found.of("other-agents")["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{message}");
    };
    told(&format!("pid {pid} in {}", other.dir().display()));
    let aside = other.root().join("aside");
    fs::rename(other.dir(), &aside).unwrap();
    told(&format!("pid {pid} in {}, which is gone", other.dir().display()));
    fs::rename(aside, other.dir()).unwrap();
}

#[test]
fn inside_of_a_service_it_says_so() {
    let asks = format!("{} doctor --json > report; true", hearth_tests::hearth().display());
    let project = Project::new(&format!("[services.asks]\nkind = 'oneshot'\nrun = '{asks}'\n"));
    project.run(&["up"]).exits(0);
    let report: serde_json::Value = serde_json::from_str(&project.read("report")).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|it| it["name"] == "environment-service").unwrap();
    assert!(found["message"].as_str().unwrap().contains("inside of the service"), "{found}");
}
