//! What `up` and `down` tell while they wait, and when they end: on a terminal, elsewhere, for tools.

use hearth_tests::{Port, Project, Terminal};

/// A chain of which each link waits at a gate.
const CHAIN: &str = "[services.db]\nrun = \"read x < db.gate; echo up; exec sleep 1000\"\nready = { log = \"up\" }\n\
    [services.migrate]\nkind = \"oneshot\"\nrun = \"true\"\nneeds = [\"db\"]\n\
    [services.web]\nrun = [\"sleep\", \"1000\"]\nneeds = [\"db\", \"migrate\"]\nready = { settle = \"10ms\" }\n";

fn chain() -> Project {
    Project::new(CHAIN)
}

#[test]
fn on_a_terminal_each_service_has_a_line_that_says_whom_it_waits_for() {
    let project = chain();
    let mut gate = project.gate("db.gate");
    project.home.run(&["daemon", "up"]).exits(0);
    let mut terminal = Terminal::start(project.command(&["up"]), 80, 24);
    let text = terminal.until(|text| text.contains("web      waiting for db"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].contains(" db       starting"), "{text}");
    assert!(lines[1].contains(" migrate  waiting for db (starting"), "{text}");
    assert!(lines[2].contains("migrate (waiting)"), "{text}");
    assert!(lines.iter().all(|line| line.ends_with(" s")), "each tells its time: {text}");
    // It moves, although nothing happens.
    terminal.until(|now| now != text);
    gate.open();
    let written = terminal.until(|text| text.contains("3 services ready"));
    assert_eq!(written.lines().next(), Some("  db       ready"), "{written}");
    assert!(terminal.written().contains("\x1b[32mready\x1b[0m"), "in colours");
    let (code, text) = terminal.finish();
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "nothing is left of what was drawn before: {text}");
    assert!(lines[1].starts_with("  migrate  done") && lines[2].starts_with("  web      ready"));
}

#[test]
fn a_terminal_that_is_made_narrower_and_colours_that_are_switched_off_are_obeyed() {
    let project = chain();
    let _gate = project.gate("db.gate");
    project.home.run(&["daemon", "up"]).exits(0);
    let command = project.command(&["up", "--color", "never"]);
    let mut terminal = Terminal::start(command, 80, 24);
    terminal.until(|text| text.contains("waiting for db (starting"));
    terminal.resize(40, 24);
    let fits = |text: &str| text.lines().all(|line| line.chars().count() <= 40);
    let text = terminal.until(|text| fits(text) && text.contains("..."));
    assert!(!terminal.written().contains("[33m"), "no colour");
    terminal.interrupt();
    let (code, after) = terminal.finish();
    assert_eq!(code, Some(130), "{text}\n{after}");
    assert!(after.replace('\n', "").contains("services stay as they are"), "{after}");
    project.run(&["down"]).exits(0);
}

#[test]
fn of_more_services_than_the_terminal_has_lines_those_under_way_are_shown() {
    let service = |n| {
        format!(
            "[services.s{n:02}]\nrun = [\"sleep\", \"1000\"]\nready = {{ settle = \"10ms\" }}\n"
        )
    };
    let many: String = (0..30).map(service).collect();
    let last = "[services.last]\nrun = \"read x < last.gate; echo up; exec sleep 1000\"\nready = { log = \"up\" }\n";
    let project = Project::new(&format!("{many}{last}"));
    let mut gate = project.gate("last.gate");
    let mut terminal = Terminal::start(project.command(&["up"]), 60, 10);
    let text = terminal.until(|text| text.contains("and 23 more: 23 ready"));
    let shown = text.lines().filter(|line| line.contains("starting") || line.contains("ready"));
    assert!(shown.clone().count() <= 10, "{text}");
    assert!(shown.clone().any(|line| line.contains(" last  starting")), "{text}");
    gate.open();
    let (code, text) = terminal.finish();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("31 services ready"), "{text}");
}

