//! Verbs without an agent: what the home alone tells, and what is refused before one is started.

mod support;

use std::os::unix::fs::PermissionsExt;

use support::{Place, Ran, names_in};

const TWO: &str = "[services.db]\nrun = \"sleep 1\"\n[services.web]\nrun = [\"sleep\", \"1\"]\nneeds = [\"db\"]\n\
                   [services.off]\nrun = \"sleep 1\"\nenabled = false\nkind = \"oneshot\"\n";
const FAULTY: &str = "[services.web]\nrun = \"x\"\nrestrat = 1\nneeds = [\"db\"]\n";

#[test]
fn status_in_an_empty_home_has_a_row_a_service_and_leaves_no_trace() {
    let place = Place::with(TWO);
    let ran = place.run(&["status", "--json"]);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    let answer = ran.json();
    assert_eq!(answer["agent"]["state"], "down");
    let rows = answer["services"].as_array().expect("rows");
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["db", "web", "off"], "in the order of the file");
    for row in rows {
        assert_eq!(row["state"], "down");
        assert_eq!(row["project"], place.project().to_str().unwrap_or_default());
        assert!(row["want"].is_null() && row["pid"].is_null() && row["restarts"].is_null());
    }
    assert_eq!(rows[2]["kind"], "oneshot");
    assert!(names_in(&place.home()).is_empty());
    assert!(place.run(&["ps"]).out.contains("web"));
}

