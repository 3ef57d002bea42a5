//! The second CLI from outside: what any pair built on the library must survive.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hearth_lifecycle::testing::ThrowAwayHome;
use hearth_lifecycle::{App, Options, Request, Signal, State};
use serde_json::Value;

const NOTES: App = App::new("notes", env!("CARGO_PKG_VERSION"));

fn notes(home: &ThrowAwayHome, arguments: &[&str]) -> Command {
    let mut command = home.command(env!("CARGO_BIN_EXE_notes"));
    // CI is where nobody logs in, and so nothing is installed unless it is meant.
    command.args(arguments).env_remove("CI");
    command
}

fn run(home: &ThrowAwayHome, arguments: &[&str]) -> Output {
    notes(home, arguments).output().unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn refused(output: &Output, code: i32) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let refusal: Value =
        serde_json::from_str(stderr.trim()).unwrap_or_else(|e| panic!("{e}: {stderr}"));
    refusal["error"].clone()
}

#[test]
fn notes_are_kept_by_an_agent_that_nobody_has_started() {
    let home = ThrowAwayHome::new(&NOTES);
    let first = run(&home, &["add", "buy", "milk"]);
    assert_eq!(said(&first), "1\n");
    let notice = String::from_utf8_lossy(&first.stderr).into_owned();
    assert!(
        notice.starts_with("notes: agent started (pid ") && notice.lines().count() == 1,
        "{notice}"
    );
    let second = run(&home, &["add", "sing"]);
    assert_eq!((said(&second).as_str(), second.stderr.as_slice()), ("2\n", &b""[..]));
    assert_eq!(said(&run(&home, &[])), "1  buy milk\n2  sing\n");
    said(&run(&home, &["remove", "1"]));
    assert_eq!(said(&run(&home, &["list", "--json"])), "[{\"number\":2,\"text\":\"sing\"}]\n");
    let missing = refused(&run(&home, &["remove", "1", "--json"]), 5);
    assert_eq!(missing["code"], "not-found");
}

