//! Getting an agent, when that is hard: through the real verbs, with the real services.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use hearth_process::Signal;
use hearth_tests::{Home, Project, Ran, hearth, is_root, runs};
use serde_json::Value;

const SLEEPER: &str = "[services.s]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

const FAULTY: &str = "shutdown_timeout = \"5s\"\nidle_timeout = \"10 parsecs\"\n";

#[test]
fn a_faulty_agent_toml_is_shown_then_held_back_with_the_same_reason() {
    let project = Project::new(SLEEPER);
    project.home.write("agent.toml", FAULTY);
    let failed = project.run(&["up"]).exits(3);
    for words in ["agent.toml", "line 2", "^", "10 parsecs"] {
        assert!(failed.stderr.contains(words), "no `{words}` in:\n{}", failed.stderr);
    }
    let held = project.run(&["up", "--json"]).exits(3);
    let refusal = held.refusal();
    assert_eq!(refusal["code"], "spawn-suppressed");
    let details = &refusal["details"];
    assert_eq!(details["state"], "spawn-suppressed");
    assert!(details["duration_ms"].is_number() && details["log"].is_string(), "{details}");
    for words in ["agent.toml", "line 2", "10 parsecs"] {
        assert!(details["reason"].as_str().unwrap().contains(words), "{details}");
    }
    let at = details["retry_at"].as_str().unwrap();
    assert!(at.len() >= 20 && at.as_bytes()[10] == b'T' && at.ends_with('Z'), "{at}");
    assert!(refusal["hint"].as_str().unwrap().contains("hearth daemon up"), "{refusal}");
    // Reading is possible all the same.
    let status = project.run(&["status", "--json"]).exits(0);
    assert_eq!(status.json()["agent"]["state"], "spawn-suppressed");
    assert_eq!(status.json()["services"][0]["state"], "down");
    assert!(!status.stderr.is_empty(), "why is said");
    // Asked for by name it is tried, and says anew what is wrong.
    let again = project.run(&["daemon", "up", "--json"]).exits(3);
    assert_eq!(again.json()["state"], "spawn-failed");
    assert_eq!(again.refusal()["code"], "spawn-failed");
    project.run(&["daemon", "run"]).exits(2);
    // Mended, it comes up, and nothing is held back any more.
    project.home.write("agent.toml", "idle_timeout = \"1h\"\n");
    project.run(&["daemon", "up"]).exits(0);
    project.run(&["up"]).exits(0);
}

#[test]
fn mending_and_waiting_heals_without_anybody_typing_daemon_up() {
    let project = Project::new(SLEEPER);
    project.home.write("agent.toml", FAULTY);
    let refusal = project.run(&["up", "--json"]).exits(3).refusal();
    assert_eq!(refusal["code"], "spawn-failed");
    project.home.write("agent.toml", "");
    let began = SystemTime::now();
    project.run(&["up", "--json"]).exits(3);
    // The first pause is 5 s, and the clock is the only thing that ends it.
    thread::sleep(Duration::from_secs(5));
    project.run(&["up"]).exits(0);
    assert!(began.elapsed().unwrap() < Duration::from_secs(9));
}

#[test]
fn a_stopped_agent_is_unresponsive_keeps_its_socket_and_heals() {
    let project = Project::new(SLEEPER);
    project.run(&["up"]).exits(0);
    let (agent, service) = (project.home.agent_pid().unwrap(), project.pid("s"));
    project.home.signal_agent(Signal::STOP);
    let (status, up) = (project.start(&["status", "--json"]), project.start(&["up", "--json"]));
    let late = project.run(&["up", "--timeout", "700ms"]).exits(4);
    assert!(late.stderr.contains(&agent.to_string()), "{}", late.stderr);
    let refusal = up.finish().exits(3).refusal();
    assert_eq!(refusal["code"], "unresponsive");
    let reason = refusal["details"]["reason"].as_str().unwrap();
    assert!(reason.contains(&agent.to_string()), "{reason}");
    let cold = status.finish().exits(0).json();
    assert_eq!(cold["agent"]["state"], "unresponsive");
    assert_eq!(cold["services"][0]["state"], "unknown");
    assert!(runs(agent) && project.home.path("agent.sock").exists());
    project.home.signal_agent(Signal::CONT);
    project.run(&["up"]).exits(0);
    assert_eq!((project.home.agent_pid(), project.pid("s")), (Some(agent), service));
}

#[test]
fn killed_ten_times_under_fifty_verbs_it_is_never_held_back() {
    let project = Project::new(SLEEPER);
    project.run(&["up"]).exits(0);
    let service = project.pid("s");
    for round in 0..10 {
        let verbs: Vec<_> = (0..50).map(|_| project.start(&["status", "--json"])).collect();
        project.home.kill_agent();
        for verb in verbs {
            let status = verb.finish().exits(0).json();
            let state = status["agent"]["state"].as_str().unwrap();
            assert!(["up", "started"].contains(&state), "round {round}: {status}");
            assert_eq!(status["services"][0]["pid"], service, "round {round}: {status}");
        }
        // Where the last one was killed after all had their answer.
        project.run(&["up"]).exits(0);
    }
    assert_eq!(project.pid("s"), service);
}

