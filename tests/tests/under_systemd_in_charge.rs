//! Verbs beside an installed unit, under a real systemd user manager. Ignored where there is none;
//! `packaging/with-user-systemd` makes one. What a verb makes of a manager that does not do its work
//! stands in `in_charge.rs`.

use std::fs;
use std::process::Command;

use hearth_tests::systemd::{Installed, Manager, SERVICE, SOCKET};
use hearth_tests::{Project, Verb, runs};

const SLEEPER: &str =
    "[services.sleeper]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn the_agent_is_brought_up_ended_and_renewed_by_its_manager() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.rest();
    let listening = installed.verb(&["daemon", "status", "--json"]).exits(3).json();
    assert_eq!(listening["state"], "down");
    assert_eq!(listening["manager"]["standing"], "listening", "{listening}");
    let up = installed.verb(&["daemon", "up"]).exits(0);
    assert!(up.stderr.contains(SERVICE), "{}", up.stderr);
    let first = installed.agent();
    installed.verb(&["up"]).exits(0);
    let service = project.pid("sleeper");
    let status = installed.verb(&["daemon", "status", "--json"]).exits(0).json();
    assert_eq!(
        (&status["pid"], &status["manager"]["standing"]),
        (&first.into(), &"running".into())
    );

    installed.verb(&["daemon", "restart"]).exits(0);
    let second = installed.agent();
    assert!(first != second && !runs(first) && runs(service));

    let down = installed.verb(&["daemon", "down"]).exits(0);
    assert!(down.stderr.contains("agent down") && down.stderr.contains(SERVICE), "{}", down.stderr);
    assert!(!runs(second) && runs(service));
    assert_eq!(manager.property(SERVICE, "ActiveState"), "inactive", "by the manager's own word");
    assert_eq!(manager.property(SOCKET, "ActiveState"), "active", "it listens on");
    let again = installed.verb(&["daemon", "down"]).exits(0);
    assert!(again.stderr.contains("no agent runs"), "{}", again.stderr);

    installed.verb(&["up"]).exits(0);
    let third = installed.agent();
    assert!(third != second);
    assert_eq!(project.pid("sleeper"), service, "it was taken over");
    installed.verb(&["down"]).exits(0);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn who_may_not_start_one_does_not_wake_the_manager() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::written(&project, &manager);
    for verb in [&["--no-spawn", "up"][..], &["daemon", "status"], &["--no-spawn", "daemon", "up"]]
    {
        installed.verb(verb).exits(3);
    }
    installed.verb(&["down"]).exits(0);
    installed.verb(&["daemon", "down"]).exits(0);
    assert_eq!(manager.property(SERVICE, "ExecMainPID"), "0", "it has never run");
    assert_eq!(manager.property(SERVICE, "ActiveState"), "inactive");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_socket_that_was_stopped_or_removed_is_brought_back_by_the_next_verb() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.rest();
    manager.systemctl(&["stop", SOCKET]).exits(0);
    assert!(!project.home.path("agent.sock").exists());
    installed.verb(&["up"]).exits(0);
    installed.agent();
    let service = project.pid("sleeper");

    // Under a living agent, and without one; by one verb, and by many at once.
    for ends in [false, true] {
        if ends {
            installed.verb(&["daemon", "down"]).exits(0);
        }
        fs::remove_file(project.home.path("agent.sock")).unwrap();
        let verbs: Vec<Verb> = (0..8).map(|_| installed.begin(&["up", "--json"])).collect();
        for verb in verbs {
            verb.finish().exits(0);
        }
        installed.agent();
        assert!(runs(service), "nothing was done to it");
    }
    installed.verb(&["down"]).exits(0);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_faulty_configuration_is_told_by_the_agent_itself_and_mended_is_well() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.rest();
    project.home.write("agent.toml", "idle_timeout = 10\n");
    let refusal = installed.verb(&["up", "--json"]).exits(3).refusal();
    assert_eq!(refusal["code"], "service-not-ready", "{refusal}");
    let message = refusal["message"].as_str().unwrap();
    assert!(message.contains("agent.toml") && message.contains("idle_timeout"), "{message}");
    // The one that has read the faulty file answers whoever comes before it has ended.
    manager.await_property(SERVICE, "ActiveState", |state| state == "failed");
    project.home.write("agent.toml", "");
    installed.verb(&["up"]).exits(0);
    installed.agent();
    installed.verb(&["down"]).exits(0);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_executable_that_is_gone_is_told_and_tried_again_when_it_is_back() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let (executable, away) = (project.home.root().join("hearth"), project.home.root().join("away"));
    assert!(
        Command::new("cp").arg(hearth_tests::hearth()).arg(&executable).status().unwrap().success()
    );
    let installed = Installed::of(&project, &manager, &executable);
    installed.rest();
    fs::rename(&executable, &away).unwrap();
    let refusal = installed.verb(&["up", "--json"]).exits(3).refusal();
    assert_eq!(refusal["code"], "service-not-ready", "{refusal}");
    let message = refusal["message"].as_str().unwrap();
    // How far its manager has come with it meanwhile is a matter of load.
    assert!(message.contains("/hearth is not there, which hearth-agent.service runs"), "{message}");
    assert!(refusal["hint"].as_str().unwrap().contains("hearth install"), "{refusal}");
    fs::rename(&away, &executable).unwrap();
    installed.verb(&["up"]).exits(0);
    installed.agent();
    // However often its socket was triggered before: who may not start one finds the agent too.
    for _ in 0..3 {
        fs::rename(&executable, &away).unwrap();
        installed.verb(&["daemon", "restart"]).exits(3);
        installed.verb(&["up"]).exits(3);
        fs::rename(&away, &executable).unwrap();
        installed.verb(&["up"]).exits(0);
        installed.verb(&["daemon", "status"]).exits(0);
        assert_eq!(manager.property(SOCKET, "ActiveState"), "active");
    }
    installed.verb(&["down"]).exits(0);
}
