//! Commands beside the service.

use hearth_shim::frames::*;

use crate::agent::{Agent, Home, wait_for_log};

pub const TESTS: crate::Tests = &[
    ("probes_tell_code_and_last_line", probes_tell_code_and_last_line),
    (
        "a_probe_is_killed_with_its_tree_at_its_timeout",
        a_probe_is_killed_with_its_tree_at_its_timeout,
    ),
    ("several_probes_run_at_a_time", several_probes_run_at_a_time),
    ("a_probe_does_not_count_as_the_services_tree", a_probe_does_not_count_as_the_services_tree),
];

fn ask(agent: &mut Agent, id: u64, line: &str, timeout_ms: u64) {
    agent.send(&ToShim::Probe { id, run: Run::Shell(line.into()), timeout_ms });
}

/// Id, code, last line, timed out.
fn answer(agent: &mut Agent) -> (u64, Option<i32>, String, bool) {
    match agent.next() {
        FromShim::Probed { id, code, last_line, timed_out } => (id, code, last_line, timed_out),
        other => panic!("no answer: {other:?}"),
    }
}

fn probes_tell_code_and_last_line() {
    let home = Home::new();
    let mut spec = home.shell("exec sleep 1000");
    spec.env.insert("WORD".into(), "from the service".into());
    let mut running = home.started(&spec);
    let agent = &mut running.agent;
    ask(agent, 1, "echo first; echo $WORD in $PWD; echo", 5000);
    let here = home.dir.path().display();
    assert_eq!(answer(agent), (1, Some(0), format!("from the service in {here}"), false));
    ask(agent, 2, "echo loading >&2; exit 75", 5000);
    assert_eq!(answer(agent), (2, Some(75), "loading".into(), false));
    let run = Run::List(vec!["pg_isreadyy".into()]);
    agent.send(&ToShim::Probe { id: 3, run, timeout_ms: 1000 });
    let (id, code, line, _) = answer(agent);
    assert_eq!((id, code), (3, None));
    assert!(line.starts_with("`pg_isreadyy` is not in PATH"), "{line}");
    ask(agent, 4, "seq 1 300000", 20_000);
    assert_eq!(answer(agent), (4, Some(0), "300000".into(), false));
    ask(agent, 5, "kill -9 $$", 5000);
    assert_eq!(answer(agent), (5, None, String::new(), false));
    running.agent.finish();
    assert_eq!(home.log(), "");
}

fn a_probe_is_killed_with_its_tree_at_its_timeout() {
    let home = Home::new();
    let mut running = home.started(&home.shell("exec sleep 1000"));
    let line = "trap '' TERM; setsid sleep 1000 & sleep 1000 & echo at work; wait";
    ask(&mut running.agent, 1, line, 200);
    assert_eq!(answer(&mut running.agent), (1, None, "at work".into(), true));
    // All that it left is gone before the service is: nothing of it can be in its way.
    running.agent.send(&ToShim::Stop);
    running.agent.exited();
    running.agent.emptied();
    running.agent.acknowledge();
}

fn several_probes_run_at_a_time() {
    let home = Home::new();
    home.fifo("go");
    let mut running = home.started(&home.shell("exec sleep 1000"));
    let agent = &mut running.agent;
    ask(agent, 1, "read word < go; echo $word", 20_000);
    ask(agent, 2, "sleep 1000", 20_000);
    // The third wakes the first.
    ask(agent, 3, "echo hello > go", 20_000);
    let mut answers = [answer(agent), answer(agent)];
    answers.sort();
    assert_eq!(answers[0], (1, Some(0), "hello".into(), false));
    assert_eq!(answers[1], (3, Some(0), String::new(), false));
    // Cancelled is not answered: the next answer is that of a later one.
    agent.send(&ToShim::CancelProbe { id: 2 });
    ask(agent, 4, "exit 4", 20_000);
    assert_eq!(answer(agent).0, 4);
    running.agent.finish();
}

fn a_probe_does_not_count_as_the_services_tree() {
    let home = Home::new();
    let mut spec = home.shell("trap 'echo got it' USR1; echo up; while :; do sleep 0.01; done");
    spec.stop.to = StopTo::Tree;
    let mut running = home.started(&spec);
    wait_for_log(&home, "up");
    let agent = &mut running.agent;
    ask(agent, 1, "trap 'echo hit; exit 1' USR1; : > probing; sleep 0.3; sleep 0.3", 20_000);
    crate::agent::wait_until("it runs", || home.path("probing").exists());
    let signal = "SIGUSR1".parse().unwrap();
    agent.send(&ToShim::Signal { signal, to: StopTo::Tree });
    assert_eq!(answer(agent), (1, Some(0), String::new(), false));
    wait_for_log(&home, "got it");
    // Cancelled by the stop, and told.
    ask(agent, 2, "sleep 1000", 20_000);
    agent.send(&ToShim::Stop);
    let (id, code, line, _) = answer(agent);
    assert_eq!((id, code, line.as_str()), (2, None, "cancelled: the service stops"));
    agent.exited();
    agent.emptied();
    running.agent.acknowledge();
}