#[test]
fn a_herd_of_verbs_at_one_instant_gets_one_agent() {
    const VERBS: usize = 40;
    let home = ThrowAwayHome::new(&NOTES);
    let verbs: Vec<_> = (0..VERBS)
        .map(|n| {
            let mut verb = notes(&home, &["-q", "add", &n.to_string()]);
            verb.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut numbers: Vec<u32> = verbs
        .into_iter()
        .map(|verb| said(&verb.wait_with_output().unwrap()).trim().parse().unwrap())
        .collect();
    numbers.sort_unstable();
    // One memory has given all of them their numbers.
    assert_eq!(numbers, (1..=VERBS as u32).collect::<Vec<_>>());
}

#[test]
fn a_killed_agent_is_told_and_the_next_verb_has_another() {
    let home = ThrowAwayHome::new(&NOTES);
    said(&run(&home, &["add", "x"]));
    let killed = home.agent().unwrap().process.pid;
    home.kill();
    let status = run(&home, &["daemon", "status", "--json"]);
    assert_eq!(status.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&report["state"], &report["last"]["pid"]), (&"down".into(), &killed.into()));
    // It had its notes in memory.
    assert_eq!(said(&run(&home, &["list"])), "");
    assert_ne!(home.agent().unwrap().process.pid, killed);
}

#[test]
fn a_stale_socket_is_nobodys_and_a_living_one_is_never_taken_away() {
    let home = ThrowAwayHome::new(&NOTES);
    said(&run(&home, &["list"]));
    home.kill();
    let socket = home.home().socket();
    assert!(socket.exists(), "who was killed has left it behind");
    assert_eq!(said(&run(&home, &["add", "x"])), "1\n");
    said(&run(&home, &["daemon", "down"]));
    // Bound, and nobody listens any more.
    drop(UnixListener::bind(&socket).unwrap());
    assert_eq!(said(&run(&home, &["add", "x"])), "1\n");
    home.signal(Signal::STOP);
    let late = run(&home, &["daemon", "up", "--timeout", "1s", "--json"]);
    assert_eq!(refused(&late, 4)["code"], "timeout");
    // What nobody has waited for is not done behind his back.
    let soon = Options { timeout: Some(Duration::from_millis(700)), ..Options::default() };
    let note = serde_json::json!({ "text": "late" });
    let lost = home.client().post::<Value>("/v1/notes", &note, &soon).unwrap_err();
    assert_eq!(lost.code(), "unresponsive");
    home.signal(Signal::CONT);
    assert_eq!(said(&run(&home, &["list"])), "1  x\n");
}

#[test]
fn no_note_is_lost_to_agents_that_stop_again_and_again() {
    const STOPS: usize = 30;
    let home = ThrowAwayHome::new(&NOTES);
    let over = AtomicBool::new(false);
    let add = || {
        let mut failed = Vec::new();
        while !over.load(Ordering::Relaxed) {
            // Sent once, and to the next agent where this one has not done it.
            let added = run(&home, &["-q", "add", "x"]);
            if !added.status.success() {
                failed.push(String::from_utf8_lossy(&added.stderr).into_owned());
            }
        }
        failed
    };
    std::thread::scope(|scope| {
        let adding = [scope.spawn(add), scope.spawn(add)];
        let ended: Vec<_> = (0..STOPS)
            .flat_map(|_| ["down", "restart"])
            .map(|verb| run(&home, &["-q", "daemon", verb]))
            .collect();
        over.store(true, Ordering::Relaxed);
        ended.iter().for_each(|ended| drop(said(ended)));
        let failed = adding.map(|adding| adding.join().unwrap());
        assert_eq!(failed, [const { Vec::<String>::new() }; 2]);
    });
}

#[test]
fn notes_outlive_a_restart() {
    let home = ThrowAwayHome::new(&NOTES);
    said(&run(&home, &["add", "x"]));
    let before = home.agent().unwrap().process.pid;
    said(&run(&home, &["daemon", "restart"]));
    assert_ne!(home.agent().unwrap().process.pid, before);
    assert_eq!(said(&run(&home, &["list"])), "1  x\n");
}

#[test]
fn who_follows_the_log_ends_when_nobody_reads_it_any_more() {
    let home = ThrowAwayHome::new(&NOTES);
    said(&run(&home, &["list"]));
    let mut logs = notes(&home, &["daemon", "logs", "-f"]);
    let mut logs = logs.stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(logs.stdout.take().unwrap());
    assert_ne!(reader.read_line(&mut String::new()).unwrap(), 0);
    // And not with the next line, which may be long in coming.
    drop(reader);
    assert!(logs.wait().unwrap().success());
}

#[test]
fn one_that_does_not_end_is_killed_on_demand_and_its_end_is_certain() {
    let home = ThrowAwayHome::new(&NOTES);
    said(&run(&home, &["list"]));
    let agent = home.agent().unwrap();
    home.signal(Signal::STOP);
    let late = run(&home, &["daemon", "down", "--timeout", "500ms", "--json"]);
    assert_eq!(refused(&late, 4)["code"], "shutdown-timeout");
    let below = notes(&home, &["daemon", "restart", "--timeout", "500ms", "--force", "--json"])
        .env("NOTES_NO_AUTOSPAWN", "1")
        .output()
        .unwrap();
    assert_eq!(refused(&below, 2)["code"], "forbidden");
    assert!(home.agent().is_some(), "who may not start another does not kill this one");
    let killed = run(&home, &["daemon", "down", "--timeout", "500ms", "--force"]);
    said(&killed);
    assert!(String::from_utf8_lossy(&killed.stderr).contains("killed"), "{killed:?}");
    assert!(home.agent().is_none());
    assert!(home.processes().is_empty(), "pid {} is gone", agent.process.pid);
    said(&run(&home, &["list"]));
    home.signal(Signal::STOP);
    said(&run(&home, &["daemon", "restart", "--timeout", "500ms", "--force"]));
    assert_eq!(said(&run(&home, &["list"])), "");
}

#[test]
#[should_panic(expected = "processes were left behind")]
fn a_test_that_leaves_a_process_behind_fails() {
    let home = ThrowAwayHome::new(&NOTES);
    let child = home.command("sleep").arg("1000").spawn();
    // Reaped when it is killed, so that it is no zombie of this process's.
    std::thread::spawn(move || child.unwrap().wait());
}

#[test]
fn it_says_of_itself_how_it_is() {
    let home = ThrowAwayHome::new(&NOTES);
    said(&run(&home, &["add", "x"]));
    let health: Value = home.client().get("/v1/health", &Options::default()).unwrap();
    assert_eq!(
        (&health["healthy"], &health["checks"]["room"]["message"]),
        (&true.into(), &"1 notes".into())
    );
    assert_eq!(home.agent().unwrap().fields()["most"], 1000);
    let logged = said(&run(&home, &["daemon", "logs", "-n", "1"]));
    assert!(logged.contains("ready") && logged.lines().count() == 1, "{logged}");
}

#[test]
fn who_may_not_start_one_says_so_and_starts_none() {
    let home = ThrowAwayHome::new(&NOTES);
    assert_eq!(refused(&run(&home, &["--no-spawn", "list", "--json"]), 3)["code"], "down");
    let mut below = notes(&home, &["list", "--json"]);
    let below = below.env("NOTES_NO_AUTOSPAWN", "1").output().unwrap();
    let refusal = refused(&below, 3);
    assert!(refusal["message"].as_str().unwrap().contains("NOTES_NO_AUTOSPAWN"), "{refusal}");
    assert!(!home.home().dir().exists(), "and it leaves no trace");
}

#[test]
fn bad_requests_are_refused_with_the_reason() {
    let home = ThrowAwayHome::new(&NOTES);
    said(&run(&home, &["list"]));
    let client = home.client();
    let code = |request: Request| {
        client.json::<Value>(&Options::default(), &request).unwrap_err().code().to_owned()
    };
    assert_eq!(code(Request::post("/v1/notes", b"{\"txt\":1}".to_vec())), "bad-request");
    assert_eq!(code(Request::delete("/v1/notes")), "not-found");
    assert_eq!(code(Request::get("/v2/notes")), "not-found");
    // Whether all of it has been sent or not when the agent has read enough.
    for mebibytes in [1, 2, 4] {
        let text = "x".repeat(mebibytes << 20);
        let long = Request::json("/v1/notes", &serde_json::json!({ "text": text })).unwrap();
        assert_eq!(code(long.clone()), "bad-request", "{mebibytes} MiB");
        let answer = client.connect(&Options::default()).unwrap().call(&long).unwrap();
        assert_eq!(answer.status, 413, "{mebibytes} MiB");
    }
    assert_eq!(client.ensure_ready(&Options::default()).state, State::Up);
}

// In the hands of systemd's user manager: `packaging/with-user-systemd cargo test -p notes -- --ignored`.

/// Takes the units back whatever becomes of the test: a manager that listens for a home that is gone would
/// start agents for nobody.
struct Installed<'a>(&'a ThrowAwayHome);

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        let _ = notes(self.0, &["uninstall"]).output();
    }
}

