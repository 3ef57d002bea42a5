//! What can't be mended by trying again is not tried again, and is told in the manager's words or the
//! agent's own. Ignored where there is no systemd user manager; `packaging/with-user-systemd` makes one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use hearth_process::Signal;
use hearth_tests::systemd::{Installed, Manager, SERVICE, SOCKET};
use hearth_tests::{Project, Verb, send};

const SLEEPER: &str =
    "[services.sleeper]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

/// The unit has ended, was not started again by itself, and its socket still listens.
#[track_caller]
fn at_rest(manager: &Manager) {
    manager.await_property(SERVICE, "ActiveState", |it| ["failed", "inactive"].contains(&it));
    assert_eq!(manager.property(SERVICE, "NRestarts"), "0");
    assert_eq!(manager.property(SOCKET, "ActiveState"), "active");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_faulty_configuration_is_told_by_every_verb_until_it_is_mended() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.rest();
    project.home.write("agent.toml", "idle_timeout = \"soon\"\n");
    let asked = Instant::now();
    for _ in 0..3 {
        let refused = installed.verb(&["up", "--json"]).exits(3).refusal();
        assert_eq!(refused["code"], "service-not-ready", "{refused}");
        let words = refused.to_string();
        assert!(words.contains("agent.toml") && words.contains("idle_timeout"), "{words}");
        assert!(words.contains("^"), "a caret shows where: {words}");
        at_rest(&manager);
    }
    assert!(asked.elapsed().as_secs() < 10, "nobody waited for what will not come");
    // Many at once: each is told.
    let verbs: Vec<_> = (0..8).map(|_| installed.begin(&["status"])).collect();
    for verb in verbs {
        let status = verb.finish().exits(0);
        assert!(status.stderr.contains("agent.toml"), "{status:?}");
    }
    at_rest(&manager);
    project.home.write("agent.toml", "idle_timeout = \"5m\"\n");
    installed.verb(&["up"]).exits(0);
    installed.agent();
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_executable_that_is_gone_is_tried_a_few_times_and_named() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let program: PathBuf = project.home.root().join("hearth");
    let copied = Command::new("cp").arg(hearth_tests::hearth()).arg(&program).status();
    assert!(copied.expect("cp is installed").success());
    let installed = Installed::of(&project, &manager, &program);
    installed.verb(&["up"]).exits(0);
    let service = installed.pid("sleeper");
    installed.rest();
    let aside = program.with_extension("aside");
    fs::rename(&program, &aside).expect("it is there");

    let refused = installed.verb(&["up", "--json"]).exits(3).refusal();
    assert_eq!(refused["code"], "service-not-ready", "{refused}");
    let words = format!("{} is not there", program.display());
    assert!(refused["message"].as_str().is_some_and(|it| it.contains(&words)), "{refused}");
    assert!(refused["hint"].as_str().is_some_and(|it| it.contains("hearth install")), "{refused}");
    let in_vain = refused["message"].as_str().is_some_and(|it| it.contains("not within"));
    assert!(!in_vain, "nobody waits for what is not there: {refused}");
    // systemd tries on for who has asked, and gives up.
    manager.await_property(SOCKET, "Result", |it| it == "trigger-limit-hit");
    manager.await_property(SERVICE, "ActiveState", |it| it == "failed");
    let status = installed.verb(&["daemon", "status", "--json"]).exits(3).json();
    let said = status["manager"]["words"].as_str().expect("words");
    assert!(said.contains("203/EXEC") && said.contains("trigger-limit-hit"), "{status}");
    assert_eq!(manager.property(SERVICE, "ActiveState"), "failed", "to ask starts nothing");

    fs::rename(&aside, &program).expect("it is there");
    installed.verb(&["up"]).exits(0);
    installed.agent();
    assert_eq!(installed.pid("sleeper"), service);
}

/// An agent that somebody runs by hand where the unit is at rest.
fn in_the_foreground(project: &Project, installed: &Installed<'_>, manager: &Manager) -> Verb {
    installed.rest();
    manager.systemctl(&["stop", SOCKET]).exits(0);
    let foreign = project.start(&["daemon", "run"]);
    project.home.await_socket();
    foreign
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_agent_in_the_foreground_is_used_and_steps_down_for_the_socket_unit() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    let foreign = in_the_foreground(&project, &installed, &manager);
    installed.verb(&["up"]).exits(0);
    assert_eq!(project.home.agent_pid(), Some(foreign.pid()), "one that lives is used as it is");
    let service = installed.pid("sleeper");
    manager.systemctl(&["start", SOCKET]).exits(0);
    foreign.finish();
    assert_eq!(installed.pid("sleeper"), service);
    installed.agent();
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_agent_in_the_foreground_that_does_not_move_is_named_and_not_fought() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    let foreign = in_the_foreground(&project, &installed, &manager);
    send(foreign.pid(), Signal::STOP);
    manager.systemctl(&["start", SOCKET]).exits(0);
    let refused = installed.verb(&["up", "--json"]).exits(3).refusal();
    let words = refused.to_string();
    assert!(words.contains(&foreign.pid().to_string()), "whoever is in the way is named: {words}");
    at_rest(&manager);
    send(foreign.pid(), Signal::CONT);
    foreign.finish();
    installed.verb(&["up"]).exits(0);
    installed.agent();
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn more_kills_than_the_manager_puts_up_with_are_healed_by_the_next_verb() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.verb(&["up"]).exits(0);
    let service = installed.pid("sleeper");
    // As if it had been killed a hundred times in ten seconds with somebody waiting each time.
    let file = manager.units().join(SOCKET);
    let text = fs::read_to_string(&file).expect("it is there");
    fs::write(&file, text.replace("TriggerLimitBurst=100", "TriggerLimitBurst=2")).expect("ours");
    manager.systemctl(&["stop", SOCKET, SERVICE]).exits(0);
    manager.systemctl(&["daemon-reload"]).exits(0);
    for _ in 0..8 {
        assert_eq!(installed.pid("sleeper"), service);
        installed.agent();
        installed.rest();
    }
}
