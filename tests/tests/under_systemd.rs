//! The agent under a real systemd user manager. Ignored where there is none; `packaging/with-user-systemd`
//! makes one.

use std::process::Command;

use hearth_tests::{Project, Ran, runs};

const SLEEPER: &str =
    "[services.sleeper]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

fn systemd(program: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.arg("--user").args(arguments);
    Ran::of(&command.output().expect("systemd is installed"))
}

fn property(unit: &str, name: &str) -> String {
    systemd("systemctl", &["show", "--value", "--property", name, unit]).stdout.trim().to_owned()
}

/// Starts `hearth daemon run` as a unit of this name.
fn run_as_unit(project: &Project, unit: &str) {
    let home = format!("--setenv=HEARTH_HOME={}", project.home.dir().display());
    let hearth = hearth_tests::hearth().to_str().unwrap();
    let keep = "--property=KillMode=process";
    systemd("systemd-run", &["--quiet", "--unit", unit, keep, &home, hearth, "daemon", "run"])
        .exits(0);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn the_agent_in_a_unit_stops_in_order_and_its_services_outlive_it() {
    let project = Project::new(SLEEPER);
    let unit = format!("hearth-test-{}", std::process::id());
    run_as_unit(&project, &unit);
    project.home.await_socket();
    let agent = project.home.agent_pid().unwrap();
    assert_eq!(property(&unit, "MainPID"), agent.to_string());
    project.run(&["up"]).exits(0);
    assert_eq!(project.home.agent_pid(), Some(agent), "the verb found the unit's agent");
    let service = project.pid("sleeper");
    systemd("systemctl", &["stop", &unit]).exits(0);
    assert!(!runs(agent) && runs(service));
    assert_eq!(project.home.record().unwrap()["stage"], "stopped", "it stopped in order");
    // The next verb's agent takes the service over: same pid.
    assert_eq!(project.pid("sleeper"), service);
    assert_ne!(project.home.agent_pid(), Some(agent));
    project.run(&["down"]).exits(0);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_unit_beside_an_agent_that_a_verb_started_does_not_make_a_second_one() {
    let project = Project::new(SLEEPER);
    project.run(&["up"]).exits(0);
    let agent = project.home.agent_pid();
    let unit = format!("hearth-test-second-{}", std::process::id());
    let home = format!("--setenv=HEARTH_HOME={}", project.home.dir().display());
    let hearth = hearth_tests::hearth().to_str().unwrap();
    let ran = systemd(
        "systemd-run",
        &["--quiet", "--wait", "--unit", &unit, &home, hearth, "daemon", "run"],
    );
    assert_eq!(ran.code, Some(1), "already-running: {ran:?}");
    assert_eq!(project.home.agent_pid(), agent);
    assert_eq!(project.state("sleeper"), "ready");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_agent_started_from_a_scope_outlives_the_verb() {
    let project = Project::new(SLEEPER);
    let home = format!("--setenv=HEARTH_HOME={}", project.home.dir().display());
    let hearth = hearth_tests::hearth().to_str().unwrap();
    let dir = project.dir().to_str().unwrap();
    systemd("systemd-run", &["--quiet", "--scope", &home, hearth, "-C", dir, "up"]).exits(0);
    let agent = project.home.agent_pid().expect("it lives on");
    let service = project.pid("sleeper");
    project.run(&["up"]).exits(0);
    assert_eq!((project.home.agent_pid(), project.pid("sleeper")), (Some(agent), service));
}
