//! `hearth events`: in a pipe and on a terminal, over a replacement and to the end.

use std::process::Stdio;

use hearth_tests::{Project, Terminal, Verb};
use serde_json::{Value, json};

const ONE: &str = "[services.db]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

/// The verb, and its first line.
fn listening(project: &Project) -> (Verb, Value) {
    let mut verb = project.start(&["events", "--json"]);
    let first = verb.until(|_| true);
    assert_eq!(first["event"], "snapshot", "{first}");
    (verb, first)
}

fn is_state(line: &Value, to: &str) -> bool {
    line["event"] == "service" && line["data"]["service"] == "db" && line["data"]["to"] == to
}

#[test]
fn it_starts_an_agent_and_each_line_of_json_is_an_event() {
    let project = Project::new(ONE);
    let (mut verb, snapshot) = listening(&project);
    assert_eq!(snapshot["data"]["agent"]["pid"], project.home.agent_pid().unwrap());
    project.run(&["up"]).exits(0);
    let ready = verb.until(|line| is_state(line, "ready"));
    let mut names: Vec<_> = ready.as_object().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["data", "event", "id"]);
    let instance = snapshot["data"]["agent"]["instance"].as_str().unwrap();
    assert!(ready["id"].as_str().unwrap().starts_with(&format!("{instance}:")), "{ready}");
    verb.interrupt();
    let ended = verb.finish().exits(130);
    assert_eq!(ended.stderr, "");
}

#[test]
fn in_words_each_event_is_a_line() {
    let project = Project::new(ONE);
    let mut verb = project.start(&["events"]);
    let first = verb.line().unwrap();
    assert!(first.contains("agent up (pid "), "{first}");
    assert!(first.ends_with("no services, no sessions"), "{first}");
    // The time of day.
    let time = first.split("  ").next().unwrap();
    assert_eq!((time.len(), time.matches(':').count()), (8, 2), "{first}");
    project.run(&["up"]).exits(0);
    let mut lines = Vec::new();
    while !lines.iter().any(|line: &String| line.ends_with("project/db  starting -> ready")) {
        lines.push(verb.line().expect("a line"));
    }
    assert!(lines[0].contains("project/db  down -> starting"), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains('\x1b')), "{lines:?}");
}

#[test]
fn on_a_terminal_it_is_the_same_in_colours_until_ctrl_c() {
    let project = Project::new(ONE);
    let mut terminal = Terminal::start(project.command(&["events"]), 100, 30);
    terminal.until(|text| text.contains("agent up (pid "));
    project.run(&["up"]).exits(0);
    terminal.until(|text| text.contains("project/db  starting -> ready"));
    assert!(terminal.written().contains("-> \x1b[32mready\x1b[0m"), "{}", terminal.written());
    terminal.interrupt();
    assert_eq!(terminal.finish().0, Some(130));
}

#[test]
fn it_goes_on_where_the_agent_is_replaced_or_killed_and_ends_where_it_stops() {
    let project = Project::new(ONE);
    let (mut verb, first) = listening(&project);
    project.run(&["up"]).exits(0);
    project.run(&["daemon", "restart"]).exits(0);
    let end = verb.until(|line| line["event"] == "end");
    assert_eq!(end["data"], json!({ "reason": "replaced" }));
    let resync = verb.until(|_| true);
    assert_eq!(resync["data"], json!({ "reason": "other-agent" }));
    assert_eq!((&resync["event"], &resync["id"]), (&json!("resync"), &Value::Null));
    let second = verb.until(|_| true);
    assert_eq!(second["event"], "snapshot");
    assert_ne!(second["data"]["agent"]["pid"], first["data"]["agent"]["pid"]);
    assert_eq!(second["data"]["services"][0]["state"], "ready");
    // Its shim fetches the next one; the verb finds that, or starts it.
    project.home.kill_agent();
    let third = verb.until(|line| line["event"] == "snapshot");
    assert_ne!(third["data"]["agent"]["pid"], second["data"]["agent"]["pid"]);
    verb.until_stderr("going on at the next");
    project.run(&["down"]).exits(0);
    verb.until(|line| is_state(line, "down"));
    project.run(&["daemon", "down"]).exits(0);
    let ended = verb.finish().exits(3);
    let last: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["data"], json!({ "reason": "stopping" }));
    let error = ended.refusal();
    assert_eq!(
        (&error["code"], &error["details"]["state"]),
        (&json!("stopping"), &json!("stopping"))
    );
}

#[test]
fn a_reader_who_goes_away_is_no_fault_also_while_nothing_happens() {
    let project = Project::new(ONE);
    project.run(&["daemon", "up"]).exits(0);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = project.command(&["events"]);
    command.stdout(writer).stderr(Stdio::null());
    let mut verb = command.spawn().unwrap();
    drop(command);
    let mut reader = std::io::BufReader::new(reader);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    drop(reader);
    assert_eq!(verb.wait().unwrap().code(), Some(0));
}

#[test]
fn without_an_agent_and_told_to_start_none_it_says_so() {
    let project = Project::new(ONE);
    let ran = project.run(&["events", "--no-spawn", "--json"]).exits(3);
    assert_eq!((ran.refusal()["code"].as_str(), ran.stdout.as_str()), (Some("down"), ""));
    let ran = project.run(&["events", "db"]).exits(2);
    assert!(ran.stderr.contains("db"), "{}", ran.stderr);
    assert_eq!(project.home.agent_pid(), None);
}
