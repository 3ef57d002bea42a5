//! The agent under a real systemd user manager. Ignored where there is none; `packaging/with-user-systemd`
//! makes one.

use std::process::Command;

use hearth_tests::{Project, Ran};

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

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn the_agent_in_a_unit_stops_in_order_and_its_services_outlive_it() {
    let project = Project::new(SLEEPER);
    let unit = format!("hearth-test-{}", std::process::id());
    let home = format!("--setenv=HEARTH_HOME={}", project.home.dir().display());
    let hearth = hearth_tests::hearth().to_str().unwrap().to_owned();
    let started = systemd(
        "systemd-run",
        &[
            "--quiet",
            "--unit",
            &unit,
            "--property=KillMode=process",
            &home,
            &hearth,
            "daemon",
            "run",
        ],
    );
    started.exits(0);
    // The verb finds the unit's agent at its socket, or waits on its lock, or is the one that starts
    // another; in the last case the unit's own says that it found one, and ends.
    project.run(&["up"]).exits(0);
    let service = project.pid("sleeper");
    let agent = project.home.agent_pid().unwrap();
    if property(&unit, "MainPID") == agent.to_string() {
        systemd("systemctl", &["stop", &unit]).exits(0);
        project.home.wait_until_free();
        assert_eq!(project.home.record().unwrap()["stage"], "stopped", "it stopped in order");
    } else {
        project.home.run(&["daemon", "down"]).exits(0);
    }
    // The next verb's agent takes the service over: same pid.
    assert_eq!(project.pid("sleeper"), service);
    assert_ne!(project.home.agent_pid(), Some(agent));
    project.run(&["down"]).exits(0);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_agent_started_from_a_scope_answers_after_the_scope_has_ended() {
    let project = Project::new(SLEEPER);
    let home = format!("--setenv=HEARTH_HOME={}", project.home.dir().display());
    let hearth = hearth_tests::hearth().to_str().unwrap().to_owned();
    let dir = project.dir().to_str().unwrap();
    systemd("systemd-run", &["--quiet", "--scope", &home, &hearth, "-C", dir, "up"]).exits(0);
    assert_eq!(project.state("sleeper"), "ready");
    project.run(&["down"]).exits(0);
}
