//! hearth installed: what holds as long as its units are in charge. Ignored where there is no systemd
//! user manager; `packaging/with-user-systemd` makes one.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::SystemTime;

use hearth_tests::systemd::{Installed, Manager, SERVICE, SOCKET, unit_of};
use hearth_tests::{Home, Project, await_end, runs};

const SLEEPER: &str =
    "[services.sleeper]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777
}

/// What a file was at a moment: nobody has written to it, or put another one there, if it is the same.
fn touched(path: &Path) -> Option<(u64, SystemTime, Vec<u8>)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.modified().expect("a time"), fs::read(path).expect("it is ours")))
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_manager_of_the_tests_own_comes_and_goes() {
    let project = Project::new(SLEEPER);
    let mut manager = Manager::own();
    let installed = Installed::new(&project, &manager);
    assert_eq!(manager.property(SOCKET, "ActiveState"), "active");
    drop(installed);
    let (_, left) = manager.end();
    assert!(left.is_empty(), "{left:?} {}", manager.said());
    manager.begin();
    assert_eq!(manager.property(SOCKET, "ActiveState"), "inactive");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn the_socket_is_there_before_the_agent_and_the_first_verb_starts_it() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.rest();
    let socket = project.home.path("agent.sock");
    assert_eq!((mode(&socket), mode(project.home.dir())), (0o600, 0o700));
    assert_eq!(manager.property(SERVICE, "ActiveState"), "inactive");
    assert_eq!(project.home.agent_pid(), None);
    let inode = fs::symlink_metadata(&socket).expect("it is there").ino();

    installed.verb(&["up"]).exits(0);
    let agent = installed.agent();
    // Its own pid, which the lock tells and the peer's credentials do not: those name the manager.
    let told = installed.verb(&["daemon", "status", "--json"]).exits(0).json();
    assert_eq!(told["pid"], agent, "{told}");
    let same = fs::symlink_metadata(&socket).expect("it is there").ino();
    assert_eq!(same, inode, "the agent published no socket of its own");
    assert!(manager.property(SERVICE, "StatusText").contains("1 service"));
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn twenty_verbs_at_once_wait_in_the_queue_for_one_agent() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.rest();
    let begun = (0..20).map(|n| installed.begin(&[["up", "status"][n % 2], "--json"]));
    let verbs: Vec<_> = begun.collect();
    for verb in verbs {
        verb.finish().exits(0);
    }
    let agent = installed.agent();
    let agents = project.home.processes();
    let agents: Vec<_> = agents.iter().filter(|it| it.command.contains("daemon run")).collect();
    assert_eq!(agents.len(), 1, "{agents:?}");
    assert_eq!(agents[0].id.pid, agent);
    assert_eq!(manager.property(SERVICE, "NRestarts"), "0");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn no_verb_spawns_beside_a_unit() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.verb(&["up"]).exits(0);
    installed.rest();
    // Nobody listens any more: the slow path, with nothing but the manager to turn to.
    manager.systemctl(&["stop", SOCKET]).exits(0);
    let files = ["spawn.lock", "failures.json"].map(|name| project.home.path(name));
    let before = files.each_ref().map(|path| touched(path));
    for verb in ["up", "status", "daemon"] {
        let more: &[&str] = if verb == "daemon" { &["daemon", "up"] } else { &[verb] };
        installed.verb(more).exits(0);
        installed.agent();
        manager.systemctl(&["stop", SOCKET, SERVICE]).exits(0);
    }
    assert_eq!(files.each_ref().map(|path| touched(path)), before);
    // The agent that comes back to its shims is the manager's, too.
    installed.verb(&["status"]).exits(0);
    assert_eq!(unit_of(project.home.agent_pid().expect("an agent")), SERVICE);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn who_may_not_start_an_agent_does_not_start_it_by_connecting() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.rest();
    let never_ran = manager.property(SERVICE, "ExecMainStartTimestampMonotonic");
    let status = installed.verb(&["status", "--json", "--no-spawn"]).exits(0).json();
    assert_eq!(status["agent"]["state"], "down", "{status}");
    installed.verb(&["daemon", "status"]).exits(3);
    installed.verb(&["down"]).exits(0);
    installed.verb(&["up", "--no-spawn"]).exits(3);
    installed.verb(&["daemon", "down"]).exits(0);
    let mut quiet = project.command(&["up", "--json"]);
    quiet.env("HEARTH_NO_AUTOSPAWN", "1");
    let refused = project.ran(&mut quiet).exits(3).refusal();
    assert_eq!(refused["code"], "down", "{refused}");
    assert_eq!(manager.property(SERVICE, "ExecMainStartTimestampMonotonic"), never_ran);
    assert_eq!(manager.property(SERVICE, "ActiveState"), "inactive");
    // Where one runs, they speak to it.
    installed.verb(&["up"]).exits(0);
    let status = installed.verb(&["status", "--json", "--no-spawn"]).exits(0).json();
    assert_eq!(status["agent"]["state"], "up", "{status}");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_agent_that_a_verb_started_steps_down_for_the_socket_unit() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    project.run(&["up"]).exits(0);
    let (own, service) = (project.home.agent_pid().expect("an agent"), project.pid("sleeper"));
    // As whoever starts the unit by hand does: nobody has ended that agent before.
    let installed = Installed::written(&project, &manager);
    assert_eq!(installed.pid("sleeper"), service);
    await_end(own);
    assert_ne!(installed.agent(), own);
    assert_eq!(installed.pid("sleeper"), service);
    let log = fs::read_to_string(project.home.path("agent.log")).expect("a log");
    assert!(log.contains("stepping down"), "{log}");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn the_daemon_verbs_go_through_the_manager() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.rest();
    let told = installed.verb(&["daemon", "up", "--json"]).exits(0).json();
    let first = installed.agent();
    assert_eq!(told["pid"], first, "{told}");
    installed.verb(&["up"]).exits(0);
    let service = installed.pid("sleeper");

    let told = installed.verb(&["daemon", "restart", "--json"]).exits(0).json();
    let second = installed.agent();
    assert_eq!((told["pid"].as_u64(), runs(first)), (Some(second.into()), false), "{told}");
    let told = installed.verb(&["daemon", "status", "--json"]).exits(0).json();
    assert_eq!(told["manager"]["unit"], SERVICE, "{told}");
    assert!(told["manager"]["words"].as_str().is_some_and(|it| it.contains("running")), "{told}");

    let down = installed.verb(&["daemon", "down"]).exits(0);
    assert!(!runs(second) && runs(service));
    assert!(down.stderr.contains("verb"), "the next verb starts it again: {down:?}");
    assert_eq!(manager.property(SERVICE, "ActiveState"), "inactive");
    assert_eq!(manager.property(SOCKET, "ActiveState"), "active");
    assert_eq!(installed.pid("sleeper"), service);
    installed.verb(&["daemon", "down", "--services"]).exits(0);
    assert!(!runs(service));
    assert_eq!(manager.property(SERVICE, "ActiveState"), "inactive");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_socket_that_somebody_removed_is_there_again_with_the_next_verb() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.verb(&["up"]).exits(0);
    let service = installed.pid("sleeper");
    let socket = project.home.path("agent.sock");
    for running in [true, false] {
        if !running {
            installed.rest();
        }
        fs::remove_file(&socket).expect("it is there");
        assert_eq!(installed.pid("sleeper"), service, "with an agent running: {running}");
        installed.agent();
        assert!(socket.exists());
    }
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_home_that_was_moved_away_is_made_anew_and_nobody_waits_for_the_old_one() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.verb(&["daemon", "up"]).exits(0);
    let (home, away) = (project.home.dir(), project.home.root().join("away"));
    for _ in 0..8 {
        fs::rename(home, &away).unwrap();
        installed.verb(&["daemon", "up"]).exits(0);
        fs::remove_dir_all(&away).unwrap();
    }
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_command_that_is_run_is_waited_for_over_a_restart_of_the_unit() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    let command =
        ["sh", "-c", "while ! [ -e go ]; do sleep 0.05; done; echo well; exec sleep 1000"];
    let arguments = ["run", "--json", "--name", "late", "--ready-log", "well", "--"];
    let mut waiting = installed.begin(&[&arguments[..], &command].concat());
    waiting.until_state("late", "starting");
    manager.systemctl(&["restart", SERVICE]).exits(0);
    project.write("go", "");
    let ran = waiting.finish();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    installed.verb(&["down", "--all"]).exits(0);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_unit_that_is_linked_to_nothing_is_in_charge_of_nothing() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    manager.systemctl(&["disable", "--now", SOCKET, SERVICE]).exits(0);
    for name in [SOCKET, SERVICE] {
        let path = manager.units().join(name);
        fs::remove_file(&path).expect("it is there");
        symlink("/dev/null", &path).expect("a link can be made");
    }
    manager.systemctl(&["daemon-reload"]).exits(0);
    installed.verb(&["up"]).exits(0);
    assert_ne!(unit_of(project.home.agent_pid().expect("an agent")), SERVICE);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_unit_whose_file_is_there_is_loaded_by_the_first_verb() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::files(&project, &manager);
    installed.verb(&["up"]).exits(0);
    installed.agent();
    assert_eq!(manager.property(SOCKET, "ActiveState"), "active");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_unit_is_no_matter_for_another_home() {
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let beside = Project::new(SLEEPER);
    let installed = Installed::new(&project, &manager);
    installed.rest();
    let up = beside.run(&["up", "--json"]).exits(0);
    assert_eq!(up.json_lines().last().expect("an outcome")["agent"]["state"], "started");
    assert_ne!(unit_of(beside.home.agent_pid().expect("an agent")), SERVICE);
    assert_eq!(project.home.agent_pid(), None, "nobody woke the unit");
    beside.run(&["daemon", "down", "--services"]).exits(0);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn another_user_of_the_machine_has_an_agent_of_his_own() {
    const NOBODY: u32 = 65_534;
    let (project, manager) = (Project::new(SLEEPER), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    installed.verb(&["up"]).exits(0);
    let (agent, service) = (installed.agent(), installed.pid("sleeper"));

    let beside = Home::new();
    let theirs = beside.root().join("theirs");
    fs::create_dir(&theirs).expect("a directory can be made");
    fs::write(theirs.join("hearth.toml"), SLEEPER).expect("a file can be written");
    fs::create_dir(beside.dir()).expect("a directory can be made");
    for path in [&theirs, &theirs.join("hearth.toml"), beside.dir()] {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
    }
    fs::set_permissions(beside.dir(), fs::Permissions::from_mode(0o700)).expect("root may");
    let hearth = beside.root().join("hearth");
    let copied = std::process::Command::new("cp").arg(hearth_tests::hearth()).arg(&hearth).status();
    assert!(copied.expect("cp is installed").success());
    let run = |arguments: &[&str], home: &Path| {
        let mut command = std::process::Command::new(&hearth);
        command.args(arguments).current_dir(&theirs).env("HEARTH_HOME", home);
        command.env("HOME", &theirs).env_remove("XDG_RUNTIME_DIR").uid(NOBODY).gid(NOBODY);
        hearth_tests::Ran::of(&command.output().expect("it runs"))
    };
    run(&["up"], beside.dir()).exits(0);
    let other = beside.agent_pid().expect("an agent of their own");
    assert_ne!(unit_of(other), SERVICE);
    // The socket of the first user is not for them, and nothing is started in its place.
    let refused = run(&["up", "--json"], project.home.dir()).exits(3).refusal();
    assert_eq!(refused["code"], "blocked", "{refused}");
    run(&["daemon", "down", "--services"], beside.dir()).exits(0);
    assert_eq!((installed.agent(), installed.pid("sleeper")), (agent, service));
}