fn status(home: &ThrowAwayHome) -> Value {
    serde_json::from_str(&said(&run(home, &["daemon", "status", "--json"]))).unwrap()
}

#[test]
#[ignore = "needs systemd's user manager: run by packaging/with-user-systemd"]
fn the_manager_runs_it_and_verbs_start_nothing_themselves() {
    let home = ThrowAwayHome::new(&NOTES);
    said(&run(&home, &["list"]));
    let own = home.agent().unwrap().process.pid;
    let _installed = Installed(&home);
    said(&run(&home, &["install"]));
    let managed = status(&home);
    assert_eq!(
        (&managed["state"], &managed["manager"]["unit"]),
        (&"up".into(), &"notes-agent.service".into())
    );
    assert_ne!(managed["pid"], own, "the one that a verb had started was ended first");
    // Killed, it is back for whoever comes; what it had in memory is gone.
    said(&run(&home, &["add", "x"]));
    home.signal(Signal::KILL);
    assert_eq!(said(&run(&home, &["list"])), "");
    let back = status(&home);
    assert_ne!(back["pid"], managed["pid"]);
    said(&run(&home, &["daemon", "restart"]));
    assert_ne!(status(&home)["pid"], back["pid"]);
    // Again: nothing is written that is as it is to be.
    let again = run(&home, &["install"]);
    let words = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.success() && words.contains("unchanged"), "{words}");
    said(&run(&home, &["uninstall"]));
    let gone = run(&home, &["daemon", "status", "--json"]);
    assert_eq!(gone.status.code(), Some(3), "its manager has ended it");
    said(&run(&home, &["list"]));
    assert!(status(&home).get("manager").is_none());
}
