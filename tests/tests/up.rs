//! `hearth up`: what it starts, in which order, and what it leaves alone.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use hearth_tests::{Project, Ran, Test, await_end, runs};
use serde_json::Value;

/// A service that says that it began and lives on; ready as soon as it lives.
fn sleeper(name: &str, more: &str) -> String {
    format!(
        "[services.{name}]\nrun = \"echo {name} >> order; exec sleep 1000\"\n\
         ready = {{ settle = \"0s\" }}\nstop = {{ timeout = \"2s\" }}\n{more}\n"
    )
}

fn outcome(ran: &Ran) -> Value {
    ran.json_lines().pop().expect("a last line")
}

#[test]
fn services_start_when_what_they_need_is_ready_and_not_before() {
    let noted = |name: &str| format!("echo {name} >> order; exec sleep 1000");
    let left = "echo left >> order; read x < gate; echo left-ready >> order; echo up; \
                exec sleep 1000";
    let project = Project::built(|it| {
        it.service("last", noted("last"))
            .needs("left")
            .needs("right")
            .settle(Duration::ZERO)
            .service("left", left)
            .needs("first")
            .ready(Test::log("^up$"))
            .service("right", noted("right"))
            .needs("first")
            .settle(Duration::ZERO)
            .oneshot("first", "echo first >> order")
    });
    let mut gate = project.gate("gate");
    let mut up = project.start(&["up", "--json"]);
    up.until_state("right", "ready");
    // Left has started, is not ready, and so last has not.
    let begun = project.await_lines("order", 3);
    assert_eq!(begun[0], "first");
    assert_eq!(begun[1..3].iter().collect::<BTreeSet<_>>().len(), 2, "{begun:?}");
    let waiting = project.row("last");
    assert_eq!(waiting["state"], "waiting");
    assert!(waiting["health"]["message"].as_str().unwrap().contains("left"), "{waiting}");
    gate.open();
    assert_eq!(outcome(&up.finish().exits(0))["result"], "ready");
    let order = project.await_lines("order", 5);
    assert_eq!(order[3..], ["left-ready", "last"]);
    assert_eq!(project.state("first"), "done");
}

#[test]
fn a_named_service_brings_up_what_it_needs_and_no_more() {
    let text = [sleeper("api", "needs = [\"db\"]"), sleeper("db", ""), sleeper("other", "")];
    let project = Project::new(&text.concat());
    project.run(&["up", "api"]).exits(0);
    assert_eq!(project.await_lines("order", 2), ["db", "api"]);
    assert_eq!(project.state("other"), "down");
}

#[test]
fn a_disabled_service_is_started_by_name_alone() {
    let project = Project::new(&[sleeper("a", ""), sleeper("b", "enabled = false")].concat());
    project.run(&["up"]).exits(0);
    assert_eq!((project.state("a"), project.state("b")), ("ready".into(), "down".into()));
    project.run(&["up", "b"]).exits(0);
    assert_eq!(project.state("b"), "ready");
}

#[test]
fn a_second_up_changes_nothing() {
    let oneshot = "[services.once]\nkind = \"oneshot\"\nrun = \"echo once >> order\"\n";
    let project = Project::new(
        &[sleeper("a", "needs = [\"once\"]"), sleeper("b", ""), oneshot.into()].concat(),
    );
    project.run(&["up"]).exits(0);
    let before = (project.pid("a"), project.pid("b"));
    let again = project.run(&["up", "--json"]).exits(0);
    assert_eq!((project.pid("a"), project.pid("b")), before);
    assert_eq!(again.json_lines().len(), 2, "a snapshot and an outcome: {}", again.stdout);
    assert_eq!(project.await_lines("order", 3).len(), 3, "each began once");
}

#[test]
fn a_oneshot_that_fails_is_tried_again_until_it_is_given_up() {
    let project = Project::new(
        r#"
        [services.migrate]
        kind = "oneshot"
        run = "echo try >> tries; exit 3"
        backoff = { min = "1ms", max = "1ms" }
        give_up = { failures = 3, within = "60s" }

        [services.api]
        run = ["sleep", "1000"]
        needs = ["migrate"]
        "#,
    );
    let ran = project.run(&["up", "--json"]).exits(1);
    let last = outcome(&ran);
    assert_eq!(last["result"], "failed");
    assert_eq!(last["failed"][0]["name"], "migrate");
    assert_eq!(last["failed"][0]["exit"]["code"], 3);
    assert_eq!(last["not_ready"], serde_json::json!(["api"]));
    assert_eq!(project.read("tries").lines().count(), 3);
}

