//! How a life ends: asked, killed, by itself; and all of its tree with it.

use hearth_process::{Liveness, ProcessId, Signal, facts, locked};
use hearth_shim::frames::*;

use crate::agent::{Home, signal, wait_for_end, wait_for_log, wait_until};

pub const TESTS: crate::Tests = &[
    ("a_stop_signals_the_leader", a_stop_signals_the_leader),
    (
        "a_stop_in_the_same_write_as_the_start_is_heard",
        a_stop_in_the_same_write_as_the_start_is_heard,
    ),
    ("a_suspended_service_stops_too", a_suspended_service_stops_too),
    (
        "grandchildren_in_sessions_of_their_own_are_ended",
        grandchildren_in_sessions_of_their_own_are_ended,
    ),
    (
        "what_forks_while_it_is_killed_does_not_escape",
        what_forks_while_it_is_killed_does_not_escape,
    ),
    (
        "who_ignores_sigterm_is_killed_when_the_agent_says_so",
        who_ignores_sigterm_is_killed_when_the_agent_says_so,
    ),
    (
        "who_ignores_sigterm_is_killed_without_an_agent",
        who_ignores_sigterm_is_killed_without_an_agent,
    ),
    (
        "what_is_left_of_the_tree_is_killed_after_the_timeout",
        what_is_left_of_the_tree_is_killed_after_the_timeout,
    ),
    ("sigterm_to_the_shim_stops_its_service", sigterm_to_the_shim_stops_its_service),
    ("nobody_acknowledges", nobody_acknowledges),
    ("an_agent_inside_the_tree_is_left_alone", an_agent_inside_the_tree_is_left_alone),
    ("all_output_is_in_the_log_before_emptied", all_output_is_in_the_log_before_emptied),
];

fn a_stop_signals_the_leader() {
    let home = Home::new();
    let mut running = home.started(&home.spec(Run::List(vec!["sleep".into(), "1000".into()])));
    running.agent.send(&ToShim::Stop);
    let exit = running.agent.exited();
    assert_eq!((exit.code, exit.signal), (None, Some(Signal::TERM)));
    running.agent.emptied();
    running.agent.acknowledge();
}

fn a_stop_in_the_same_write_as_the_start_is_heard() {
    let home = Home::new();
    let spec = home.spec(Run::List(vec!["sleep".into(), "1000".into()]));
    let mut agent = home.start_and(&spec, &[ToShim::Stop]);
    agent.state();
    assert!(matches!(agent.next(), FromShim::Started { .. }));
    assert_eq!(agent.exited().signal, Some(Signal::TERM));
    agent.emptied();
    agent.acknowledge();
}

fn a_suspended_service_stops_too() {
    let home = Home::new();
    let mut running = home.started(&home.shell("exec sleep 1000"));
    running.agent.send(&ToShim::Signal { signal: Signal::STOP, to: StopTo::Leader });
    wait_until("it is suspended", || facts::state_of(running.leader.pid) == Some('T'));
    running.agent.send(&ToShim::Stop);
    assert_eq!(running.agent.exited().signal, Some(Signal::TERM));
    running.agent.emptied();
    running.agent.acknowledge();
}

fn grandchildren_in_sessions_of_their_own_are_ended() {
    let home = Home::new();
    let line = "setsid sh -c 'setsid sleep 1000 & setsid sleep 1001 & exit' & \
                (setsid setsid sleep 1002 &) ; setsid sleep 1003 & \
                wait %1; echo up; exec sleep 1004";
    let mut running = home.started(&home.shell(line));
    wait_for_log(&home, "up");
    running.agent.send(&ToShim::Stop);
    running.agent.exited();
    running.agent.emptied();
    running.agent.acknowledge();
}

fn what_forks_while_it_is_killed_does_not_escape() {
    let home = Home::new();
    let line = "trap '' TERM HUP; breed() { while :; do setsid sleep 1000 & sleep 0.001; done; }; \
                breed & breed & echo up; wait";
    let mut running = home.started(&home.shell(line));
    wait_for_log(&home, "up");
    running.agent.send(&ToShim::Kill);
    assert_eq!(running.agent.exited().signal, Some(Signal::KILL));
    running.agent.emptied();
    running.agent.acknowledge();
}

/// Ignores SIGTERM, and says when it does.
const STUBBORN: &str = "trap '' TERM; echo up; while :; do sleep 1000; done";

