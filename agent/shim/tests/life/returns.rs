//! An agent that died without a word is brought back, by one shim for all.
//!
//! `life return HOME` is what the shim starts: it notes in the home who it is.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hearth_process::locked::{self, LockedFile};
use hearth_process::{ProcessId, Signal, facts};
use hearth_shim::frames::*;

use crate::agent::{Home, signal, wait_for_end, wait_until};

pub const TESTS: crate::Tests = &[
    (
        "a_lost_agent_is_fetched_by_a_process_of_nobody",
        a_lost_agent_is_fetched_by_a_process_of_nobody,
    ),
    ("nobody_is_fetched_who_said_bye", nobody_is_fetched_who_said_bye),
    ("the_next_hello_calls_it_off", the_next_hello_calls_it_off),
    ("one_at_a_time_and_not_in_a_storm", one_at_a_time_and_not_in_a_storm),
    ("a_living_agent_is_not_fetched_again", a_living_agent_is_not_fetched_again),
    ("a_home_that_is_gone_stays_gone", a_home_that_is_gone_stays_gone),
];

/// Longer than it takes until a shim looks for its agent.
const LOOKED: Duration = Duration::from_millis(400);

pub fn come(args: impl Iterator<Item = String>) -> ExitCode {
    let homes: Vec<String> = args.collect();
    let [home] = homes.as_slice() else { return ExitCode::from(2) };
    let own = std::process::id();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let election = std::fs::read_link("/proc/self/fd/3").unwrap();
    let forbidden = std::env::var_os("HEARTH_NO_AUTOSPAWN").is_some();
    let line = format!(
        "{own} parent={} open={open} forbidden={forbidden} election={}\n",
        facts::parent_of(own).unwrap(),
        election.file_name().unwrap().display()
    );
    let path = format!("{home}/came");
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(line.as_bytes()).unwrap();
    // At work for as long as the test says so.
    let _ = std::fs::read(format!("{home}/work"));
    ExitCode::SUCCESS
}

fn came(home: &Home) -> Vec<String> {
    let text = std::fs::read_to_string(home.path("came")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn a_lost_agent_is_fetched_by_a_process_of_nobody() {
    let home = Home::new();
    let mut running = home.started(&home.shell("exec sleep 1000"));
    running.agent.send(&ToShim::MarkReady { at: None });
    drop(running.agent);
    wait_until("it came", || came(&home).len() == 1);
    let own = std::process::id();
    // 0, 1, 2, the lock, and the directory that is read.
    let wanted = format!("parent={own} open=5 forbidden=false election=return.lock");
    let line = came(&home).remove(0);
    assert!(line.ends_with(&wanted), "{line}\n{wanted}");
    assert!(!running.shim.pid.to_string().eq(&line));
    let mut next = home.connect();
    assert!(next.state().ready);
    next.finish();
}

fn nobody_is_fetched_who_said_bye() {
    let home = Home::new();
    let mut running = home.started(&home.shell("exec sleep 1000"));
    running.agent.send(&ToShim::Bye);
    assert_eq!(running.agent.frame(), None);
    std::thread::sleep(LOOKED);
    assert!(came(&home).is_empty() && !home.path("shims/return.lock").exists());
    let mut next = home.connect();
    next.state();
    // Nor whose service was asked to stop by the system.
    drop(next);
    signal(&running.shim, Signal::TERM);
    wait_for_end(&running.shim);
    assert!(came(&home).is_empty());
}

fn the_next_hello_calls_it_off() {
    let home = Home::new();
    let running = home.started(&home.shell("exec sleep 1000"));
    drop(running.agent);
    let mut next = home.connect();
    next.state();
    // A connection that was followed by another is not lost either.
    let mut newest = home.connect();
    newest.state();
    assert_eq!(next.frame(), None);
    std::thread::sleep(LOOKED);
    assert!(came(&home).is_empty());
    newest.finish();
}

fn one_at_a_time_and_not_in_a_storm() {
    let home = Home::new();
    home.fifo("work");
    let mut shims = Vec::new();
    for number in 0..30 {
        let mut spec = home.shell("exec sleep 1000");
        spec.id = format!("{number:04}");
        spec.socket_path = home.path(&format!("shims/{number:04}.sock"));
        spec.record_path = home.path(&format!("shims/{number:04}.rec"));
        shims.push(home.started(&spec));
    }
    let all: Vec<ProcessId> = shims.iter().map(|running| running.shim.clone()).collect();
    drop(shims);
    wait_until("one came", || came(&home).len() == 1);
    std::thread::sleep(LOOKED);
    assert_eq!(came(&home).len(), 1, "{:?}", came(&home));
    // It ends in vain. Who looks again knows that it was just tried.
    std::fs::write(home.path("work"), "done\n").unwrap();
    let tried = Instant::now();
    std::fs::remove_file(home.path("work")).unwrap();
    wait_until("another one came", || came(&home).len() == 2);
    assert!(tried.elapsed() > Duration::from_secs(3), "{:?}", tried.elapsed());
    std::thread::sleep(LOOKED);
    assert_eq!(came(&home).len(), 2, "{:?}", came(&home));
    all.iter().for_each(|shim| signal(shim, Signal::TERM));
    all.iter().for_each(wait_for_end);
}

fn a_living_agent_is_not_fetched_again() {
    let home = Home::new();
    let file = locked::open(&home.path("agent.lock"), true).unwrap();
    let lock = LockedFile::try_exclusive(file).unwrap();
    let note = |stage: &str, process: &ProcessId| {
        let mut record = serde_json::to_value(process).unwrap();
        record["stage"] = stage.into();
        lock.write(record.to_string().as_bytes()).unwrap();
    };
    note("running", &ProcessId::current());
    let running = home.started(&home.shell("exec sleep 1000"));
    drop(running.agent);
    std::thread::sleep(LOOKED);
    assert!(came(&home).is_empty(), "it lives");
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    let dead = ProcessId::of(gone.id()).unwrap();
    gone.wait().unwrap();
    note("stopping", &dead);
    let mut next = home.connect_as(dead.clone());
    next.state();
    drop(next);
    std::thread::sleep(LOOKED);
    assert!(came(&home).is_empty(), "it was told to stop");
    // That of another one is not that of the one that was lost.
    let mut next = home.connect();
    next.state();
    drop(next);
    wait_until("it came", || came(&home).len() == 1);
    let mut next = home.connect();
    next.state();
    next.finish();
}

fn a_home_that_is_gone_stays_gone() {
    let home = Home::new();
    let running = home.started(&home.shell("exec sleep 1000"));
    std::fs::remove_dir_all(home.dir.path()).unwrap();
    drop(running.agent);
    std::thread::sleep(LOOKED);
    // The log alone may make its directory again, for what its service writes.
    let untouched = || came(&home).is_empty() && !home.path("shims").exists();
    assert!(untouched());
    signal(&running.shim, Signal::TERM);
    wait_for_end(&running.shim);
    assert!(untouched());
}
