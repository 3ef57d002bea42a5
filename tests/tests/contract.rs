//! The contract to the letter: JSON shapes, exit codes, what goes to which stream.

use std::process::{Command, Stdio};

use hearth_tests::{Home, Project, Ran};
use serde_json::Value;

const SLEEPER: &str = "[services.s]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

/// Exactly these fields, each of one of its types.
#[track_caller]
fn shape(value: &Value, fields: &[(&str, &str)]) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    for (name, types) in fields {
        let field = object.get(*name).unwrap_or_else(|| panic!("no `{name}` in {value}"));
        let found = match field {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        assert!(types.split('|').any(|known| known == found), "`{name}` is {field}, not {types}");
    }
    let unknown: Vec<_> =
        object.keys().filter(|key| !fields.iter().any(|(name, _)| name == key)).collect();
    assert!(unknown.is_empty(), "the contract has no {unknown:?}: {value}");
}

const ROW: &[(&str, &str)] = &[
    ("project", "string"),
    ("name", "string"),
    ("kind", "string"),
    ("want", "string|null"),
    ("state", "string"),
    ("pid", "number|null"),
    ("since", "string|null"),
    ("restarts", "number|null"),
    ("exit", "object|null"),
    ("health", "object|null"),
    ("ports", "array"),
    ("cpu_percent", "number|null"),
    ("memory_bytes", "number|null"),
    ("changed", "bool|null"),
    ("boot", "bool|null"),
    ("held_by", "array"),
];

const EXIT: &[(&str, &str)] =
    &[("code", "number|null"), ("signal", "string|null"), ("at", "string")];

const AGENT: &[(&str, &str)] = &[
    ("state", "string"),
    ("pid", "number|null"),
    ("version", "string|null"),
    ("instance", "string|null"),
    ("uptime_s", "number|null"),
];

const DAEMON: &[(&str, &str)] = &[
    ("state", "string"),
    ("duration_ms", "number"),
    ("reason", "string|null"),
    ("pid", "number|null"),
    ("version", "string|null"),
    ("instance", "string|null"),
    ("home", "string"),
    ("socket", "string"),
    ("log", "string"),
    ("last", "object|null"),
];

/// `2026-01-01T10:00:00.000Z`
#[track_caller]
fn is_time(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    let pattern = "dddd-dd-ddTdd:dd:dd.dddZ";
    let fits = text.len() == pattern.len()
        && text
            .chars()
            .zip(pattern.chars())
            .all(|(c, p)| if p == 'd' { c.is_ascii_digit() } else { c == p });
    assert!(fits, "{text}");
}

#[test]
fn status_has_every_field_and_null_for_what_is_not_known() {
    let project = Project::new(
        "[services.s]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nneeds = [\"once\"]\n\
         [services.once]\nkind = \"oneshot\"\nrun = \"exit 0\"\n\
         [services.off]\nrun = [\"sleep\", \"1\"]\nenabled = false\n",
    );
    project.run(&["up"]).exits(0);
    let status = project.run(&["status", "--json"]).exits(0);
    assert_eq!(status.stdout.lines().count(), 1);
    let status = status.json();
    shape(&status, &[("agent", "object"), ("services", "array")]);
    shape(&status["agent"], AGENT);
    assert_eq!(status["agent"]["state"], "up");
    assert!(status["agent"]["uptime_s"].is_f64());
    let rows = status["services"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["s", "once", "off"], "in the order of the file");
    for row in rows {
        shape(row, ROW);
        shape(&row["health"], &[("status", "string"), ("message", "string")]);
    }
    let (s, once, off) = (&rows[0], &rows[1], &rows[2]);
    assert_eq!(
        (&s["state"], &s["want"], &s["kind"]),
        (&"ready".into(), &"up".into(), &"service".into())
    );
    assert!(s["pid"].is_number() && s["exit"].is_null() && s["changed"] == false);
    assert_eq!(s["held_by"], serde_json::json!([{"type": "up"}]));
    is_time(&s["since"]);
    assert_eq!(
        (&once["state"], &once["kind"], &once["pid"]),
        (&"done".into(), &"oneshot".into(), &Value::Null)
    );
    shape(&once["exit"], EXIT);
    is_time(&once["exit"]["at"]);
    assert!(
        once["held_by"]
            .as_array()
            .unwrap()
            .contains(&serde_json::json!({"type": "dependent", "service": "s"}))
    );
    assert_eq!(
        (&off["state"], &off["want"], &off["pid"]),
        (&"down".into(), &"down".into(), &Value::Null)
    );
    assert_eq!(project.run(&["ps", "--json"]).exits(0).json()["services"], status["services"]);
}

