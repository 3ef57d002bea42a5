//! The shapes of the answers, field by field: what tools rely on.

use hearth_tests::Project;
use serde_json::{Value, json};

const TWO: &str = "[services.once]\nkind = \"oneshot\"\nrun = \"true\"\n\
[services.web]\nrun = [\"sleep\", \"1000\"]\nneeds = [\"once\"]\nready = { settle = \"0s\" }\n";

const ROW: &[&str] = &[
    "project",
    "name",
    "kind",
    "want",
    "state",
    "pid",
    "since",
    "restarts",
    "exit",
    "health",
    "ports",
    "cpu_percent",
    "memory_bytes",
    "changed",
    "held_by",
];

#[track_caller]
fn fields(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    object.keys().map(String::as_str).collect()
}

#[track_caller]
fn has(value: &Value, names: &[&str]) {
    let found = fields(value);
    for name in names {
        assert!(found.contains(name), "no `{name}` in {value}");
    }
}

/// RFC 3339, UTC, milliseconds.
#[track_caller]
fn is_time(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "9999-99-99T99:99:99.999Z", "{text}");
}

#[test]
fn status_tells_every_field_of_the_agent_and_of_each_row() {
    let project = Project::new(TWO);
    project.run(&["up"]).exits(0);
    let status = project.run(&["status", "--json"]).exits(0).json();
    has(&status["agent"], &["state", "pid", "version", "instance", "uptime_s"]);
    assert_eq!(status["agent"]["state"], "up");
    assert_eq!(status["agent"]["pid"], project.home.agent_pid().unwrap());
    assert!(status["agent"]["uptime_s"].is_f64());
    let rows = status["services"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "in the order of the file");
    for row in rows {
        has(row, ROW);
        assert_eq!(row["project"], project.dir().to_str().unwrap());
        assert_eq!(row["want"], "up");
        assert_eq!(row["restarts"], 0);
        assert_eq!(row["changed"], false);
        assert_eq!((&row["cpu_percent"], &row["memory_bytes"]), (&Value::Null, &Value::Null));
        has(&row["health"], &["status", "message"]);
        is_time(&row["since"]);
    }
    let (once, web) = (&rows[0], &rows[1]);
    assert_eq!(
        (&once["name"], &once["kind"], &once["state"]),
        (&json!("once"), &json!("oneshot"), &json!("done"))
    );
    assert_eq!(once["pid"], Value::Null);
    assert_eq!((&once["exit"]["code"], &once["exit"]["signal"]), (&json!(0), &Value::Null));
    is_time(&once["exit"]["at"]);
    assert_eq!(
        (&web["kind"], &web["state"], &web["exit"]),
        (&json!("service"), &json!("ready"), &Value::Null)
    );
    assert!(web["pid"].is_u64());
    assert!(web["held_by"].as_array().unwrap().contains(&json!({ "type": "up" })));
    assert!(
        once["held_by"]
            .as_array()
            .unwrap()
            .contains(&json!({ "type": "dependent", "service": "web" }))
    );
    let ps = project.run(&["ps", "--json"]).exits(0).json();
    assert_eq!(ps["services"], status["services"], "two names of one verb");
}

#[test]
fn up_and_down_tell_a_snapshot_each_transition_and_an_outcome() {
    let project = Project::new(TWO);
    let lines = project.run(&["up", "--json"]).exits(0).json_lines();
    assert_eq!(lines[0]["type"], "snapshot");
    has(&lines[0]["services"][0], ROW);
    let (last, between) = lines[1..].split_last().unwrap();
    for line in between {
        assert_eq!(line["type"], "transition", "{line}");
        has(line, &["service", "from", "to", "at", "message"]);
        is_time(&line["at"]);
    }
    let told: Vec<_> =
        between.iter().map(|line| (line["service"].as_str(), line["to"].as_str())).collect();
    let at =
        |what| told.iter().position(|told| *told == what).unwrap_or_else(|| panic!("{told:?}"));
    assert!(at((Some("once"), Some("done"))) < at((Some("web"), Some("ready"))));
    assert_eq!(last["type"], "outcome");
    assert_eq!(
        (&last["result"], &last["failed"], &last["not_ready"]),
        (&json!("ready"), &json!([]), &json!([]))
    );
    has(&last["agent"], &["state", "duration_ms", "reason"]);
    assert_eq!(
        (&last["agent"]["state"], &last["agent"]["reason"]),
        (&json!("started"), &Value::Null)
    );
    assert!(last["agent"]["duration_ms"].as_f64().unwrap() > 0.0);
    let again = project.run(&["up", "--json"]).exits(0).json_lines();
    assert_eq!(again.last().unwrap()["agent"]["state"], "up");
    let down = project.run(&["down", "--json"]).exits(0).json_lines();
    assert_eq!(down.first().unwrap()["type"], "snapshot");
    assert_eq!(down.last().unwrap()["result"], "down");
}

