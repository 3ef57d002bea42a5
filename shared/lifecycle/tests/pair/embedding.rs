//! What embedders choose: where sockets stand, which agent is good enough, whose executable it is.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Command;

use hearth_process::{ProcessHandle, ProcessId};

use crate::support::{Home, Told, copy_program, told};

/// The pair under another name, in a home of its own.
fn under(name: &str) -> Home {
    let mut home = Home::new();
    let program = home.root.path().join(name);
    copy_program(&home.program, &program);
    home.program = program;
    home
}

fn runtime(home: &Home, name: &str) -> PathBuf {
    let directory = home.root.path().join(name);
    fs::DirBuilder::new().mode(0o700).recursive(true).create(&directory).unwrap();
    directory
}

fn get_with(home: &Home, runtime: Option<&PathBuf>) -> Told {
    let mut command: Command = home.command(&["get"]);
    match runtime {
        Some(directory) => command.env("XDG_RUNTIME_DIR", directory),
        None => command.env_remove("XDG_RUNTIME_DIR"),
    };
    told(&command.output().unwrap())
}

#[test]
fn a_socket_in_the_runtime_directory_is_found_by_callers_who_have_another_or_none() {
    let home = under("pair-runtime");
    let (run, other) = (runtime(&home, "run"), runtime(&home, "other"));
    let first = get_with(&home, Some(&run));
    assert_eq!(first.state, "started");
    assert!(home.socket().starts_with(run.join("pair")), "{}", home.socket().display());
    assert!(!home.path("agent.sock").exists());
    for caller in [Some(&run), None, Some(&other), Some(&run.join("gone"))] {
        let next = get_with(&home, caller);
        assert_eq!((next.state.as_str(), next.pid), ("up", first.pid), "{caller:?}");
    }
    // A successor takes over the listener where it stands, wherever its own would.
    let mut command = home.command(&["replace"]);
    let replaced = told(&command.env_remove("XDG_RUNTIME_DIR").output().unwrap());
    assert_ne!(replaced.pid, first.pid);
    assert!(home.socket().starts_with(&run));
    assert_eq!(get_with(&home, None).pid, replaced.pid);
    let mut stop = home.command(&["stop"]);
    assert!(stop.env_remove("XDG_RUNTIME_DIR").status().unwrap().success());
    assert!(!home.socket().exists(), "it has taken its own away");
}

#[test]
fn a_herd_of_callers_of_different_environments_gets_one_agent() {
    let home = under("pair-runtime");
    let places = [Some(runtime(&home, "run")), None, Some(runtime(&home, "other"))];
    let verbs: Vec<_> = (0..30)
        .map(|n| {
            let mut command = home.command(&["get"]);
            match &places[n % 3] {
                Some(directory) => command.env("XDG_RUNTIME_DIR", directory),
                None => command.env_remove("XDG_RUNTIME_DIR"),
            };
            let piped = std::process::Stdio::piped;
            command.stdout(piped()).stderr(piped()).spawn().unwrap()
        })
        .collect();
    let told: Vec<_> =
        verbs.into_iter().map(|verb| told(&verb.wait_with_output().unwrap())).collect();
    let mut agents: Vec<_> =
        told.iter().map(|told| told.pid.expect("each has its agent")).collect();
    agents.dedup();
    assert_eq!(agents.len(), 1, "{told:?}");
}

#[test]
fn a_runtime_directory_that_goes_at_a_logout_takes_the_agent_from_nobody() {
    let home = under("pair-runtime");
    let run = runtime(&home, "run");
    let first = get_with(&home, Some(&run)).pid;
    fs::remove_dir_all(&run).unwrap();
    // It publishes itself anew as soon as it hears of it: in the home, since there is no other place.
    home.wait_for("agent.sock");
    let next = get_with(&home, None);
    assert_eq!((next.state.as_str(), next.pid), ("up", first));
    let run = runtime(&home, "run");
    assert_eq!(get_with(&home, Some(&run)).pid, first);
}

#[test]
fn an_agent_whose_socket_is_elsewhere_guards_its_home_too() {
    let home = under("pair-runtime");
    let run = runtime(&home, "run");
    let agent = get_with(&home, Some(&run)).pid.unwrap();
    let handle = ProcessHandle::open(&ProcessId::of(agent).unwrap()).unwrap();
    // The next one will lock another file: the two would not know of each other.
    fs::remove_file(home.lock()).unwrap();
    handle.wait().unwrap();
    let next = get_with(&home, Some(&run));
    assert_eq!(next.state, "started");
    assert_ne!(next.pid, Some(agent));
}

#[test]
fn who_wants_no_older_agent_replaces_it_before_it_is_asked_anything() {
    let home = Home::new();
    let old = home.get();
    let eager = home.root.path().join("pair-eager");
    copy_program(&home.program, &eager);
    let get = |program: &PathBuf| {
        let mut command = Command::new(program);
        told(&command.arg("get").env("PAIR_HOME", &home.dir).output().unwrap())
    };
    let new = get(&eager);
    assert_eq!((new.state.as_str(), new.version.as_str()), ("started", "1.1.0"));
    assert!(
        new.body.contains(&format!("{} ", old.pid.unwrap())),
        "it was handed over: {}",
        new.body
    );
    let again = get(&eager);
    assert_eq!((again.state.as_str(), again.pid), ("up", new.pid));
    // Never the other way round: who is older talks to the newer one, and says so.
    let older = home.get();
    assert_eq!((older.pid, older.state.as_str()), (new.pid, "up"));
    assert!(older.notice.contains("newer than this command"), "{}", older.notice);
}

#[test]
fn one_name_and_two_executables_are_one_agent_and_it_is_told() {
    let home = Home::new();
    let first = home.get();
    assert!(first.notice.starts_with("pair: agent started"), "{}", first.notice);
    assert_eq!(home.get().notice, "", "silent when warm");
    let copy = home.root.path().join("pair");
    copy_program(&home.program, &copy);
    let mut command = Command::new(&copy);
    let other = told(&command.arg("get").env("PAIR_HOME", &home.dir).output().unwrap());
    assert_eq!(other.pid, first.pid);
    for word in [copy.to_str().unwrap(), home.program.to_str().unwrap(), "PAIR_HOME=DIR"] {
        assert!(other.notice.contains(word), "{}", other.notice);
    }
}

#[test]
fn a_service_that_says_no_with_503_is_not_taken_for_an_agent_that_stops() {
    let home = Home::new();
    home.get();
    let busy = told(&home.run(&["busy"]));
    assert_eq!(busy.state, "up");
    assert!(busy.body.contains("come again"), "{}", busy.body);
}
