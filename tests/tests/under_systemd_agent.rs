//! The agent as a unit of a real systemd user manager, seen from the agent's side. Ignored where there
//! is none; `packaging/with-user-systemd` makes one.

use std::fs;

use hearth_process::Signal;
use hearth_tests::systemd::{Installed, Manager, SERVICE, SOCKET};
use hearth_tests::{Project, await_end, await_file, runs, send};

const SLEEPER: &str =
    "[services.sleeper]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

fn status_text(manager: &Manager, wanted: &str) {
    manager.await_property(SERVICE, "StatusText", |text| text == wanted);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn the_unit_is_active_when_the_agent_is_ready_and_says_how_many_services_are_up() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.verb(&["up"]).exits(0);
    let agent = installed.agent();
    assert_eq!(manager.property(SERVICE, "SubState"), "running");
    status_text(&manager, "ready: 1 service up, 0 sessions");
    installed.verb(&["down"]).exits(0);
    status_text(&manager, "ready: 0 services up, 0 sessions");
    assert_eq!(installed.agent(), agent);
    manager.systemctl(&["stop", SERVICE]).exits(0);
    assert_eq!(manager.property(SERVICE, "Result"), "success");
    assert_eq!(manager.property(SOCKET, "SubState"), "listening");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_verb_that_waits_goes_on_over_a_restart_of_the_unit() {
    let toml =
        "[services.late]\nrun = \"echo >began; exec sleep 1000\"\nready = { file = \"go\" }\n";
    let (project, manager) = (Project::new(toml), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    let mut waiting = installed.begin(&["up", "--json"]);
    waiting.until_state("late", "starting");
    // Its process runs when it has written that.
    project.await_file("began", |text| text.ends_with('\n'));
    let (agent, service) = (installed.agent(), project.pid("late"));
    manager.systemctl(&["restart", SERVICE]).exits(0);
    assert!(!runs(agent) && runs(service));
    project.write("go", "");
    let ran = waiting.finish();
    let log = fs::read_to_string(project.home.path("agent.log")).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?} {log}");
    assert!(ran.stdout.contains("\"ready\""), "{ran:?}");
    let log = fs::read_to_string(project.home.path("agent.log")).unwrap();
    assert!(log.contains("stopping: SIGTERM") && log.contains("ending=Restart"), "{log}");
    assert_eq!(project.pid("late"), service);
    assert_ne!(installed.agent(), agent);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn nothing_of_the_managers_reaches_a_shim_or_a_service() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    // The agent is the manager's before the verb's variables come into it.
    installed.verb(&["daemon", "up"]).exits(0);
    let agent = installed.agent();
    installed.verb(&["up"]).exits(0);
    let service = project.pid("sleeper");
    let mut all = project.home.processes();
    all.retain(|process| process.id.pid != agent);
    assert!(all.iter().any(|process| process.id.pid == service) && all.len() >= 2, "{all:?}");
    let sockets = |pid: u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let links = open.filter_map(|it| fs::read_link(it.path()).ok());
        links.filter(|it| it.to_string_lossy().starts_with("socket:")).collect::<Vec<_>>()
    };
    let listening = {
        let table = fs::read_to_string("/proc/net/unix").unwrap();
        let path = project.home.path("agent.sock");
        let row = table.lines().find(|row| row.ends_with(path.to_str().unwrap())).unwrap();
        format!("socket:[{}]", row.split_whitespace().nth(6).unwrap())
    };
    assert!(sockets(agent).iter().any(|it| it.to_string_lossy() == listening));
    for process in all {
        let bytes = fs::read(format!("/proc/{}/environ", process.id.pid)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for name in ["LISTEN_", "NOTIFY_SOCKET", "SYSTEMD_EXEC_PID", "MANAGERPID", "WATCHDOG_"] {
            let leaked = text.split('\0').find(|variable| variable.starts_with(name));
            assert_eq!(leaked, None, "{process:?}");
        }
        assert!(!sockets(process.id.pid).iter().any(|it| it.to_string_lossy() == listening));
    }
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_permanent_error_does_not_loop_and_is_told_and_the_next_verb_is_a_new_try() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    manager.systemctl(&["stop", SERVICE]).exits(0);
    project.home.write("agent.toml", "idle_timeout = 5\n");
    let ran = installed.verb(&["up"]).exits(3);
    assert!(ran.stderr.contains("agent.toml"), "{ran:?}");
    manager.await_property(SERVICE, "ActiveState", |state| state == "failed");
    assert_eq!(manager.property(SERVICE, "ExecMainStatus"), "2");
    assert_eq!(manager.property(SERVICE, "NRestarts"), "0");
    assert!(manager.property(SERVICE, "StatusText").contains("agent.toml"));
    assert_eq!(manager.property(SOCKET, "SubState"), "listening");
    project.home.write("agent.toml", "");
    installed.verb(&["up"]).exits(0);
    installed.agent();
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_second_sigterm_forces_and_no_socket_is_taken_away_by_it() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.verb(&["up"]).exits(0);
    let (agent, service) = (installed.agent(), project.pid("sleeper"));
    send(agent, Signal::TERM);
    send(agent, Signal::TERM);
    await_end(agent);
    assert!(runs(service) && project.home.path("agent.sock").exists());
    await_file(&project.home.path("agent.log"), |log| log.contains("stopping: SIGTERM"));
    assert_eq!(
        installed.verb(&["status", "--json"]).exits(0).json()["services"][0]["pid"],
        service
    );
    assert_ne!(installed.agent(), agent);
}