#[test]
fn a_failed_up_tells_the_exit_and_the_last_lines_and_one_error_line() {
    let project = Project::new(
        "[services.bad]\nrun = \"echo first; echo last; exit 7\"\nrestart = \"never\"\n",
    );
    let up = project.run(&["up", "--json"]).exits(1);
    let outcome = up.json_lines().pop().unwrap();
    assert_eq!(outcome["result"], "failed");
    let failed = &outcome["failed"][0];
    assert_eq!((&failed["name"], &failed["exit"]["code"]), (&json!("bad"), &json!(7)));
    assert_eq!(failed["log_tail"], json!(["first", "last"]));
    let refusal = up.refusal();
    assert_eq!(refusal["code"], "service-failed");
    has(&refusal, &["code", "message", "hint", "details"]);
    assert_eq!(up.stderr.lines().count(), 1, "one line: {}", up.stderr);
    let words = project.run(&["up"]).exits(1);
    assert_eq!(words.stdout, "");
    for part in ["bad", "7", "last", "hearth logs bad"] {
        assert!(words.stderr.contains(part), "{part} in {}", words.stderr);
    }
}

#[test]
fn the_agents_own_report_tells_every_field() {
    let project = Project::new(TWO);
    const FIELDS: &[&str] = &[
        "state",
        "duration_ms",
        "reason",
        "pid",
        "version",
        "instance",
        "home",
        "socket",
        "log",
        "last",
    ];
    let none = project.run(&["daemon", "status", "--json"]).exits(3);
    has(&none.json(), FIELDS);
    assert_eq!((&none.json()["state"], &none.json()["last"]), (&json!("down"), &Value::Null));
    assert_eq!(none.refusal()["code"], "down");
    has(&none.refusal()["details"], &["state", "duration_ms", "reason", "log"]);
    let up = project.run(&["daemon", "up", "--json"]).exits(0).json();
    has(&up, FIELDS);
    assert_eq!(up["state"], "started");
    assert_eq!(up["home"], project.home.dir().to_str().unwrap());
    assert_eq!(up["socket"], project.home.path("agent.sock").to_str().unwrap());
    project.home.kill_agent();
    let last = project.run(&["daemon", "status", "--json"]).exits(3).json()["last"].clone();
    assert_eq!(last["pid"], up["pid"], "it died without stopping");
    is_time(&last["started_at"]);
    project.run(&["daemon", "up"]).exits(0);
    project.run(&["daemon", "down"]).exits(0);
    let clean = project.run(&["daemon", "status", "--json"]).exits(3).json();
    assert_eq!(clean["last"], Value::Null, "it stopped in order");
}

#[test]
fn health_is_for_people_and_for_tools() {
    let project = Project::new(TWO);
    project.run(&["up"]).exits(0);
    let health = project.run(&["health", "--json"]).exits(0).json();
    assert_eq!(health["healthy"], true);
    assert!(health["uptime_s"].is_f64());
    let check = &health["checks"]["web"];
    has(check, &["status", "healthy", "message", "at"]);
    assert_eq!((&check["status"], &check["healthy"]), (&json!("success"), &json!(true)));
    is_time(&check["at"]);
    project.write(
        "hearth.toml",
        &format!("{TWO}[services.bad]\nrun = \"exit 1\"\nrestart = \"never\"\n"),
    );
    project.run(&["up"]).exits(1);
    let health = project.run(&["health", "--json"]).exits(1);
    assert_eq!(health.json()["healthy"], false);
    assert_eq!(health.json()["checks"]["bad"]["status"], "failure");
    assert_eq!(health.refusal()["code"], "health-failed");
}

#[test]
fn faults_of_a_file_are_told_at_once_with_their_places() {
    let project = Project::new(
        "[services.a]\nrun = 5\nned = [\"b\"]\n[services.b]\nrun = \"true\"\nneeds = [\"c\"]\nstart_timeout = \"5\"\n",
    );
    let check = project.run(&["config", "check", "--json"]).exits(2);
    assert_eq!(check.json()["ok"], false);
    let faults = check.json()["faults"].as_array().unwrap().clone();
    for fault in &faults {
        has(fault, &["file", "line", "column", "message", "expected"]);
    }
    let lines: Vec<_> = faults.iter().map(|fault| fault["line"].as_u64().unwrap()).collect();
    for line in [2, 3, 6, 7] {
        assert!(lines.contains(&line), "a fault in line {line}: {faults:?}");
    }
    let up = project.run(&["up"]).exits(2);
    assert!(up.stderr.contains('^') && up.stderr.contains("hearth.toml:2"), "{}", up.stderr);
    assert_eq!(project.run(&["up", "--json"]).exits(2).refusal()["code"], "bad-config");
    assert_eq!(project.home.agent_pid(), None, "nothing was started for it");
}

#[test]
fn without_an_agent_status_and_logs_answer_cold() {
    let project = Project::new(TWO);
    let cold = project.run(&["status", "--json", "--no-spawn"]).exits(0);
    let status = cold.json();
    assert_eq!(status["agent"]["state"], "down");
    assert_eq!(status["services"][1]["state"], "down", "no shim: it is down");
    has(&status["services"][1], ROW);
    assert_eq!(cold.stderr.lines().count(), 1, "{}", cold.stderr);
    project.run(&["up"]).exits(0);
    let _gone = project.home.kill_agent_for_good();
    let status = project.run(&["--no-spawn", "status", "--json"]).exits(0).json();
    assert_eq!(status["services"][1]["state"], "unknown", "a shim lives, and nobody asks it");
    project.run(&["logs", "--no-spawn"]).exits(0);
    let refused = project.run(&["up", "--no-spawn", "--json"]).exits(3);
    assert_eq!(refused.refusal()["code"], "down");
}