#[test]
fn cold_status_tells_down_and_unknown_and_starts_nothing() {
    let project = Project::new(SLEEPER);
    let cold = project.run(&["status", "--json", "--no-spawn"]).exits(0);
    assert_eq!(cold.stderr.lines().count(), 1, "{}", cold.stderr);
    let status = cold.json();
    shape(&status["agent"], AGENT);
    assert_eq!(status["agent"]["state"], "down");
    shape(&status["services"][0], ROW);
    assert_eq!(status["services"][0]["state"], "down");
    project.run(&["up"]).exits(0);
    let _gone = project.home.kill_agent_for_good();
    let status = project.run(&["status", "--json", "--no-spawn"]).exits(0).json();
    let row = &status["services"][0];
    shape(row, ROW);
    assert_eq!(row["state"], "unknown");
    for field in ["want", "pid", "since", "restarts", "health", "changed"] {
        assert!(row[field].is_null(), "{field} was invented: {row}");
    }
    assert_eq!(project.home.agent_pid(), None);
}

#[track_caller]
fn is_stream(ran: &Ran, result: &str) {
    let lines = ran.json_lines();
    let (first, last) = (&lines[0], &lines[lines.len() - 1]);
    shape(first, &[("type", "string"), ("services", "array")]);
    assert_eq!(first["type"], "snapshot");
    first["services"].as_array().unwrap().iter().for_each(|row| shape(row, ROW));
    for line in &lines[1..lines.len() - 1] {
        // `project` is more than the contract shows, and tells two projects apart.
        shape(
            line,
            &[
                ("type", "string"),
                ("project", "string"),
                ("service", "string"),
                ("from", "string"),
                ("to", "string"),
                ("at", "string"),
                ("message", "string"),
            ],
        );
        assert_eq!(line["type"], "transition");
        is_time(&line["at"]);
    }
    shape(
        last,
        &[
            ("type", "string"),
            ("result", "string"),
            ("failed", "array"),
            ("not_ready", "array"),
            ("agent", "object"),
        ],
    );
    assert_eq!((&last["type"], &last["result"]), (&"outcome".into(), &result.into()));
    shape(
        &last["agent"],
        &[("state", "string"), ("duration_ms", "number"), ("reason", "string|null")],
    );
}

#[test]
fn up_restart_and_down_answer_in_json_lines_that_end_with_the_outcome() {
    let project = Project::new(SLEEPER);
    is_stream(&project.run(&["up", "--json"]).exits(0), "ready");
    is_stream(&project.run(&["restart", "s", "--json"]).exits(0), "ready");
    is_stream(&project.run(&["down", "--json"]).exits(0), "down");
    project.write(
        "hearth.toml",
        "[services.s]\nrun = \"echo hm; exit 2\"\nready = { settle = \"30s\" }\nrestart = \"never\"\n",
    );
    let ran = project.run(&["up", "--json"]).exits(1);
    is_stream(&ran, "failed");
    let failed = ran.json_lines().pop().unwrap()["failed"][0].clone();
    shape(&failed["exit"], EXIT);
    assert_eq!((&failed["name"], &failed["exit"]["code"]), (&"s".into(), &2.into()));
    assert_eq!(failed["log_tail"], serde_json::json!(["hm"]));
    assert_eq!(ran.refusal()["code"], "service-failed");
}

#[test]
fn without_json_what_changes_something_writes_nothing_to_stdout() {
    let project = Project::new(SLEEPER);
    for verb in [
        &["daemon", "up"][..],
        &["up"],
        &["up", "-q"],
        &["restart", "s"],
        &["down"],
        &["daemon", "down"],
    ] {
        let ran = project.run(verb).exits(0);
        assert_eq!(ran.stdout, "", "{verb:?}");
        assert!(!ran.stderr.contains('\x1b'), "{verb:?} draws: {}", ran.stderr);
        assert!(!verb.contains(&"-q") || ran.stderr.is_empty(), "{verb:?}: {}", ran.stderr);
    }
}