#[test]
fn who_waits_for_a_oneshot_that_fails_names_it_and_its_exit() {
    let project = Project::new(
        r#"
        [services.migrate]
        kind = "oneshot"
        run = "exit 3"
        backoff = { min = "1h", max = "1h" }

        [services.api]
        run = ["sleep", "1000"]
        needs = ["migrate"]
        "#,
    );
    let mut up = project.start(&["up", "--json"]);
    up.until_state("migrate", "backoff");
    let row = project.row("api");
    let words = row["health"]["message"].as_str().unwrap();
    assert_eq!((&row["state"], &row["health"]["status"]), (&"waiting".into(), &"waiting".into()));
    assert!(words.contains("migrate") && words.contains("code 3"), "{words}");
    up.interrupt();
    up.finish().exits(130);
}

#[test]
fn twenty_ups_at_once_act_as_one() {
    let project = Project::new(
        &[sleeper("a", ""), sleeper("b", "needs = [\"a\"]"), sleeper("c", "")].concat(),
    );
    let verbs: Vec<_> = (0..20).map(|_| project.start(&["up", "--json"])).collect();
    let agents: Vec<String> = verbs
        .into_iter()
        .map(|verb| outcome(&verb.finish().exits(0))["agent"]["state"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(agents.iter().filter(|state| *state == "started").count(), 1, "{agents:?}");
    let mut order = project.await_lines("order", 3);
    order.sort();
    assert_eq!(order, ["a", "b", "c"]);
}

#[test]
fn an_edit_restarts_what_changed_and_leaves_the_rest() {
    let first = [sleeper("a", ""), sleeper("b", ""), sleeper("c", "")];
    let project = Project::new(&first.concat());
    project.run(&["up"]).exits(0);
    let (a, b, c) = (project.pid("a"), project.pid("b"), project.pid("c"));
    assert_eq!(project.row("b")["changed"], false);
    // b changed, c gone, d new; a moved, which is no change.
    let second = [sleeper("d", ""), sleeper("b", "env = { X = \"1\" }"), sleeper("a", "")];
    project.write("hearth.toml", &second.concat());
    assert_eq!(project.row("b")["changed"], true);
    assert_eq!(project.row("a")["changed"], false);
    project.run(&["up"]).exits(0);
    assert_eq!(project.pid("a"), a);
    assert_ne!(project.pid("b"), b);
    assert_eq!(project.state("d"), "ready");
    assert!(!runs(b));
    await_end(c);
    let mut order = project.await_lines("order", 5);
    order.sort();
    assert_eq!(order, ["a", "b", "b", "c", "d"]);
}

#[test]
fn comments_and_order_of_keys_are_no_change() {
    let project = Project::new(&sleeper("a", "env = { X = \"1\", Y = \"2\" }"));
    project.run(&["up"]).exits(0);
    let before = project.pid("a");
    project.write("hearth.toml", &sleeper("a", "# said\nenv = { Y = \"2\", X = \"1\" }"));
    assert_eq!(project.row("a")["changed"], false);
    project.run(&["up"]).exits(0);
    assert_eq!(project.pid("a"), before);
}

#[test]
fn restart_is_a_new_life_for_the_named_alone() {
    let project = Project::new(
        &[sleeper("a", ""), sleeper("b", ""), sleeper("c", "enabled = false")].concat(),
    );
    project.run(&["up"]).exits(0);
    let (a, b) = (project.pid("a"), project.pid("b"));
    let ran = project.run(&["restart", "a"]).exits(0);
    assert_eq!(ran.stdout, "");
    assert!(!runs(a));
    assert_ne!(project.pid("a"), a);
    assert_eq!(project.pid("b"), b);
    assert_eq!(project.row("a")["restarts"], 0, "only automatic ones count");
    // What is down is started.
    project.run(&["restart", "c"]).exits(0);
    assert_eq!(project.state("c"), "ready");
}

#[test]
fn no_wait_returns_while_it_starts() {
    let project = Project::new(
        "[services.slow]\nrun = \"read x < gate; echo up; exec sleep 1000\"\nready = { log = \"^up$\" }\n",
    );
    let mut gate = project.gate("gate");
    project.run(&["up", "--no-wait"]).exits(0);
    assert!(["waiting", "starting"].contains(&project.state("slow").as_str()));
    let up = project.start(&["up"]);
    gate.open();
    up.finish().exits(0);
}

#[test]
fn out_of_time_names_who_is_not_ready_and_stops_nobody() {
    let slow = "[services.slow]\nrun = \"read x < gate; echo up; exec sleep 1000\"\nready = { log = \"^up$\" }\n";
    let project = Project::new(&[sleeper("quick", ""), slow.into()].concat());
    let mut gate = project.gate("gate");
    let late = project.run(&["up", "--timeout", "400ms"]).exits(4);
    assert!(late.stderr.contains("slow") && late.stderr.contains("400ms"), "{}", late.stderr);
    assert!(!late.stderr.contains("quick (") && late.stdout.is_empty(), "{late:?}");
    let late = project.run(&["up", "--json", "--timeout", "400ms"]).exits(4);
    let last = outcome(&late);
    assert_eq!(
        (&last["result"], &last["not_ready"]),
        (&"timeout".into(), &serde_json::json!(["slow"]))
    );
    assert_eq!(late.refusal()["code"], "timeout");
    gate.open();
    project.run(&["up"]).exits(0);
    assert_eq!(project.row("slow")["restarts"], 0);
}

#[test]
fn ctrl_c_ends_the_wait_and_not_the_services() {
    let slow = "[services.slow]\nready = { log = \"^up$\" }\n\
                run = \"echo $$ > begun; read x < gate; echo up; exec sleep 1000\"\n";
    let project = Project::new(&[sleeper("quick", ""), slow.into()].concat());
    let mut gate = project.gate("gate");
    let mut up = project.start(&["up", "--json"]);
    up.until_states(&[("slow", "starting"), ("quick", "ready")]);
    // By itself: the agent may not have heard of it yet.
    let slow: u32 = project.await_lines("begun", 1)[0].parse().unwrap();
    up.interrupt();
    let last = up.until(|line| line["type"] == "outcome");
    assert_eq!(last["result"], "interrupted");
    assert_eq!(last["not_ready"], serde_json::json!(["slow"]));
    up.finish().exits(130);
    let quick = project.pid("quick");
    gate.open();
    project.run(&["up"]).exits(0);
    assert_eq!((project.pid("quick"), project.pid("slow")), (quick, slow));
}

#[test]
fn a_down_meanwhile_ends_the_wait_of_an_up() {
    let project =
        Project::new("[services.slow]\nrun = [\"sleep\", \"1000\"]\nready = { log = \"never\" }\n");
    let mut up = project.start(&["up", "--json"]);
    up.until_state("slow", "starting");
    project.run(&["down"]).exits(0);
    let last = up.until(|line| line["type"] == "outcome");
    assert_eq!(last["not_ready"], serde_json::json!(["slow"]));
    let ran = up.finish().exits(1);
    assert!(ran.refusal()["message"].as_str().unwrap().contains("another request"), "{ran:?}");
}

#[test]
fn a_service_that_crashes_is_started_again_and_counted() {
    let project = Project::new(
        r#"
        [services.crashing]
        run = "echo $$ >> lives; read x < gate; exit 7"
        ready = { settle = "0s" }
        backoff = { min = "1ms" }
        "#,
    );
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    gate.open();
    let lives = project.await_lines("lives", 2);
    // It is ready again when an `up` says so.
    project.run(&["up"]).exits(0);
    let row = project.row("crashing");
    assert_eq!(row["restarts"], 1);
    assert_eq!((&row["exit"]["code"], &row["exit"]["signal"]), (&7.into(), &Value::Null));
    assert_eq!(row["pid"].to_string(), lives[1]);
}

#[test]
fn a_service_that_ends_with_success_is_done() {
    let project = Project::new(
        "[services.a]\nrun = \"read x < gate\"\nready = { settle = \"0s\" }\n\
         [services.b]\nrun = \"read x < gate; exit 1\"\nready = { settle = \"0s\" }\nrestart = \"never\"\n",
    );
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    let (a, b) = (project.pid("a"), project.pid("b"));
    gate.open();
    gate.open();
    await_end(a);
    await_end(b);
    // Its end is known to the agent when a verb that waits for it returns.
    project.run(&["down", "a"]).exits(0);
    let row = project.row("b");
    assert!(row["exit"]["code"] == 1 && row["state"] == "failed", "{row}");
}

#[test]
fn two_projects_do_not_know_each_other() {
    let project = Project::new(&sleeper("same", ""));
    let other = project.beside("other", &sleeper("same", ""));
    project.run(&["up"]).exits(0);
    project.ran(project.command(&["up"]).current_dir(&other)).exits(0);
    let all = project.run(&["status", "--all", "--json"]).exits(0).json();
    let projects: BTreeSet<_> = all["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["project"].as_str().unwrap())
        .collect();
    assert_eq!(projects.len(), 2, "{all}");
    project.run(&["down"]).exits(0);
    let status = project.ran(project.command(&["status", "--json"]).current_dir(&other)).exits(0);
    assert_eq!(status.json()["services"][0]["state"], "ready");
    assert_eq!(fs::read_to_string(other.join("order")).unwrap(), "same\n");
}
