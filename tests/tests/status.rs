//! `status` and `health` for people: columns, colours, and one line about the file.

use hearth_tests::{Project, Terminal};

const TWO: &str = "[services.db]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"10ms\" }\n\
    [services.job]\nkind = \"oneshot\"\nrun = \"true\"\n";

fn head(text: &str) -> Vec<&str> {
    let head = text.lines().find(|line| line.starts_with("NAME")).unwrap_or_default();
    head.split_whitespace().collect()
}

#[test]
fn what_services_use_is_measured_for_a_terminal_and_with_v() {
    let project = Project::new(TWO);
    project.run(&["up"]).exits(0);
    let plain = project.run(&["status"]).exits(0).stdout;
    assert_eq!(head(&plain), ["NAME", "KIND", "STATE", "PID", "SINCE", "RESTARTS", "HEALTH"]);
    assert!(project.row("db")["memory_bytes"].is_null());
    let more = project.run(&["status", "-v"]).exits(0).stdout;
    assert!(
        head(&more).contains(&"CPU") && (more.contains(" KiB") || more.contains(" MiB")),
        "{more}"
    );
    let (code, text) = Terminal::start(project.command(&["status"]), 120, 24).finish();
    assert_eq!(code, Some(0), "{text}");
    assert!(head(&text).contains(&"MEMORY"), "{text}");
    let json = project.run(&["status", "-v", "--json"]).exits(0).json();
    assert!(json["services"][0]["memory_bytes"].as_u64() > Some(0), "{json}");
    assert!(json["services"][1]["memory_bytes"].is_null(), "a oneshot that is done: {json}");
}

#[test]
fn a_file_that_has_changed_is_broken_or_gone_is_told_in_one_line() {
    let project = Project::new(TWO);
    project.run(&["up"]).exits(0);
    assert_eq!(project.run(&["status"]).exits(0).stderr, "");
    project.replace("hearth.toml", &TWO.replace("1000", "2000"));
    let ran = project.run(&["status"]).exits(0);
    assert_eq!(
        ran.stderr,
        "hearth: the file has changed since they were started: db (`hearth up` takes it over)\n"
    );
    assert_eq!(project.run(&["status", "-q"]).exits(0).stderr, "");
    project.replace("hearth.toml", &format!("{TWO}bad = 1\n"));
    let ran = project.run(&["status"]).exits(0);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("faulty file"), "{}", ran.stderr);
    std::fs::remove_file(project.dir().join("hearth.toml")).expect("it is there");
    let ran = project.run(&["status"]).exits(0);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("hearth.toml is gone"), "{}", ran.stderr);
    assert!(ran.stdout.contains("db"), "{}", ran.stdout);
}

#[test]
fn a_group_stands_for_its_services_in_verbs_that_look_too() {
    let project =
        Project::new(&format!("{TWO}[groups]\nboth = [\"job\", \"db\"]\none = [\"job\"]\n"));
    project.run(&["up", "both"]).exits(0);
    let rows = |names: &[&str]| {
        let json = project.run(&[&["status", "--json"][..], names].concat()).exits(0).json();
        json["services"].as_array().expect("rows").len()
    };
    assert_eq!((rows(&["both"]), rows(&["one"]), rows(&["one", "db"])), (2, 1, 2));
    project.run(&["logs", "one"]).exits(0);
    project.run(&["wait", "both"]).exits(0);
    let ran = project.run(&["up", "nope"]).exits(5);
    assert!(ran.stderr.contains("its groups: both, one"), "{}", ran.stderr);
}

#[test]
fn health_has_colours_on_a_terminal_alone() {
    let project = Project::new(
        "[checks.bad]\nready = { exec = \"echo one; echo two; false\", failures = 1 }\n",
    );
    let ran = project.run(&["up"]).exits(0);
    assert!(ran.stderr.contains("check `bad` does not hold (unhealthy: two)"), "{}", ran.stderr);
    let mut terminal = Terminal::start(project.command(&["health"]), 80, 24);
    let text = terminal.until(|text| text.contains("hint:"));
    assert!(terminal.written().contains("\x1b[32msuccess\x1b[0m"), "{text}");
    assert_eq!(terminal.finish().0, Some(1));
    let ran = project.run(&["health"]).exits(1);
    assert!(!ran.stdout.contains('\x1b') && ran.stdout.contains("bad"), "{}", ran.stdout);
}

#[test]
fn a_check_that_somebody_needs_and_that_does_not_hold_fails_the_bringing_up() {
    let project = Project::new(
        "[checks.net]\nready = { exec = \"echo no net; false\", every = \"20ms\" }\nstart_timeout = \"300ms\"\n\
         [services.web]\nrun = [\"sleep\", \"1000\"]\nneeds = [\"net\"]\n",
    );
    let ran = project.run(&["up"]).exits(1);
    assert!(ran.stderr.contains("check `net` does not hold: "), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("no net") && ran.stderr.contains("waiting for it: web"),
        "{}",
        ran.stderr
    );
}