#[test]
fn a_held_record_is_a_service_of_which_nobody_can_tell_more() {
    let place = Place::with(TWO);
    let id = hearth_api::shim_id(place.project().to_str().unwrap_or_default(), "web");
    let shims = place.home().join("shims");
    std::fs::create_dir_all(&shims).expect("a directory");
    let file =
        hearth_process::locked::open(&shims.join(format!("{id}.rec")), true).expect("a record");
    let held = hearth_process::locked::LockedFile::exclusive(file).expect("its lock");
    let states = |place: &Place| -> Vec<String> {
        let answer = place.run(&["status", "--json", "--no-spawn"]).json();
        let rows = answer["services"].as_array().expect("rows").clone();
        rows.iter().map(|row| row["state"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(states(&place), ["down", "unknown", "down"]);
    // Not by closing it: a child that another test forks at this moment would still have it.
    rustix::fs::flock(held.file(), rustix::fs::FlockOperation::Unlock).expect("a lock");
    assert_eq!(states(&place), ["down", "down", "down"]);
}

#[test]
fn some_rows_can_be_asked_for_by_name() {
    let place = Place::with(TWO);
    let ran = place.run(&["status", "web", "--json"]);
    assert_eq!(ran.json()["services"].as_array().map(Vec::len), Some(1));
    let ran = place.run(&["status", "nope", "--json", "-q"]);
    assert_eq!((ran.code, &ran.error()["code"]), (5, &"not-found".into()));
}

#[test]
fn logs_of_what_never_ran_are_empty() {
    let place = Place::with(TWO);
    let ran = place.run(&["logs"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert_eq!(place.run(&["logs", "nope"]).code, 5);
}

#[test]
fn logs_of_a_name_that_nobody_knows_are_refused_without_a_file_to_go_by_too() {
    let place = Place::with("[services.web]\nrun = 1\n");
    let ran = place.run(&["logs", "nope"]);
    assert_eq!((ran.code, ran.out.as_str()), (5, ""), "{}", ran.err);
    let project = place.project();
    let dir =
        hearth_logs::dir(&place.home().join("logs"), project.to_str().unwrap_or_default(), "gone");
    std::fs::create_dir_all(dir).expect("a log");
    assert_eq!(place.run(&["logs", "gone"]).code, 0);
}

#[test]
fn an_environment_that_is_too_large_is_told_by_the_names_of_the_largest() {
    let place = Place::with(TWO);
    let mut command = place.command(&["up"]);
    for n in 0..10 {
        command.env(format!("BIG{n}"), "x".repeat(120_000));
    }
    let ran = Ran::of(command.output().expect("hearth runs"));
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err.contains("environment") && ran.err.contains("BIG9 (120000 bytes)"),
        "{}",
        ran.err
    );
}

#[test]
fn logs_are_read_from_the_home() {
    let place = Place::with(TWO);
    let project = place.project();
    let project = project.to_str().unwrap_or_default();
    let logs = place.home().join("logs");
    let limits = hearth_logs::Limits { max_size: 4096, keep: 2 };
    let mut at = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for (service, text) in
        [("db", "one\n"), ("web", "\x1b[31mtwo\x1b[0m\n"), ("off", "not asked for\n")]
    {
        let dir = hearth_logs::dir(&logs, project, service);
        let mut writer = hearth_logs::Writer::open(&dir, limits, 1).expect("a log");
        writer.write(hearth_logs::Stream::Stdout, text.as_bytes(), at).expect("a line");
        at += std::time::Duration::from_secs(1);
    }
    assert_eq!(place.run(&["logs"]).out, "db | one\nweb | two\n");
    assert_eq!(place.run(&["logs", "db", "--timestamps"]).out, "2001-09-09T01:46:40.000Z one\n");
    assert_eq!(place.run(&["logs", "web", "--color", "always"]).out, "\x1b[31mtwo\x1b[0m\n");
    assert_eq!(place.run(&["logs", "-n", "0"]).out, "");
    let line = place.run(&["logs", "db", "-n", "1", "--json"]).json();
    assert_eq!((&line["service"], &line["line"]), (&"db".into(), &"one".into()));
    assert_eq!((&line["stream"], &line["life"]), (&"stdout".into(), &1.into()));
}

#[test]
fn logs_since_a_time_and_with_coloured_names_are_read_from_the_home() {
    let place = Place::with(TWO);
    let logs = place.home().join("logs");
    let project = place.project();
    let limits = hearth_logs::Limits { max_size: 4096, keep: 2 };
    for (service, stream) in
        [("db", hearth_logs::Stream::Stdout), ("web", hearth_logs::Stream::Stderr)]
    {
        let dir = hearth_logs::dir(&logs, project.to_str().unwrap_or_default(), service);
        let mut writer = hearth_logs::Writer::open(&dir, limits, 3).expect("a log");
        for second in 0..4_u64 {
            let at = std::time::SystemTime::UNIX_EPOCH
                + std::time::Duration::from_secs(1_000_000_000 + second);
            let line = format!("{service} {second}\n");
            writer.write(stream, line.as_bytes(), at).expect("a line");
        }
        let now = std::time::SystemTime::now();
        writer.write(stream, b"\x1b[1mnow\n", now).expect("a line");
    }
    let out = |arguments: &[&str]| {
        let ran = place.run(&[&["logs"], arguments].concat());
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
        ran.out
    };
    assert_eq!(out(&["--since", "2m"]), "db | now\nweb | now\n");
    assert_eq!(out(&["--since", "2m", "-n", "1", "web"]), "now\n");
    assert_eq!(
        out(&["--since", "2001-09-09T03:46:43+02:00"]),
        "db | db 3\nweb | web 3\ndb | now\nweb | now\n"
    );
    assert_eq!(out(&["--since", "2001-09-09T01:46:43Z", "-n", "2", "db"]), "db 3\nnow\n");
    assert_eq!(out(&["--since", "2200-01-01T00:00:00Z"]), "");
    let colours = out(&["-n", "1", "--color", "always"]);
    let name = |color, name| format!("\x1b[{color}m{name} | \x1b[0m\x1b[1mnow\x1b[0m\n");
    let (db, web) = (name("36", "db"), name("33", "web"));
    assert!(colours == format!("{db}{web}") || colours == format!("{web}{db}"), "{colours:?}");
    // The same colour whoever else is shown: `web` stands second in the file.
    assert!(out(&["-n", "1", "off", "web", "--color", "always"]).starts_with("\x1b[33mweb"));
    let timed = out(&["--timestamps", "-n", "9"]);
    assert!(timed.starts_with("db | 2001-09-09T01:46:40.000Z db 0\nweb | 2001"), "{timed}");
    let json = out(&["web", "-n", "1", "--json"]);
    let line: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&line["stream"], &line["life"]), (&"stderr".into(), &3.into()));
    assert!(line["at"].is_string());
}

#[test]
fn a_time_that_is_none_is_refused_with_what_is_accepted() {
    let place = Place::with(TWO);
    for time in ["10", "soon", "2026-01-01", "2026-01-01T10:00:00", "2026-13-01T10:00:00Z", ""] {
        let ran = place.run(&["logs", "--since", time, "--json"]);
        assert_eq!((ran.code, &ran.error()["code"]), (2, &"usage".into()), "{time}");
        let message = ran.error()["message"].to_string();
        assert!(message.contains("10m") && message.contains("T10:00:00Z"), "{message}");
    }
}

#[test]
fn down_of_what_is_down_is_done() {
    let place = Place::with(TWO);
    for arguments in
        [&["down"][..], &["down", "web"], &["down", "--all"], &["daemon", "down", "--services"]]
    {
        let ran = place.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{arguments:?}: {}", ran.err);
    }
    assert_eq!(place.run(&["down", "nope"]).code, 5);
    let line = place.run(&["down", "--json"]).json();
    assert_eq!((&line["type"], &line["result"]), (&"outcome".into(), &"down".into()));
    assert_eq!(line["agent"]["state"], "down");
}

#[test]
fn verbs_that_need_an_agent_say_why_there_is_none() {
    let place = Place::with(TWO);
    for arguments in
        [&["up"][..], &["restart", "web"], &["health"], &["daemon", "up"], &["daemon", "status"]]
    {
        let ran = place.run(&[arguments, &["--json"][..]].concat());
        assert_eq!(ran.code, 3, "{arguments:?}");
        let error = ran.error();
        assert_eq!(error["code"], "down", "{arguments:?}");
        assert_eq!(error["details"]["state"], "down");
        assert!(error["details"]["duration_ms"].is_number());
        assert!(error["details"]["reason"].is_string() && error["details"]["log"].is_string());
    }
    assert!(names_in(&place.home()).is_empty());
}

#[test]
fn daemon_status_tells_where_the_agent_would_be() {
    let place = Place::with(TWO);
    let answer = place.run(&["daemon", "status", "--json"]).json();
    assert_eq!(answer["state"], "down");
    assert_eq!(answer["home"], place.home().to_str().unwrap_or_default());
    assert!(answer["socket"].is_string() && answer["log"].is_string());
    assert!(answer["pid"].is_null() && answer["last"].is_null());
}

#[test]
fn no_project_is_exit_5_with_a_hint() {
    let place = Place::new();
    for arguments in
        [&["up"][..], &["down"], &["restart", "x"], &["status"], &["logs"], &["config", "check"]]
    {
        let ran = place.run(&[arguments, &["--json"][..]].concat());
        assert_eq!(ran.code, 5, "{arguments:?}: {}", ran.err);
        let error = ran.error();
        assert_eq!(error["code"], "not-found");
        assert!(error["hint"].as_str().unwrap_or_default().contains("hearth init"));
    }
    assert_eq!(place.run(&["status", "--all"]).code, 0);
}

#[test]
fn a_faulty_file_stops_what_starts_and_nothing_else() {
    let place = Place::with(FAULTY);
    for arguments in [&["up"][..], &["restart", "web"], &["config", "check"]] {
        let ran = place.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        for part in ["hearth.toml:3:1", "restrat", "^^^^^^^", "expected: ", "`db`"] {
            assert!(ran.err.contains(part), "{arguments:?}: {part}: {}", ran.err);
        }
        let ran = place.run(&[arguments, &["--json"][..]].concat());
        let error = ran.error();
        assert_eq!(error["code"], "bad-config");
        assert_eq!(error["details"]["faults"].as_array().map(Vec::len), Some(2));
    }
    for arguments in [&["status"][..], &["logs"], &["down"]] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("hearth.toml:3"), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn config_check_lists_the_faults() {
    let place = Place::with(FAULTY);
    let answer = place.run(&["config", "check", "--json"]).json();
    assert_eq!(answer["ok"], false);
    let fault = &answer["faults"][0];
    assert_eq!((&fault["line"], &fault["column"]), (&3.into(), &1.into()));
    assert!(
        fault["message"].is_string() && fault["expected"].is_string() && fault["file"].is_string()
    );
    let place = Place::with(TWO);
    assert_eq!(place.run(&["config", "check", "--json"]).json()["ok"], true);
}

#[test]
fn init_writes_a_good_file_and_never_over_one() {
    let place = Place::new();
    assert_eq!(place.run(&["init"]).code, 0);
    assert_eq!(place.run(&["config", "check"]).code, 0);
    let file = place.project().join("hearth.toml");
    std::fs::write(&file, "# mine\n").expect("a file");
    let ran = place.run(&["init", "--json"]);
    assert_eq!((ran.code, &ran.error()["code"]), (2, &"usage".into()));
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "# mine\n");
}

#[test]
fn a_file_that_others_can_write_is_believed_only_by_name() {
    let place = Place::with(TWO);
    let file = place.project().join("hearth.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o646)).expect("chmod");
    for arguments in [&["up"][..], &["status"], &["config", "check"]] {
        let ran = place.run(&[arguments, &["--json"][..]].concat());
        assert_eq!((ran.code, &ran.error()["code"]), (2, &"forbidden".into()), "{arguments:?}");
    }
    assert_eq!(place.run(&["-C", ".", "config", "check"]).code, 0);
    // It lifts the check for its own directory, not for one above it.
    let below = place.project().join("below");
    std::fs::create_dir(&below).expect("a directory");
    assert_eq!(place.run(&["-C", "below", "config", "check"]).code, 2);
}

#[test]
fn a_project_is_found_from_below() {
    let place = Place::with(TWO);
    std::fs::create_dir_all(place.project().join("a/b")).expect("directories");
    let answer = place.run(&["-C", "a/b", "status", "--json"]).json();
    assert_eq!(answer["services"][0]["project"], place.project().to_str().unwrap_or_default());
}

#[test]
fn version_starts_nothing() {
    let place = Place::new();
    let answer = place.run(&["version", "--json"]).json();
    assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
    assert!(answer["agent"].is_null());
    assert!(names_in(&place.home()).is_empty());
}
