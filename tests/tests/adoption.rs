//! An agent that is killed: no service notices, and the next agent finds all of them.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use hearth_process::Signal;
use hearth_tests::{Builder, Node, Project, Test, await_end, runs, send};

/// Services that write their pid at their start; a copy would be a second line. Each needs the one
/// before it.
fn notes(names: &[&str], it: Builder) -> Builder {
    let mut before = None;
    names.iter().fold(it, |it, name| {
        let run = format!("echo $$ >> pids.{name}; echo up; exec sleep 1000");
        let node = it.service(name, run).ready(Test::log("^up$"));
        before.replace(*name).into_iter().fold(node, Node::needs).and()
    })
}

#[test]
fn a_killed_agent_is_followed_by_one_that_knows_everything() {
    let names = ["a", "b", "c"];
    let project = Project::built(|it| notes(&names, it));
    project.run(&["up"]).exits(0);
    let before: Vec<_> = names.map(|name| project.row(name)).into();
    project.home.kill_agent();
    for (name, before) in names.iter().zip(before) {
        let after = project.row(name);
        for field in ["pid", "state", "want", "restarts", "kind", "changed", "ports", "held_by"] {
            assert_eq!(after[field], before[field], "{field} of {name}");
        }
    }
    project.run(&["up"]).exits(0);
    for name in names {
        assert_eq!(project.read(&format!("pids.{name}")).lines().count(), 1, "{name} began once");
    }
    // The agent's end is told, not hidden.
    let _gone = project.home.kill_agent_for_good();
    let status = project.run(&["daemon", "status", "--json"]).exits(3).json();
    assert!(status["last"]["pid"].is_u64(), "{status}");
}

#[test]
fn an_agent_killed_at_any_moment_of_an_up_never_makes_a_second_copy() {
    let names = ["a", "b", "c", "d", "e"];
    // Moments spread over what an up of five takes, from before the first to after the last.
    for round in 0..12 {
        let project = Project::built(|it| notes(&names, it));
        project.home.run(&["daemon", "up"]).exits(0);
        let up = project.start(&["up", "--json"]);
        std::thread::sleep(Duration::from_millis(round * 4));
        project.home.kill_agent();
        // The verb asks again by itself, and so the wait comes to its end.
        up.finish().exits(0);
        for name in names {
            let started = project.read(&format!("pids.{name}"));
            assert_eq!(started.lines().count(), 1, "round {round}: {name} began once: {started}");
            assert_eq!(project.pid(name).to_string(), started.trim(), "round {round}");
        }
    }
}

#[test]
fn a_shim_that_was_mute_and_then_killed_leaves_no_second_copy() {
    let project = Project::built(|it| notes(&["s"], it));
    project.run(&["up"]).exits(0);
    let service = project.pid("s");
    let shim = hearth_process::facts::parent_of(service).unwrap();
    send(shim, Signal::STOP);
    project.home.kill_agent();
    // The next agent asks it in vain, and leaves its service alone.
    project.run(&["status"]).exits(0);
    assert!(runs(service));
    send(shim, Signal::KILL);
    // What it left is found and ended, by whoever notices first.
    await_end(service);
    project.run(&["up"]).exits(0);
    assert_eq!(project.read("pids.s").lines().count(), 2, "one life after the other");
    assert_ne!(project.pid("s"), service);
}

#[test]
fn an_exit_that_nobody_saw_is_known_and_answered() {
    let project = Project::new(
        r#"
        [services.s]
        run = "echo $$ >> pids; read x < gate; exit 9"
        ready = { settle = "0s" }
        restart = "never"
        [services.again]
        run = "echo $$ >> again; exec sleep 1000"
        ready = { settle = "0s" }
        backoff = { min = "1ms" }
        [services.once]
        kind = "oneshot"
        run = "echo ran >> once; read x < late"
        "#,
    );
    let (mut gate, mut late) = (project.gate("gate"), project.gate("late"));
    let mut up = project.start(&["up", "--json"]);
    up.until_states(&[("s", "ready"), ("again", "ready")]);
    project.await_lines("once", 1);
    let pid = project.pid("s");
    let again = project.pid("again");
    up.interrupt();
    up.finish().exits(130);
    let _gone = project.home.kill_agent_for_good();
    gate.open();
    late.open();
    await_end(pid);
    send(again, Signal::KILL);
    await_end(again);
    // Nobody is there to see it; the next verb's agent is told by the shims.
    project.run(&["up", "again", "once"]).exits(0);
    let row = project.row("s");
    assert_eq!((&row["state"], &row["exit"]["code"]), (&"failed".into(), &9.into()), "{row}");
    assert_eq!(project.await_lines("again", 2).len(), 2);
    assert_eq!(project.row("again")["restarts"], 1);
    assert_eq!(project.row("again")["exit"]["signal"], "SIGKILL");
    assert_eq!((project.state("once"), project.read("once")), ("done".into(), "ran\n".into()));
}