#[test]
fn daemon_up_and_status_have_the_same_shape_up_or_down() {
    let home = Home::new();
    let down = home.run(&["daemon", "status", "--json"]).exits(3);
    shape(&down.json(), DAEMON);
    assert_eq!((&down.json()["state"], &down.json()["pid"]), (&"down".into(), &Value::Null));
    let refusal = down.refusal();
    shape(
        &refusal,
        &[("code", "string"), ("message", "string"), ("hint", "string"), ("details", "object")],
    );
    for field in ["state", "duration_ms", "reason", "log"] {
        assert!(refusal["details"].get(field).is_some(), "no {field}: {refusal}");
    }
    let up = home.run(&["daemon", "up", "--json"]).exits(0).json();
    shape(&up, DAEMON);
    assert_eq!((&up["state"], &up["last"]), (&"started".into(), &Value::Null));
    let status = home.run(&["daemon", "status", "--json"]).exits(0).json();
    shape(&status, DAEMON);
    assert_eq!((&status["state"], &status["instance"]), (&"up".into(), &up["instance"]));
    assert_eq!(status["home"], home.dir().to_str().unwrap());
    home.kill_agent();
    let died = home.run(&["daemon", "status", "--json"]).exits(3).json();
    shape(&died["last"], &[("pid", "number"), ("started_at", "string")]);
    assert_eq!(died["last"]["pid"], status["pid"]);
    home.run(&["daemon", "up"]).exits(0);
    assert_eq!(
        home.run(&["daemon", "run", "--json"]).exits(1).refusal()["code"],
        "already-running"
    );
    home.run(&["daemon", "down"]).exits(0);
    let stopped = home.run(&["daemon", "status", "--json"]).exits(3).json();
    assert!(stopped["last"].is_null(), "it stopped in order: {stopped}");
}

#[test]
fn health_has_the_agent_and_each_service_and_its_exit_code() {
    let project = Project::new(
        "[services.s]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\ndisplay = \"the sleeper\"\n\
         [services.hidden]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\ndisplay = false\n",
    );
    project.run(&["up"]).exits(0);
    let health = project.run(&["health", "--json"]).exits(0).json();
    shape(&health, &[("healthy", "bool"), ("uptime_s", "number"), ("checks", "object")]);
    let checks = health["checks"].as_object().unwrap();
    assert!(checks.contains_key("the sleeper") && !checks.contains_key("hidden"), "{health}");
    for check in checks.values() {
        shape(
            check,
            &[("status", "string"), ("healthy", "bool"), ("message", "string"), ("at", "string")],
        );
    }
    project.run(&["down"]).exits(0);
    let health = project.run(&["health", "--json"]).exits(0).json();
    assert_eq!(health["checks"]["the sleeper"]["status"], "disabled");
}

#[test]
fn options_hold_before_and_after_the_verb() {
    let project = Project::new(SLEEPER);
    project.run(&["--json", "up"]).exits(0);
    let home = project.home.dir().to_str().unwrap().to_owned();
    let dir = project.dir().to_str().unwrap().to_owned();
    for verb in [
        &["--json", "-C", &dir, "--home", &home, "status"][..],
        &["status", "--json", "-C", &dir, "--home", &home],
        &["--home", &home, "status", "-C", &dir, "--json"],
        &["-q", "--color", "never", "status", "-C", &dir, "--json", "--no-spawn", "-v"],
    ] {
        let mut command = project.home.command(verb);
        if verb.contains(&"--home") {
            command.env_remove("HEARTH_HOME");
        }
        let ran = Ran::of(&command.output().unwrap()).exits(0);
        assert_eq!(ran.json()["services"][0]["state"], "ready", "{verb:?}");
    }
}

#[test]
fn wrong_usage_is_2_and_in_json_where_that_was_asked() {
    let home = Home::new();
    for wrong in [
        &["frobnicate"][..],
        &["up", "--frobnicate"],
        &["up", "--timeout", "5"],
        &["up", "--timeout", "soon"],
        &["status", "--color", "sometimes"],
        &["daemon"],
        &["restart"],
    ] {
        let ran = home.run(wrong).exits(2);
        assert_eq!(ran.stdout, "", "{wrong:?}");
        let mut json = wrong.to_vec();
        json.push("--json");
        let ran = home.run(&json).exits(2);
        assert_eq!(ran.stderr.lines().count(), 1, "{wrong:?}: {}", ran.stderr);
        let refusal = ran.refusal();
        shape(
            &refusal,
            &[("code", "string"), ("message", "string"), ("hint", "string"), ("details", "object")],
        );
        assert_eq!(refusal["code"], "usage", "{wrong:?}");
    }
    assert!(!home.dir().exists(), "nothing was made for that");
}

