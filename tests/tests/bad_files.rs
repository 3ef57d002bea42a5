//! Faulty files, commands that can't run, and files that change or go while their services run.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use hearth_tests::{Project, Ran, is_root, runs};

const SLEEPER: &str = "[services.s]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

const FAULTY: &str = r#"[services.a]
run = ["sleep", "1000"]
colour = "red"
needs = ["nobody"]

[services.b]
run = 7
ready = { log = "(" }
start_timeout = "soon"

[services.c]
run = "sleep 1000"
dir = "not/there"
needs = ["d"]

[services.d]
run = "sleep 1000"
needs = ["c"]
"#;

#[test]
fn all_faults_are_shown_at_once_and_nothing_is_started() {
    let project = Project::new(FAULTY);
    let ran = project.run(&["up"]).exits(2);
    assert_eq!(ran.stdout, "");
    let words = [
        "hearth.toml:3",
        "colour",
        "nobody",
        "hearth.toml:7",
        "hearth.toml:8",
        "soon",
        "not/there",
        "c -> d -> c",
        "^",
    ];
    for word in words {
        assert!(ran.stderr.contains(word), "no `{word}` in:\n{}", ran.stderr);
    }
    assert!(ran.stderr.contains("colour = \"red\""), "the text is shown:\n{}", ran.stderr);
    for verb in [&["restart", "a"][..], &["up", "a"]] {
        project.run(verb).exits(2);
    }
    assert!(
        !project.home.path("shims").exists()
            || fs::read_dir(project.home.path("shims")).unwrap().count() == 0
    );
    let check = project.run(&["config", "check", "--json"]).exits(2).json();
    assert_eq!(check["ok"], false);
    let faults = check["faults"].as_array().unwrap();
    let mut lines: Vec<u64> = faults.iter().map(|fault| fault["line"].as_u64().unwrap()).collect();
    lines.dedup();
    assert_eq!(lines[..5], [3, 4, 7, 8, 9], "in the order of the file: {lines:?}");
    for fault in faults {
        assert!(fault["file"].as_str().unwrap().ends_with("hearth.toml"), "{fault}");
        assert!(fault["column"].as_u64().unwrap() >= 1, "{fault}");
        assert!(fault["message"].is_string() && fault["expected"].is_string(), "{fault}");
    }
    project.write("hearth.toml", SLEEPER);
    assert_eq!(
        project.run(&["config", "check", "--json"]).exits(0).json(),
        serde_json::json!({"ok": true, "faults": []})
    );
}

#[test]
fn a_file_that_is_no_toml_is_shown_where_it_breaks() {
    let project = Project::new("[services.a]\nrun = [\"sleep\"\n\nx = 1\n");
    let ran = project.run(&["up"]).exits(2);
    assert!(ran.stderr.contains("hearth.toml:") && ran.stderr.contains('^'), "{}", ran.stderr);
}

#[test]
fn what_only_the_whole_can_tell_is_told_before_anything_is_started() {
    let of_service = [
        ("port = 0", "bad port `0`"),
        ("env_file = \".env\"", "`.env` can't be read: it is missing"),
        ("ready = { unix = \"~/x\" }", "`~` is not expanded"),
        ("env = { A = \"${port}\" }", "`${port}` but `a` has no `port`"),
        ("env = { A = \"${B\" }", "`${` without `}`"),
        ("needs = [\"c\"]\n[checks.c]\nready = { tcp = 1 }\nneeds = [\"a\"]", "a -> c -> a"),
        ("port = 80\n[services.b]\nrun = \"x\"\nport = 80", "`a` and `b` are both on port 80"),
        ("[groups]\ndev = [\"b\"]", "unknown service `b`"),
        ("[groups]\na = [\"a\"]", "`a` is a service already"),
    ];
    for (key, told) in of_service {
        let project = Project::new(&format!("[services.a]\nrun = [\"sleep\", \"1\"]\n{key}\n"));
        let ran = project.run(&["up"]).exits(2);
        assert!(ran.stderr.contains(told) && ran.stderr.contains('^'), "{key}:\n{}", ran.stderr);
        assert_eq!(project.home.agent_pid(), None, "{key}");
    }
}