#[test]
fn a_command_substitution_returns_although_agent_and_service_live_on() {
    let project = Project::new(SLEEPER);
    let mut sh = Command::new("bash");
    let script = format!("x=$({} up 2>&1); echo \"<$x>\"", hearth().display());
    sh.args(["-c", &script]).current_dir(project.dir()).env("HEARTH_HOME", project.home.dir());
    sh.env_remove("HEARTH_NO_AUTOSPAWN");
    let ran = project.ran(&mut sh).exits(0);
    assert!(ran.stdout.contains("ready"), "{}", ran.stdout);
    assert!(runs(project.pid("s")));
}

#[test]
fn a_service_may_run_hearth_itself() {
    let project = Project::new(&format!(
        "[services.asks]\nkind = \"oneshot\"\nrun = \"{} status --json > seen\"\n",
        hearth().display()
    ));
    project.run(&["up"]).exits(0);
    let seen: Value = serde_json::from_str(&project.read("seen")).unwrap();
    assert_eq!(seen["agent"]["pid"], project.home.agent_pid().unwrap());
    assert_eq!(seen["services"][0]["state"], "starting");
}

#[test]
fn a_service_that_became_the_agents_ancestor_goes_down_alone() {
    let project = Project::empty();
    let other = project.beside("other", SLEEPER);
    project.write(
        "hearth.toml",
        &format!(
            "[services.nested]\nrun = \"read x < gate; {} -C {} up; echo $? > done; exec sleep 1000\"\n\
             ready = {{ settle = \"0s\" }}\n",
            hearth().display(),
            other.display()
        ),
    );
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    let nested = project.pid("nested");
    let _gone = project.home.kill_agent_for_good();
    gate.open();
    assert_eq!(project.await_lines("done", 1), ["0"]);
    let agent = project.home.agent_pid().unwrap();
    assert_eq!(project.pid("nested"), nested, "adopted by what it started");
    let row = |project: &Project| {
        let mut status = project.command(&["status", "--json"]);
        project.ran(status.current_dir(&other)).exits(0).json()["services"][0].clone()
    };
    let service = row(&project)["pid"].clone();
    project.run(&["down"]).exits(0);
    assert!(!runs(nested));
    assert_eq!(project.home.agent_pid(), Some(agent), "the agent is no part of the tree");
    assert!(runs(agent));
    assert_eq!(row(&project)["pid"], service);
    assert_eq!(row(&project)["state"], "ready");
}

/// By another process: were the copy open for writing in this one, a fork of another test's would
/// keep it open, and it could not be executed (ETXTBSY, execve(2)).
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn the_executable_may_be_replaced_and_deleted_while_the_agent_runs() {
    let two = "[services.a]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n\
               [services.b]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n\
               [services.c]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";
    let project = Project::new(two);
    let mine = project.home.root().join("hearth");
    copy(hearth(), &mine);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&mine);
        command.args(arguments).current_dir(project.dir()).env("HEARTH_HOME", project.home.dir());
        project.ran(command.env_remove("HEARTH_NO_AUTOSPAWN"))
    };
    run(&["up", "a"]).exits(0);
    let agent = project.home.agent_pid();
    let aside = project.home.root().join("new");
    copy(hearth(), &aside);
    fs::rename(&aside, &mine).unwrap();
    run(&["up", "b"]).exits(0);
    fs::remove_file(&mine).unwrap();
    project.run(&["up", "c"]).exits(0);
    assert_eq!(project.home.agent_pid(), agent);
    for name in ["a", "b", "c"] {
        assert_eq!(project.state(name), "ready");
    }
}

#[track_caller]
fn is_blocked(ran: Ran, words: &[&str]) {
    let refusal = ran.exits(3).refusal();
    assert_eq!(refusal["code"], "blocked");
    assert_eq!(refusal["details"]["state"], "blocked");
    let message = refusal["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "no `{word}` in {message}");
    }
}

#[test]
fn a_home_that_is_open_linked_or_no_directory_is_blocked() {
    let project = Project::new(SLEEPER);
    let dir = project.home.dir();
    let path = dir.to_str().unwrap();
    fs::create_dir(dir).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    is_blocked(project.run(&["up", "--json"]), &[path, "777"]);
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0, "nothing was left there");
    fs::remove_dir(dir).unwrap();
    fs::write(dir, "").unwrap();
    is_blocked(project.run(&["up", "--json"]), &[path]);
    fs::remove_file(dir).unwrap();
    let real = project.home.root().join("real");
    fs::create_dir(&real).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&real, dir).unwrap();
    is_blocked(project.run(&["up", "--json"]), &[path, "symlink"]);
    fs::remove_file(dir).unwrap();
    if is_root("a home of somebody else") {
        fs::create_dir(dir).unwrap();
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(dir, Some(65534), Some(65534)).unwrap();
        is_blocked(project.run(&["up", "--json"]), &[path, "65534"]);
        fs::remove_dir(dir).unwrap();
    }
    project.run(&["up"]).exits(0);
}