#[test]
fn no_agent_is_3_with_its_state() {
    let project = Project::new(SLEEPER);
    let mut forbidden = project.command(&["up", "--json"]);
    forbidden.env("HEARTH_NO_AUTOSPAWN", "1");
    for ran in [project.run(&["up", "--json", "--no-spawn"]), project.ran(&mut forbidden)] {
        let refusal = ran.exits(3).refusal();
        assert_eq!(
            (&refusal["code"], &refusal["details"]["state"]),
            (&"down".into(), &"down".into())
        );
        assert!(
            refusal["details"]["duration_ms"].is_number()
                && refusal["details"]["reason"].is_string()
        );
    }
    assert_eq!(project.home.agent_pid(), None);
}

#[test]
fn a_closed_stdout_is_no_fault() {
    let project = Project::new(SLEEPER);
    project.run(&["up"]).exits(0);
    for verb in ["status", "status --json", "ps --all", "logs", "health", "--help", "up --json"] {
        let mut bash = Command::new("bash");
        let hearth = hearth_tests::hearth().display();
        bash.args(["-c", &format!("{hearth} {verb} | head -0; echo ${{PIPESTATUS[0]}} >&2")]);
        bash.current_dir(project.dir()).env("HEARTH_HOME", project.home.dir());
        let ran = Ran::of(&bash.stdin(Stdio::null()).output().unwrap());
        assert_eq!(ran.stderr.trim(), "0", "{verb}");
    }
}

#[test]
fn colours_are_for_terminals_and_for_who_asks() {
    let project = Project::new(SLEEPER);
    project.run(&["up"]).exits(0);
    let has_colour = |ran: Ran| ran.exits(0).stdout.contains('\x1b');
    assert!(!has_colour(project.run(&["status"])));
    assert!(has_colour(project.run(&["status", "--color", "always"])));
    assert!(!has_colour(project.run(&["status", "--color", "never"])));
    assert!(!has_colour(project.run(&["status", "--color", "always", "--json"])));
    let mut none = project.command(&["status"]);
    assert!(!has_colour(project.ran(none.env("NO_COLOR", "1"))));
}

#[test]
fn logs_show_lines_with_names_and_in_order() {
    let project = Project::new(
        "[services.a]\nrun = \"for n in 1 2 3; do echo out $n; done; exec sleep 1000\"\nready = { log = \"out 3\" }\n\
         [services.b]\nrun = \"echo err >&2; exec sleep 1000\"\nready = { log = \"err\" }\n",
    );
    project.run(&["up"]).exits(0);
    assert_eq!(project.run(&["logs", "a"]).exits(0).stdout, "out 1\nout 2\nout 3\n");
    assert_eq!(project.run(&["logs", "-n", "1", "a"]).exits(0).stdout, "out 3\n");
    let both = project.run(&["logs"]).exits(0);
    assert!(both.stdout.contains("a | out 1\n") && both.stdout.contains("b | err\n"), "{both:?}");
    assert_eq!(both.stderr, "", "a service's stderr too goes to stdout");
    for line in project.run(&["logs", "a", "--json"]).exits(0).json_lines() {
        let fields = [
            ("project", "string"),
            ("service", "string"),
            ("life", "number"),
            ("stream", "string"),
            ("line", "string"),
            ("at", "string"),
        ];
        shape(&line, &fields);
        is_time(&line["at"]);
    }
    // Followed, across a new life and the death of the agent.
    let mut follow = project.start(&["logs", "-f", "a"]);
    for n in 1..=3 {
        assert_eq!(follow.line(), Some(format!("out {n}")));
    }
    project.home.kill_agent();
    project.run(&["restart", "a"]).exits(0);
    for n in 1..=3 {
        assert_eq!(follow.line(), Some(format!("out {n}")), "of the second life");
    }
    follow.interrupt();
    follow.finish().exits(130);
}