#[test]
fn the_local_file_and_the_env_files_count_and_are_told_by_name() {
    let project = Project::new(SLEEPER);
    project.write("hearth.local.toml", "[services.s]\nenv_file = \".env\"\nlinger = \"0\"\n");
    project.write(".env", "SECRET=hunter2\nno line\n");
    let ran = project.run(&["up"]).exits(2);
    for words in ["hearth.local.toml:3:10", "a number without a unit", ".env:2:", "no `=`"] {
        assert!(ran.stderr.contains(words), "no {words}:\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("no line"), "what stands in it is nobody's:\n{}", ran.stderr);
    project.write(".env", "SECRET=hunter2\n");
    project.write("hearth.local.toml", "[services.s]\nenv_file = \".env\"\nlinger = \"0s\"\n");
    project.run(&["config", "check"]).exits(0);
    let shown = project.run(&["config", "show"]).exits(0).stdout;
    for line in ["linger = \"0s\"", "env_file = [\".env\"]", "run = [\"sleep\", \"1000\"]"] {
        assert!(shown.lines().any(|shown| shown == line), "no {line}:\n{shown}");
    }
    let json = project.run(&["config", "show", "--json"]).exits(0).json();
    assert_eq!(json["services"]["s"]["linger"], "0s");
    // What is shown is a file itself.
    fs::remove_file(project.dir().join("hearth.local.toml")).unwrap();
    project.write("hearth.toml", &shown);
    assert_eq!(project.run(&["config", "show"]).exits(0).stdout, shown);
}

#[test]
fn an_env_file_that_others_can_write_runs_nothing() {
    let project = Project::new(&format!("{SLEEPER}env_file = \".env\"\n"));
    // The last table of the file is `services.s`.
    project.write(".env", "");
    fs::set_permissions(project.dir().join(".env"), fs::Permissions::from_mode(0o666)).unwrap();
    let ran = project.run(&["up"]).exits(2);
    assert!(ran.stderr.contains(".env (owner ") && ran.stderr.contains("chmod"), "{}", ran.stderr);
    assert_eq!(project.home.agent_pid(), None);
}

#[test]
fn a_check_of_a_file_counts_and_needs_no_service() {
    let project = Project::new("");
    assert!(project.run(&["config", "check"]).exits(0).stdout.ends_with(": ok, 0 services\n"));
    project.write("hearth.toml", &format!("{SLEEPER}[checks.c]\nready = {{ tcp = 1 }}\n"));
    let told = project.run(&["config", "check"]).exits(0).stdout;
    assert!(told.ends_with(": ok, 1 service, 1 check\n"), "{told}");
    // Wherever one stands.
    let schema = Project::empty().run(&["config", "schema"]).exits(0).json();
    assert_eq!(schema["title"], "hearth.toml");
}

#[test]
fn an_unknown_service_is_not_found_and_the_known_ones_are_named() {
    let project = Project::new(SLEEPER);
    for verb in ["up", "down", "restart", "status", "logs"] {
        let cold = project.run(&[verb, "nosuch"]).exits(5);
        assert!(cold.stderr.contains("nosuch") && cold.stderr.contains('s'), "{}", cold.stderr);
    }
    project.run(&["up"]).exits(0);
    for verb in ["up", "down", "restart", "status", "logs"] {
        let warm = project.run(&[verb, "nosuch", "--json"]).exits(5);
        assert_eq!(warm.refusal()["code"], "not-found", "{verb}");
    }
    assert_eq!(project.state("s"), "ready");
}

#[test]
fn of_very_many_services_the_probable_one_is_named_and_not_all_of_them() {
    let service = |n| format!("[services.service{n}]\nrun = [\"true\"]\n");
    let file: String = (0..3000).map(service).collect();
    let project = Project::new(&format!("{SLEEPER}[services.frontend]\nrun = [\"true\"]\n{file}"));
    for cold in [true, false] {
        let ran = project.run(&["up", "frontned", "\u{1b}[31mred", "s"]).exits(5);
        assert!(ran.stderr.contains("`frontned`, `\\u{1b}[31mred`"), "both: {}", ran.stderr);
        assert!(ran.stderr.contains("did you mean frontend? its services: s,"), "{}", ran.stderr);
        for verb in ["up", "down", "restart", "status"] {
            let ran = project.run(&[verb, "frontned"]).exits(5);
            assert!(ran.stderr.len() < 1000, "{verb}: {} bytes", ran.stderr.len());
            assert!(ran.stderr.contains("and 2982 more"), "{verb}: {}", ran.stderr);
            assert!(ran.stderr.contains("did you mean"), "{verb}: {}", ran.stderr);
        }
        if cold {
            project.run(&["up", "s"]).exits(0);
        }
    }
}

#[test]
fn up_of_what_run_has_begun_says_what_it_is() {
    let project = Project::new(SLEEPER);
    project.run(&["run", "--name", "loose", "--", "sleep", "1000"]).exits(0);
    let ran = project.run(&["up", "loose"]).exits(5);
    assert!(ran.stderr.contains("`hearth run` began it"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: `hearth status loose`"), "{}", ran.stderr);
}

fn fails(run: &str, prepare: impl Fn(&Project)) -> Ran {
    let project = Project::new(&format!(
        "[services.s]\nrun = {run}\nrestart = \"never\"\nready = {{ settle = \"30s\" }}\n"
    ));
    prepare(&project);
    let ran = project.run(&["up"]).exits(1);
    assert!(ran.stderr.contains("`s` failed") && ran.stdout.is_empty(), "{ran:?}");
    assert_eq!(project.state("s"), "failed");
    let down = project.run(&["down"]).exits(0);
    assert_eq!(down.stdout, "");
    ran
}

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.stderr.contains(word), "no `{word}` in:\n{}", ran.stderr);
    }
}

#[test]
fn a_command_that_is_not_found_is_named() {
    says(&fails("[\"no-such-program\", \"x\"]", |_| ()), &["`no-such-program` is not in PATH"]);
    says(&fails("\"no-such-program x\"", |_| ()), &["127", "no-such-program"]);
}

#[test]
fn a_command_that_is_not_executable_is_named() {
    let ran = fails("[\"./script\"]", |project| project.write("script", "#!/bin/sh\nexit 0\n"));
    says(&ran, &["script", "executable"]);
}

#[test]
fn a_bad_interpreter_is_named() {
    let ran = fails("[\"./script\"]", |project| {
        project.write("script", "#!/no/such/interpreter\n");
        let path = project.dir().join("script");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    });
    says(&ran, &["script", "/no/such/interpreter"]);
}

#[test]
fn a_service_that_dies_at_once_shows_its_exit_and_last_lines() {
    let ran = fails("\"echo starting; echo cannot bind >&2; exit 4\"", |_| ());
    says(&ran, &["code 4", "| starting", "| cannot bind", "hearth logs s"]);
    let ran = fails("\"echo hm; kill -SEGV $$\"", |_| ());
    says(&ran, &["SIGSEGV", "| hm"]);
}

#[test]
fn a_service_that_dies_again_and_again_is_given_up() {
    let project = Project::new(
        "[services.s]\nrun = \"echo $$ >> lives; exit 4\"\nbackoff = { min = \"1ms\" }\n\
         give_up = { failures = 3, within = \"60s\" }\n",
    );
    let ran = project.run(&["up"]).exits(1);
    says(&ran, &["code 4", "3"]);
    assert_eq!(project.read("lives").lines().count(), 3);
    assert_eq!(project.row("s")["restarts"], 2);
}

#[test]
fn a_file_that_others_may_write_runs_no_code() {
    let project = Project::new(SLEEPER);
    let file = project.dir().join("hearth.toml");
    let refused = |words: &str| {
        for verb in [&["up", "--json"][..], &["status", "--json"], &["restart", "s", "--json"]] {
            let refusal = project.run(verb).exits(2).refusal();
            assert_eq!(refusal["code"], "forbidden", "{verb:?}");
            assert!(refusal["message"].as_str().unwrap().contains(words), "{refusal}");
            assert!(refusal["hint"].as_str().unwrap().contains("-C"), "{refusal}");
        }
        assert_eq!(project.home.agent_pid(), None);
    };
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    refused("hearth.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(project.dir(), fs::Permissions::from_mode(0o777)).unwrap();
    refused("project");
    fs::set_permissions(project.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    if is_root("a file of somebody else") {
        chown(&file, Some(65534), Some(65534)).unwrap();
        refused("hearth.toml");
    }
    // From a directory below, -C that names another directory does not lift it.
    let below = project.dir().join("below");
    fs::create_dir(&below).unwrap();
    if is_root("a file of somebody else") {
        project.run(&["-C", "below", "up"]).exits(2);
    }
    project.run(&["-C", ".", "up"]).exits(0);
}

#[test]
fn in_no_project_there_is_a_hint() {
    let project = Project::empty();
    for verb in [
        &["up", "--json"][..],
        &["status", "--json"],
        &["down", "--json"],
        &["restart", "s", "--json"],
    ] {
        let refusal = project.run(verb).exits(5).refusal();
        assert_eq!(refusal["code"], "not-found", "{verb:?}");
        assert!(refusal["hint"].as_str().unwrap().contains("hearth init"), "{refusal}");
    }
    project.run(&["init"]).exits(0);
    project.run(&["config", "check"]).exits(0);
    // What is there is not written over.
    let text = project.read("hearth.toml");
    assert_ne!(project.run(&["init"]).code, Some(0));
    assert_eq!(project.read("hearth.toml"), text);
}

#[test]
fn a_file_broken_while_its_services_run_changes_nothing() {
    let project = Project::new(SLEEPER);
    project.run(&["up"]).exits(0);
    let pid = project.pid("s");
    project.write("hearth.toml", FAULTY);
    project.run(&["up"]).exits(2);
    project.run(&["restart", "s"]).exits(2);
    let status = project.run(&["status", "--json"]).exits(0);
    assert_eq!(status.json()["services"][0]["pid"], pid);
    assert_eq!(status.stderr.lines().count(), 1, "one line: {}", status.stderr);
    assert!(status.stderr.contains("faulty"), "{}", status.stderr);
    project.run(&["logs", "s"]).exits(0);
    // The agent that adopts does not need the file.
    project.home.kill_agent();
    assert_eq!(project.pid("s"), pid);
    let down = project.run(&["down"]).exits(0);
    assert!(!runs(pid), "{}", down.stderr);
}

#[test]
fn a_file_removed_while_its_services_run_leaves_them() {
    let project = Project::new(SLEEPER);
    project.run(&["up"]).exits(0);
    let pid = project.pid("s");
    fs::remove_file(project.dir().join("hearth.toml")).unwrap();
    assert_eq!(project.pid("s"), pid);
    project.run(&["up"]).exits(5);
    project.run(&["logs", "s"]).exits(0);
    project.run(&["down"]).exits(0);
    assert!(!runs(pid));
}