#[test]
fn no_line_of_the_log_is_lost_across_the_kill() {
    let project = Project::new(
        r#"
        [services.s]
        run = "n=0; while [ $n -lt 20000 ]; do n=$((n + 1)); echo line $n; [ $n = 1000 ] && echo x > begun; done; echo x > done; exec sleep 1000"
        ready = { settle = "0s" }
        "#,
    );
    let mut up = project.start(&["up", "--json"]);
    project.await_lines("begun", 1);
    project.home.kill_agent();
    up.kill();
    project.await_lines("done", 1);
    let logs = project.run(&["logs", "s"]).exits(0);
    let wanted: String = (1..=20_000).map(|n| format!("line {n}\n")).collect();
    assert!(logs.stdout == wanted, "{} of {} bytes", logs.stdout.len(), wanted.len());
}

#[test]
fn a_life_after_adoption_has_the_environment_of_the_first() {
    let project = Project::new(
        r#"
        [services.s]
        run = "echo $MARKER $(umask) >> seen; exec sleep 1000"
        ready = { settle = "0s" }
        backoff = { min = "1ms" }
        "#,
    );
    project.ran(project.command(&["up"]).env("MARKER", "of-the-shell")).exits(0);
    project.home.kill_agent();
    project.run(&["status"]).exits(0);
    send(project.pid("s"), Signal::KILL);
    let seen = project.await_lines("seen", 2);
    assert_eq!(seen[0], seen[1]);
    assert!(seen[1].starts_with("of-the-shell "), "{seen:?}");
}

#[test]
fn two_projects_are_adopted_each_as_it_was() {
    let project = Project::built(|it| notes(&["same"], it));
    let other = project.beside_built("other", |it| notes(&["same", "more"], it));
    project.run(&["up"]).exits(0);
    project.ran(project.command(&["up", "same"]).current_dir(&other)).exits(0);
    let rows = |project: &Project| -> BTreeMap<(String, String), (String, String)> {
        let status = project.run(&["status", "--all", "--json"]).exits(0).json();
        let text = |row: &serde_json::Value, field: &str| row[field].to_string();
        let rows = status["services"].as_array().unwrap().clone();
        let running = rows.iter().filter(|row| !row["pid"].is_null());
        running
            .map(|row| {
                ((text(row, "project"), text(row, "name")), (text(row, "pid"), text(row, "state")))
            })
            .collect()
    };
    let before = rows(&project);
    assert_eq!(before.len(), 2);
    project.home.kill_agent();
    assert_eq!(rows(&project), before);
    project.run(&["down"]).exits(0);
    let left = rows(&project);
    assert_eq!(left.len(), 1);
    assert!(left.keys().all(|(project, _)| project.contains("other")), "{left:?}");
    assert_eq!(fs::read_to_string(other.join("pids.same")).unwrap().lines().count(), 1);
}

#[test]
fn a_stop_that_was_under_way_goes_on() {
    let project = Project::new(
        r#"
        [services.slow]
        run = ["bash", "-c", "trap 'echo term >> told; read x < gate; exit 0' TERM; echo up; while :; do read -rt 1000 x <> <(:); done"]
        ready = { log = "^up$" }
        "#,
    );
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    let pid = project.pid("slow");
    let down = project.start(&["down"]);
    project.await_lines("told", 1);
    project.home.kill_agent();
    gate.open();
    down.finish().exits(0);
    assert!(!runs(pid));
    assert_eq!(project.state("slow"), "down");
    assert_eq!(project.read("told"), "term\n");
}

#[test]
fn a_killed_shim_takes_its_service_with_it_and_the_next_life_is_alone() {
    let project = Project::new(
        r#"
        [services.s]
        run = "echo $$ >> pids; exec sleep 1000"
        ready = { settle = "0s" }
        backoff = { min = "1ms" }
        "#,
    );
    project.run(&["up"]).exits(0);
    let pid = project.pid("s");
    send(hearth_process::facts::parent_of(pid).unwrap(), Signal::KILL);
    project.await_lines("pids", 2);
    assert!(!runs(pid), "two copies at once");
    project.run(&["up"]).exits(0);
}

#[test]
fn a_start_that_an_agents_death_cut_off_is_begun_by_the_next_up() {
    let project = Project::new(
        "[services.a]\nrun = \"echo $$ >> pids.a; exec sleep 1000\"\nready = { settle = \"1ms\" }\n\
         [services.b]\nrun = \"echo $$ >> pids.b; exec sleep 1000\"\nready = { settle = \"1ms\" }\n",
    );
    for round in 0..16 {
        project.home.run(&["daemon", "up"]).exits(0);
        let up = project.start(&["up", "--no-wait"]);
        // Moments spread over what it takes to begin two.
        std::thread::sleep(Duration::from_micros(round * 300));
        project.home.kill_agent();
        up.finish();
        // Somebody may have started the next one and been killed with it.
        project.home.run(&["daemon", "up"]).exits(0);
        project.run(&["up", "--timeout", "20s"]).exits(0);
        project.run(&["down"]).exits(0);
    }
}