fn who_ignores_sigterm_is_killed_when_the_agent_says_so() {
    let home = Home::new();
    let mut spec = home.shell(STUBBORN);
    // With an agent the shim does not use it for the leader.
    spec.stop.timeout_ms = 1;
    let mut running = home.started(&spec);
    wait_for_log(&home, "up");
    running.agent.send(&ToShim::Stop);
    // An answer after more than the timeout, and the service is still there.
    let probe = Run::List(vec!["sleep".into(), "0.1".into()]);
    running.agent.send(&ToShim::Probe { id: 1, run: probe, timeout_ms: 1000 });
    assert!(matches!(running.agent.next(), FromShim::Probed { code: None, .. }));
    let mut agent = home.connect();
    let state = agent.state();
    assert!(state.stopping && state.exit.is_none());
    agent.send(&ToShim::Kill);
    assert_eq!(agent.exited().signal, Some(Signal::KILL));
    agent.emptied();
    agent.acknowledge();
}

fn who_ignores_sigterm_is_killed_without_an_agent() {
    let home = Home::new();
    let mut spec = home.shell(STUBBORN);
    spec.stop.timeout_ms = 50;
    let mut running = home.started(&spec);
    wait_for_log(&home, "up");
    running.agent.send(&ToShim::Stop);
    running.agent.send(&ToShim::Bye);
    assert_eq!(running.agent.frame(), None);
    wait_for_end(&running.leader);
    wait_until("it is on record", || home.record().is_some_and(|record| record.emptied));
    let mut agent = home.connect();
    let state = agent.state();
    assert_eq!(state.exit.unwrap().signal, Some(Signal::KILL));
    assert!(state.emptied);
    agent.acknowledge();
}

fn what_is_left_of_the_tree_is_killed_after_the_timeout() {
    let home = Home::new();
    let mut spec =
        home.shell("setsid sh -c \"trap '' TERM; echo up; sleep 1000; sleep 1000\" & wait");
    spec.stop.timeout_ms = 50;
    let mut running = home.started(&spec);
    wait_for_log(&home, "up");
    running.agent.send(&ToShim::Stop);
    assert_eq!(running.agent.exited().signal, Some(Signal::TERM));
    running.agent.emptied();
    running.agent.acknowledge();
}

fn sigterm_to_the_shim_stops_its_service() {
    let home = Home::new();
    let mut running = home.started(&home.shell("exec sleep 1000"));
    for harmless in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1] {
        signal(&running.shim, harmless);
    }
    signal(&running.shim, Signal::TERM);
    assert_eq!(running.agent.exited().signal, Some(Signal::TERM));
    running.agent.emptied();
    // Nobody is there to acknowledge it: it goes, and the record tells.
    drop(running.agent);
    wait_for_end(&running.shim);
    assert!(home.record().unwrap().emptied);
    assert!(!home.path("shims/00ff.sock").exists());
    assert!(!locked::is_held(&home.path("shims/00ff.rec")).unwrap());
}

fn nobody_acknowledges() {
    let home = Home::new();
    let mut spec = home.shell("exit 7");
    spec.acknowledge_within_ms = 50;
    let mut running = home.started(&spec);
    assert_eq!(running.agent.exited().code, Some(7));
    running.agent.emptied();
    assert_eq!(running.agent.frame(), None);
    wait_for_end(&running.shim);
    assert_eq!(home.record().unwrap().exit.unwrap().code, Some(7));
    assert!(!home.path("shims/00ff.sock").exists());
}

/// The holder of L, as a process that a service has started. It holds the output open, too.
fn an_agent_inside_the_tree_is_left_alone() {
    let home = Home::new();
    let line = "setsid sleep 1000 & echo agent $!; setsid sleep 1000 & wait";
    let mut running = home.started(&home.shell(line));
    wait_for_log(&home, "agent");
    let log = home.log();
    let pid = log.trim().strip_prefix("agent ").unwrap().parse().unwrap();
    wait_until("it is itself", || {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim() == "sleep"
    });
    let agent = ProcessId::of(pid).unwrap();
    let file = locked::open(&home.path("agent.lock"), true).unwrap();
    let lock = locked::LockedFile::try_exclusive(file).map_err(|(_, error)| error).unwrap();
    lock.write(&serde_json::to_vec(&agent).unwrap()).unwrap();
    running.agent.send(&ToShim::Kill);
    running.agent.exited();
    running.agent.emptied();
    assert_eq!(agent.living(), Liveness::Living);
    running.agent.acknowledge();
    signal(&agent, Signal::KILL);
    wait_for_end(&agent);
}

fn all_output_is_in_the_log_before_emptied() {
    let home = Home::new();
    let mut running =
        home.started(&home.shell("seq 1 20000 & seq 20001 40000 >&2; wait; kill -9 $$"));
    assert_eq!(running.agent.exited().signal, Some(Signal::KILL));
    running.agent.emptied();
    let out: u64 = home.log().bytes().filter(|byte| byte.is_ascii_digit()).count() as u64;
    assert_eq!(out, 9 + 2 * 90 + 3 * 900 + 4 * 9000 + 5 * 30001);
    running.agent.acknowledge();
}