#[test]
fn a_relative_home_is_wrong_usage() {
    let home = Home::new();
    home.run(&["--home", "relative", "status"]).exits(2);
    let mut command = home.command(&["status"]);
    let ran = Ran::of(&command.env("HEARTH_HOME", "relative").output().unwrap());
    ran.exits(2);
}

#[test]
fn a_socket_path_that_is_no_socket_is_blocked_and_left() {
    let project = Project::new(SLEEPER);
    project.home.write("agent.sock", "mine");
    is_blocked(project.run(&["up", "--json"]), &["agent.sock"]);
    assert_eq!(fs::read_to_string(project.home.path("agent.sock")).unwrap(), "mine");
    fs::remove_file(project.home.path("agent.sock")).unwrap();
}

/// Runs a script as root with a mount namespace of its own, in which `home/` is a file system.
fn with_mount(project: &Project, options: &str, script: &str) -> Ran {
    let dir = project.home.dir();
    fs::create_dir(dir).unwrap();
    let text = format!(
        "set -u; mount -t tmpfs -o mode=700,{options} none {home}; H={hearth}; {script}",
        home = dir.display(),
        hearth = hearth().display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "bash", "-c", &text]);
    command.current_dir(project.dir()).env("HEARTH_HOME", dir).env_remove("HEARTH_NO_AUTOSPAWN");
    let ran = project.ran(&mut command);
    fs::remove_dir(dir).unwrap();
    ran
}

#[test]
fn a_full_disk_is_told_as_such_and_room_heals() {
    if !is_root("a small file system") {
        return;
    }
    let project = Project::new(SLEEPER);
    let script = "dd if=/dev/zero of=$HEARTH_HOME/filler bs=4k 2>/dev/null; \
                  $H up --json; echo code $?; rm $HEARTH_HOME/filler; \
                  $H up && echo healed; $H down -q; $H daemon down -q";
    let ran = with_mount(&project, "size=256k", script);
    assert!(ran.stdout.contains("code 3") && ran.stdout.contains("healed"), "{ran:?}");
    let refusal = ran.refusal();
    assert_eq!(refusal["code"], "blocked");
    assert!(refusal["message"].as_str().unwrap().contains("No space left"), "{refusal}");
}

#[test]
fn a_read_only_home_is_told_as_such() {
    if !is_root("a file system that is read-only") {
        return;
    }
    let project = Project::new(SLEEPER);
    let ran = with_mount(&project, "ro,size=256k", "$H up --json");
    is_blocked(ran, &["ead-only"]);
}

#[test]
fn a_home_with_too_long_a_path_works_by_the_fallback() {
    let project = Project::new(SLEEPER);
    let long = project.home.root().join("x".repeat(120)).join("y".repeat(40));
    fs::create_dir_all(long.parent().unwrap()).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        project.ran(command.env("HEARTH_HOME", &long))
    };
    run(&["up"]).exits(0);
    let status = run(&["daemon", "status", "--json"]).exits(0).json();
    let socket = Path::new(status["socket"].as_str().unwrap()).to_owned();
    assert!(socket.as_os_str().len() <= 107 && socket.exists(), "{}", socket.display());
    assert_eq!(status["home"], long.to_str().unwrap());
    assert_eq!(run(&["status", "--json"]).exits(0).json()["services"][0]["state"], "ready");
    run(&["down"]).exits(0);
    run(&["daemon", "down"]).exits(0);
    assert!(!socket.exists());
    let _ = fs::remove_dir_all(socket.parent().unwrap());
}

#[test]
fn a_log_that_somebody_opened_for_the_agent_has_each_line_once() {
    let project = Project::new(SLEEPER);
    project.home.write("agent.log", "");
    let log = || fs::OpenOptions::new().append(true).open(project.home.path("agent.log")).unwrap();
    // As launchd does.
    let mut command = project.command(&["daemon", "run"]);
    let mut agent = command.stdout(log()).stderr(log()).spawn().unwrap();
    project.home.await_socket();
    project.run(&["daemon", "down"]).exits(0);
    agent.wait().unwrap();
    let text = fs::read_to_string(project.home.path("agent.log")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(!lines.is_empty());
    let twice = lines.iter().find(|line| lines.iter().filter(|other| other == line).count() > 1);
    assert_eq!(twice, None, "{text}");
}