#[test]
fn elsewhere_there_is_a_plain_line_a_transition_and_with_q_nothing() {
    let project = Project::new(&CHAIN.replace("read x < db.gate; ", ""));
    let ran = project.run(&["up"]).exits(0);
    assert_eq!(ran.stdout, "");
    assert!(!ran.stderr.contains('\x1b'), "{}", ran.stderr);
    for line in [
        "db: starting",
        "migrate: waiting for db (starting)",
        "migrate: done: exited with code 0",
        "web: ready",
    ] {
        assert_eq!(
            ran.stderr.lines().filter(|told| *told == line).count(),
            1,
            "{line}: {}",
            ran.stderr
        );
    }
    project.run(&["down", "-q"]).exits(0);
    let ran = project.run(&["up", "-q"]).exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
}

#[test]
fn a_failure_is_told_with_its_last_lines_and_who_waits_for_it() {
    let project = Project::new(
        "[services.migrate]\nkind = \"oneshot\"\nrestart = \"never\"\nrun = \"for n in $(seq 30); do echo line $n; done; exit 7\"\n\
         [services.web]\nrun = [\"sleep\", \"1000\"]\nneeds = [\"migrate\"]\n\
         [services.edge]\nrun = [\"sleep\", \"1000\"]\nneeds = [\"web\"]\n",
    );
    let ran = project.run(&["up"]).exits(1);
    let tail: Vec<&str> = ran.stderr.lines().filter_map(|line| line.strip_prefix("  | ")).collect();
    assert_eq!((tail.len(), tail[0], tail[19]), (20, "line 11", "line 30"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`migrate` failed: exited with code 7"), "{}", ran.stderr);
    assert!(ran.stderr.contains("waiting for it: web, edge"), "{}", ran.stderr);
}

#[test]
fn over_its_time_it_names_who_is_not_ready_and_why() {
    let port = Port::reserve();
    let project = Project::new(&format!(
        "[services.db]\nrun = [\"sleep\", \"1000\"]\nready = {{ tcp = \"127.0.0.1:{}\", every = \"50ms\" }}\n\
         [services.web]\nrun = [\"sleep\", \"1000\"]\nneeds = [\"db\"]\n",
        port.number
    ));
    let ran = project.run(&["up", "--timeout", "700ms"]).exits(4);
    let words = format!(
        "db (starting: 127.0.0.1:{}: connection refused), web (waiting for db)",
        port.number
    );
    assert!(ran.stderr.contains(&words), "{}", ran.stderr);
    let ran = project.run(&["up", "--timeout", "100ms", "--json"]).exits(4);
    let error = ran.refusal();
    assert_eq!(error["details"]["not_ready"], serde_json::json!(["db", "web"]));
    assert_eq!(error["details"]["why"]["web"], "waiting for db");
    assert_eq!(ran.json_lines().last().expect("an outcome")["result"], "timeout");
}

#[test]
fn at_the_end_it_tells_where_each_listens() {
    let port = Port::reserve();
    let number = port.number;
    let listener = port.listen();
    let project = Project::new(&format!(
        "[services.db]\nrun = [\"sleep\", \"1000\"]\nready = {{ tcp = {number} }}\n\
         [services.quiet]\nrun = [\"sleep\", \"1000\"]\nready = {{ settle = \"10ms\" }}\n",
    ));
    let ran = project.run(&["up"]).exits(0);
    assert!(ran.stderr.ends_with(&format!("\n  db  localhost:{number}\n")), "{}", ran.stderr);
    let ran = project.run(&["up", "--json"]).exits(0);
    assert_eq!(ran.stderr, "");
    drop(listener);
}

#[test]
fn down_says_who_went_along() {
    let project = Project::new(
        "[services.db]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"10ms\" }\n\
         [services.web]\nrun = [\"sleep\", \"1000\"]\nneeds = [\"db\"]\nready = { settle = \"10ms\" }\n\
         [services.other]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"10ms\" }\n",
    );
    project.run(&["up"]).exits(0);
    let ran = project.run(&["down", "db"]).exits(0);
    assert!(ran.stderr.contains("also taken down, for they need db: web"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("other"), "{}", ran.stderr);
    let ran = project.run(&["down", "other"]).exits(0);
    assert!(!ran.stderr.contains("also taken down"), "{}", ran.stderr);
}

#[test]
fn the_last_lines_of_a_failed_one_are_bounded_and_can_not_overwrite_what_stands() {
    let project = Project::new(
        "[services.loud]\nrestart = \"never\"\n\
         run = \"head -c 3000000 /dev/zero | tr '\\\\0' a; printf '\\\\nreal\\\\rfake\\\\r\\\\n'; exit 2\"\n",
    );
    let ran = project.run(&["up"]).exits(1);
    assert!(ran.stderr.len() < 20_000, "{} bytes", ran.stderr.len());
    let tail: Vec<&str> = ran.stderr.lines().filter_map(|line| line.strip_prefix("  | ")).collect();
    assert!(tail[0].ends_with(" bytes more)") && tail[0].starts_with("aaaa"), "{}", ran.stderr);
    assert_eq!(tail.last(), Some(&"real\u{fffd}fake"), "{}", ran.stderr);
    let ran = project.run(&["up", "--json"]).exits(1);
    assert!(ran.stdout.len() + ran.stderr.len() < 60_000, "{} bytes", ran.stdout.len());
}

#[test]
fn where_it_listens_is_told_as_it_is_after_the_files_port_was_changed() {
    let (one, other) = (Port::reserve(), Port::reserve());
    let file = |port: u16| {
        format!(
            "[services.web]\nrun = [\"sleep\", \"1000\"]\nport = {port}\nready = {{ settle = \"10ms\" }}\n"
        )
    };
    let project = Project::new(&file(one.number));
    let ran = project.run(&["up"]).exits(0);
    assert!(
        ran.stderr.ends_with(&format!("\n  web  localhost:{}\n", one.number)),
        "{}",
        ran.stderr
    );
    for verb in ["up", "restart"] {
        let port = if verb == "up" { &other } else { &one };
        project.write("hearth.toml", &file(port.number));
        let words: &[&str] = if verb == "up" { &["up"] } else { &["restart", "web"] };
        let ran = project.run(words).exits(0);
        let end = format!("\n  web  localhost:{}\n", port.number);
        assert!(ran.stderr.ends_with(&end), "{verb}: {}", ran.stderr);
    }
    // It is warm: nothing is asked for twice, and it is told all the same.
    let ran = project.run(&["up"]).exits(0);
    assert!(
        ran.stderr.ends_with(&format!("\n  web  localhost:{}\n", one.number)),
        "{}",
        ran.stderr
    );
}

#[test]
fn run_tells_where_its_service_listens_and_not_where_the_last_of_that_name_did() {
    let port = Port::reserve();
    let number = port.number.to_string();
    let listener = port.listen();
    let project = Project::empty();
    let sleep = ["--", "sleep", "1000"];
    let run = |more: &[&str]| {
        let words = [&["run", "--name", "web"], more, &sleep].concat();
        project.run(&words).exits(0).stderr
    };
    let told = run(&["--ready-tcp", &number]);
    assert!(told.contains(&format!("\n  web  localhost:{number}\n")), "{told}");
    project.run(&["down", "web"]).exits(0);
    let told = run(&[]);
    assert!(!told.contains("localhost"), "it listens nowhere that is known: {told}");
    project.run(&["down", "web"]).exits(0);
    drop(listener);
}

#[test]
fn a_time_too_short_for_any_answer_blames_nobody() {
    let project = Project::new(&CHAIN.replace("read x < db.gate; ", ""));
    project.home.run(&["daemon", "up"]).exits(0);
    let ran = project.run(&["up", "--timeout", "0s"]).exits(4);
    assert!(ran.stderr.contains("hint: a longer `--timeout`"), "{}", ran.stderr);
    for _ in 0..5 {
        let ran = project.run(&["up", "--timeout", "1ms"]).exits(4);
        assert!(!ran.stderr.contains("1ms: \n"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("--force"), "{}", ran.stderr);
        project.run(&["down"]).exits(0);
    }
}
