//! What a shim outlives, and what it costs.

use hearth_process::{ProcessId, Signal};
use hearth_shim::frames::*;

use crate::agent::{Agent, Home, signal, wait_for_log, wait_until};

pub const TESTS: crate::Tests = &[
    ("the_next_agent_gets_the_whole_state", the_next_agent_gets_the_whole_state),
    ("an_exit_that_nobody_saw_is_told", an_exit_that_nobody_saw_is_told),
    ("the_newest_hello_is_the_agent", the_newest_hello_is_the_agent),
    ("who_does_not_read_is_given_up", who_does_not_read_is_given_up),
    ("ps_shows_whose_shim_it_is", ps_shows_whose_shim_it_is),
    ("an_idle_shim_does_not_wake_up_and_is_small", an_idle_shim_does_not_wake_up_and_is_small),
];

fn the_next_agent_gets_the_whole_state() {
    let home = Home::new();
    let mut spec = home.shell("echo up; exec sleep 1000");
    spec.life = 5;
    let mut running = home.started(&spec);
    wait_for_log(&home, "up");
    running.agent.send(&ToShim::MarkReady { at: Some(1_700_000_000_000) });
    drop(running.agent);
    let mut next = home.connect();
    let state = next.state();
    assert_eq!(state.keep, "the agent's notes");
    assert_eq!((state.project.as_str(), state.service.as_str(), state.life), ("/src/app", "db", 5));
    assert_eq!((&state.shim, state.leader.as_ref()), (&running.shim, Some(&running.leader)));
    assert!(state.ready && !state.stopping && !state.emptied);
    assert_eq!(state.ready_at, Some(1_700_000_000_000));
    assert!(state.exit.is_none() && state.failed.is_none() && state.started_at.is_some());
    next.finish();
}

fn an_exit_that_nobody_saw_is_told() {
    let home = Home::new();
    home.fifo("go");
    let running = home.started(&home.shell("read word < go; exit 9"));
    drop(running.agent);
    // Waits until the service reads.
    std::fs::write(home.path("go"), "on\n").unwrap();
    wait_until("it is on record", || home.record().is_some_and(|record| record.emptied));
    let mut next = home.connect();
    let state = next.state();
    assert!(state.emptied);
    assert_eq!(state.exit.and_then(|exit| exit.code), Some(9));
    next.acknowledge();
}

fn the_newest_hello_is_the_agent() {
    let home = Home::new();
    let mut running = home.started(&home.shell("exec sleep 1000"));
    let mut second = home.connect();
    second.state();
    assert_eq!(running.agent.frame(), None);
    let mut third = home.connect();
    third.state();
    assert_eq!(second.frame(), None);
    // Who has not said hello has nothing to say.
    let socket = std::os::unix::net::UnixStream::connect(home.path("shims/00ff.sock")).unwrap();
    let mut rude = Agent::over(socket);
    rude.send(&ToShim::Kill);
    assert_eq!(rude.frame(), None);
    third.send(&ToShim::Stop);
    assert_eq!(third.exited().signal, Some(Signal::TERM));
    third.emptied();
    third.acknowledge();
}

fn who_does_not_read_is_given_up() {
    let home = Home::new();
    let mut spec = home.shell("exec sleep 1000");
    spec.keep = "k".repeat(1 << 20);
    let mut running = home.started(&spec);
    for _ in 0..16 {
        running.agent.send(&ToShim::Hello { version: 1, agent: ProcessId::current() });
    }
    // It is answered although the first one's answers fill up, and the first one is closed.
    let mut next = home.connect();
    assert_eq!(next.state().keep.len(), 1 << 20);
    while running.agent.frame().is_some() {}
    next.finish();
}

fn ps_shows_whose_shim_it_is() {
    let home = Home::new();
    let running = home.started(&home.shell("exec sleep 1000"));
    let pid = running.shim.pid;
    let shown = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(String::from_utf8_lossy(&shown), "hearth\0shim\0/src/app/db\0");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!((fields[2], fields[3]), (pid.to_string().as_str(), pid.to_string().as_str()));
    running.agent.finish();
}

/// A line of /proc/PID/status as a number.
fn status(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().unwrap()
}

fn an_idle_shim_does_not_wake_up_and_is_small() {
    let home = Home::new();
    home.fifo("go");
    // A burst first: it is no excuse for what comes after.
    let line = "seq 1 100000; read word < go; echo up; exec sleep 1000";
    let running = home.started(&home.shell(line));
    wait_for_log(&home, "\n100000\n");
    std::fs::write(home.path("go"), "on\n").unwrap();
    wait_for_log(&home, "up");
    let pid = running.shim.pid;
    let switches =
        || status(pid, "voluntary_ctxt_switches") + status(pid, "nonvoluntary_ctxt_switches");
    wait_until("it sleeps", || hearth_process::facts::state_of(pid) == Some('S'));
    // A while in which nothing is to happen: not a wait for anything.
    let before = switches();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(switches(), before);
    let anonymous = status(pid, "RssAnon");
    println!("  RssAnon of a shim: {anonymous} KB");
    assert!(anonymous <= 300, "{anonymous} KB");
    signal(&running.shim, Signal::HUP);
    running.agent.finish();
}
