//! `hearth enable`: up again after a boot, and after nothing else; with an environment of files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hearth_process::Signal;
use hearth_process::locked::{self, LockedFile};
use hearth_tests::http::{refused, request};
use hearth_tests::{Project, Ran};
use serde_json::{Value, json};

/// Power fails: all ends at once, and what is on disk is of another boot.
fn reboot(project: &Project) {
    end_all(project);
    let records = fs::read_dir(project.home.path("shims")).into_iter().flatten().flatten();
    for path in records.map(|entry| entry.path()) {
        if path.extension().is_none_or(|kind| kind != "rec") {
            continue;
        }
        let Ok(locked::Record::Valid(bytes)) = locked::read_path(&path) else { continue };
        let mut record: Value = serde_json::from_slice(&bytes).unwrap();
        for of in ["shim", "leader"] {
            record[of]["boot"] = "00000000-another-boot".into();
        }
        let file = LockedFile::exclusive(locked::open(&path, false).unwrap()).unwrap();
        file.write(&serde_json::to_vec(&record).unwrap()).unwrap();
    }
    let mut state = state(project);
    state["boot"] = "00000000-another-boot".into();
    fs::write(project.home.path("state.json"), state.to_string()).unwrap();
}

fn end_all(project: &Project) {
    let _election = match project.home.path("shims").exists() {
        true => Some(project.home.kill_agent_for_good()),
        false => None,
    };
    loop {
        let mut all = project.home.processes();
        if all.is_empty() {
            return;
        }
        // Stopped, a shim tells nobody of its service's end.
        all.sort_by_key(|process| !process.command.starts_with("hearth shim"));
        for process in all {
            let Ok(handle) = hearth_process::ProcessHandle::open(&process.id) else { continue };
            let _ = handle.signal(Signal::KILL);
            let _ = handle.wait();
        }
    }
}

fn state(project: &Project) -> Value {
    serde_json::from_str(&fs::read_to_string(project.home.path("state.json")).unwrap()).unwrap()
}

fn boot_check(project: &Project) -> (String, String) {
    let report = project.home.run(&["health", "--json"]).json();
    let check = &report["checks"]["boot"];
    let text = |field: &str| check[field].as_str().unwrap_or_else(|| panic!("{report}")).to_owned();
    (text("status"), text("message"))
}

fn at(project: &Project, dir: &Path, arguments: &[&str]) -> Ran {
    project.ran(project.command(arguments).current_dir(dir))
}

const ORDERED: &str = r#"
    [services.web]
    run = "env > web.env; echo web >> order; echo $$ >> pids; echo up; exec sleep 1000"
    needs = ["db"]
    env_file = [".env"]
    env = { GIVEN = "here" }
    ready = { log = "up" }
    [services.db]
    run = "echo db >> order; echo up; exec sleep 1000"
    ready = { log = "up" }
    [services.other]
    run = "exec sleep 1000"
    ready = { settle = "0s" }
    [services.aside]
    run = "exec sleep 1000"
    enabled = false
    [groups]
    some = ["other", "aside"]
"#;

#[test]
fn what_is_enabled_is_up_after_a_boot_with_an_environment_of_files() {
    let project = Project::new(ORDERED);
    project.write(".env", "OF_FILE=yes\n");
    project.run(&["enable", "web"]).exits(0);
    assert_eq!(project.state("web"), "down", "nothing is brought up by it");
    let up = project.ran(project.command(&["up"]).env("OF_SHELL", "secret"));
    up.exits(0);
    assert!(project.read("web.env").contains("OF_SHELL=secret\n"));
    let boot = |name: &str| project.row(name)["boot"].clone();
    assert_eq!([boot("web"), boot("db"), boot("other")], [true, false, false]);
    assert!(!state(&project).to_string().contains("secret"));
    reboot(&project);
    fs::remove_file(project.dir().join("order")).unwrap();
    fs::remove_file(project.dir().join("web.env")).unwrap();
    // The shell that happens to start the agent is not asked either.
    project.ran(project.command(&["daemon", "up"]).env("OF_SHELL", "secret")).exits(0);
    project.watch(&["web"]).until_state("web", "ready");
    assert_eq!(project.read("order"), "db\nweb\n");
    let env = project.read("web.env");
    let has = |line: &str| env.lines().any(|is| is == line);
    assert!(has("OF_FILE=yes") && has("GIVEN=here") && !env.contains("OF_SHELL"), "{env}");
    let home = format!("HEARTH_HOME={}", project.home.dir().display());
    assert!(env.contains("PATH=") && has(&home) && !env.contains("HEARTH_NO_AUTOSPAWN"), "{env}");
    assert_eq!(project.row("web")["held_by"], json!([{ "type": "up" }]));
    assert_eq!(project.row("db")["held_by"], json!([{ "type": "dependent", "service": "web" }]));
    for name in ["other", "aside"] {
        let row = project.row(name);
        assert_eq!((&row["state"], &row["want"]), (&json!("down"), &json!("down")), "{row}");
    }
    assert_eq!(boot_check(&project), ("success".into(), "1 service is enabled".into()));
}

#[test]
fn in_the_same_boot_the_last_word_counts() {
    let project = Project::new(ORDERED);
    project.write(".env", "");
    project.run(&["enable"]).exits(0);
    reboot(&project);
    project.run(&["daemon", "up"]).exits(0);
    project.watch(&["web"]).until_state("web", "ready");
    let pid = project.pid("web");
    project.home.kill_agent();
    assert_eq!(project.pid("web"), pid, "taken over, not doubled");
    assert_eq!(project.await_lines("pids", 1).len(), 1);
    project.run(&["down", "web"]).exits(0);
    let _election = project.home.kill_agent_for_good();
    project.run(&["daemon", "up"]).exits(0);
    assert_eq!([project.state("web"), project.state("db")], ["down", "ready"]);
    project.run(&["daemon", "restart"]).exits(0);
    assert_eq!([project.state("web"), project.state("db")], ["down", "ready"]);
}

/// What is enabled is so until it is disabled: `down` is a word for this boot.
#[test]
fn what_was_taken_down_after_a_boot_is_up_again_after_the_next() {
    let project = Project::new(
        r#"
        [services.web]
        run = "echo $PORT >> ports; exec sleep 1000"
        port = "auto"
        needs = ["once"]
        ready = { settle = "0s" }
        [services.once]
        run = "echo once >> ports"
        kind = "oneshot"
    "#,
    );
    project.run(&["enable", "web"]).exits(0);
    for boot in 1..=2 {
        reboot(&project);
        project.run(&["daemon", "up"]).exits(0);
        project.watch(&["web"]).until_state("web", "ready");
        let ports = project.await_lines("ports", 2 * boot);
        assert_eq!(ports[2 * boot - 2], "once", "{ports:?}");
        let port = project.row("web")["ports"][0].to_string();
        assert_eq!(ports[2 * boot - 1], port, "{ports:?}");
        project.run(&["down"]).exits(0);
        assert_eq!(project.row("web")["boot"], true);
    }
}

#[test]
fn what_is_disabled_is_not_up_after_a_boot() {
    let project = Project::new(ORDERED);
    project.write(".env", "");
    let answer = project.run(&["enable", "web", "some", "--json"]).exits(0);
    assert_eq!(answer.json(), json!({ "services": ["web", "other", "aside"], "left": 3 }));
    assert!(answer.stderr.contains("first verb after a boot"), "{}", answer.stderr);
    let again = project.run(&["enable", "web", "--json"]).exits(0);
    assert_eq!(again.json(), json!({ "services": ["web"], "left": 3 }));
    project.run(&["up", "db"]).exits(0);
    let answer = project.run(&["disable", "some", "--json"]).exits(0);
    assert_eq!(answer.json(), json!({ "services": ["other", "aside"], "left": 1 }));
    let answer = project.run(&["disable"]).exits(0);
    assert!(answer.stdout.is_empty() && answer.stderr.contains(": web\n"), "{answer:?}");
    let answer = project.run(&["disable"]).exits(0);
    assert!(answer.stderr.contains("nothing of this project is enabled"), "{answer:?}");
    reboot(&project);
    project.run(&["daemon", "up"]).exits(0);
    for name in ["web", "db", "other", "aside"] {
        assert_eq!(project.row(name)["want"], "down", "{name}");
    }
    assert_eq!(boot_check(&project), ("success".into(), String::new()));
}

#[test]
fn a_project_that_cannot_be_believed_is_told_and_holds_no_other_up() {
    let service = |name: &str| {
        format!("[services.{name}]\nrun = \"exec sleep 1000\"\nready = {{ settle = \"0s\" }}\n")
    };
    let project = Project::new(&service("good"));
    let beside = |name: &str| project.beside(name, &(service("a") + &service("b")));
    let [faulty, gone, lost, planted] = ["faulty", "gone", "lost", "planted"].map(beside);
    project.run(&["enable"]).exits(0);
    for dir in [&faulty, &gone, &lost, &planted] {
        at(&project, dir, &["enable"]).exits(0);
    }
    reboot(&project);
    fs::write(faulty.join("hearth.toml"), "[services.a]\nrun = 3\n").unwrap();
    fs::remove_dir_all(&gone).unwrap();
    fs::write(lost.join("hearth.toml"), service("a")).unwrap();
    let file = planted.join("hearth.toml");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    project.run(&["daemon", "up"]).exits(0);
    project.watch(&["good"]).until_state("good", "ready");
    let status = project.run(&["status", "--all", "--json"]).exits(0).json();
    let up: Vec<(&str, &str)> = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["want"] == "up")
        .map(|row| (row["project"].as_str().unwrap(), row["name"].as_str().unwrap()))
        .collect();
    let path = |dir: &Path| dir.to_str().unwrap().to_owned();
    assert_eq!(up, [(&*path(&lost), "a"), (&*path(project.dir()), "good")]);
    let (status, words) = boot_check(&project);
    assert_eq!(status, "failure");
    let log = fs::read_to_string(project.home.path("agent.log")).unwrap();
    for (dir, names, why) in [
        (&faulty, "a, b", "hearth.toml:2: "),
        (&gone, "a, b", "gone/hearth.toml"),
        (&lost, "b", "not in "),
        (&planted, "a, b", "can be written by everybody"),
    ] {
        let told = format!("{names} of {} did not come up after the boot: ", path(dir));
        let at = words.find(&told).unwrap_or_else(|| panic!("{told} in {words}"));
        let rest = words[at + told.len()..].split("; ").next().unwrap();
        assert!(rest.contains(why), "{why} in {rest}");
        assert!(log.contains("not brought up") && log.contains(why), "{why} in {log}");
    }
    // Each is over when it is mended, or wanted no longer.
    fs::write(faulty.join("hearth.toml"), service("a") + &service("b")).unwrap();
    at(&project, &faulty, &["up"]).exits(0);
    project.run(&["-C", &path(&gone), "disable"]).exits(0);
    at(&project, &lost, &["disable", "b"]).exits(0);
    fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let words = boot_check(&project).1;
    assert!(words.starts_with(&format!("a, b of {}", path(&planted))), "{words}");
    assert_eq!(words.matches("did not come up").count(), 1, "{words}");
    // It is told by the agent that takes this one's place, too.
    project.run(&["daemon", "restart"]).exits(0);
    assert_eq!(boot_check(&project).1, words);
    at(&project, &planted, &["up"]).exits(0);
    assert_eq!(boot_check(&project), ("success".into(), "6 services are enabled".into()));
}

#[test]
fn a_service_comes_back_to_its_file_and_is_enabled_still() {
    let text = "[services.a]\nrun = \"exec sleep 1000\"\nready = { settle = \"0s\" }\n";
    let project = Project::new(text);
    project.run(&["enable"]).exits(0);
    reboot(&project);
    project.write("hearth.toml", "[services.b]\nrun = \"exec sleep 1000\"\n");
    project.run(&["daemon", "up"]).exits(0);
    assert_eq!(boot_check(&project).0, "failure");
    reboot(&project);
    project.write("hearth.toml", text);
    project.run(&["daemon", "up"]).exits(0);
    project.watch(&["a"]).until_state("a", "ready");
    assert_eq!(boot_check(&project).0, "success");
}

#[test]
fn what_has_no_file_any_more_can_be_disabled_and_no_other_is_meant() {
    let text = "[services.a]\nrun = \"exec sleep 1000\"\nready = { settle = \"0s\" }\n";
    let project = Project::new(text);
    project.run(&["enable"]).exits(0);
    let below = project.dir().join("below");
    fs::create_dir(&below).unwrap();
    fs::write(below.join("hearth.toml"), "[services.a]\n").unwrap();
    let left = |ran: Ran| ran.exits(0).json()["left"].clone();
    assert_eq!(left(at(&project, &below, &["disable", "--json"])), 1, "faulty, and a project");
    fs::remove_file(below.join("hearth.toml")).unwrap();
    fs::remove_file(project.dir().join("hearth.toml")).unwrap();
    at(&project, &below, &["disable", "b"]).exits(5);
    let answer = at(&project, &below, &["disable", "--json"]).exits(0).json();
    assert_eq!(answer, json!({ "services": ["a"], "left": 0 }));
    let none = at(&project, &below, &["disable", "--json"]).exits(5);
    assert_eq!((&none.refusal()["code"], &*none.stdout), (&json!("not-found"), ""));
    let gone = project.run(&["-C", "/nowhere/at/all", "disable"]).exits(5);
    assert!(gone.stderr.contains("/nowhere/at/all"), "{}", gone.stderr);
}

/// The agent is killed when what is enabled is not brought up yet: the next one does it.
#[test]
fn an_agent_that_dies_before_it_could_leaves_it_to_the_next() {
    let project =
        Project::new("[services.a]\nrun = \"exec sleep 1000\"\nready = { settle = \"0s\" }\n");
    project.run(&["enable"]).exits(0);
    project.run(&["daemon", "down"]).exits(0);
    let mut left = state(&project);
    left["at_boot"]["due"] = json!(true);
    fs::write(project.home.path("state.json"), left.to_string()).unwrap();
    project.run(&["daemon", "up"]).exits(0);
    project.watch(&["a"]).until_state("a", "ready");
    assert_eq!(state(&project)["at_boot"]["due"], false);
}

#[test]
fn what_cannot_be_enabled_is_refused_with_the_reason() {
    let project = Project::new(ORDERED);
    project.write(".env", "");
    let socket = project.socket();
    let post = |body: Value| request(&socket, "POST", "/v1/enable", &[], &body.to_string());
    let dir = project.dir();
    let unknown = json!({ "project": dir, "services": ["wbe"], "enabled": true });
    refused(post(unknown), 404, "not-found", "wbe");
    let field = json!({ "project": dir, "enabled": true, "colour": "red" });
    refused(post(field), 400, "bad-request", "colour");
    refused(post(json!({ "project": dir })), 400, "bad-request", "enabled");
    refused(post(json!({ "project": "", "enabled": true })), 400, "bad-request", "no project");
    refused(post(json!({ "project": "here", "enabled": false })), 400, "bad-request", "absolute");
    let none = json!({ "project": "/nowhere", "enabled": true });
    refused(post(none), 404, "not-found", "/nowhere");
    let off = json!({ "project": dir, "services": ["wbe"], "enabled": false });
    refused(post(off), 404, "not-found", "wbe");
    project.run(&["run", "--name", "loose", "--", "sleep", "1000"]).exits(0);
    let loose = json!({ "project": dir, "services": ["loose"], "enabled": true });
    refused(post(loose), 400, "bad-request", "`hearth run` began it");
    let ran = project.run(&["enable", "loose"]).exits(5);
    assert!(ran.stderr.contains("`hearth run` began it"), "{}", ran.stderr);
    project.run(&["enable", "nosuch"]).exits(5);
    let file = project.dir().join("hearth.toml");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    let planted = json!({ "project": dir, "enabled": true });
    refused(post(planted), 403, "forbidden", "can be written by everybody");
    project.run(&["enable"]).exits(2);
    // A verb's `-C` is a word for that verb, and nobody says it at a boot.
    let named = ["-C", dir.to_str().unwrap(), "enable"];
    let ran = project.run(&named).exits(2);
    assert!(ran.stderr.contains("`-C` does not change that"), "{}", ran.stderr);
    fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    project.write("hearth.toml", "[services.web]\n");
    assert_eq!(post(json!({ "project": dir, "enabled": true })).status, 422);
    project.run(&["enable"]).exits(2);
    let enabled = &state(&project)["at_boot"]["enabled"];
    assert!(enabled.as_array().is_none_or(Vec::is_empty), "{enabled}");
    project.run(&["-C", "/", "enable"]).exits(5);
}

/// As root: files of somebody else.
#[test]
fn a_file_of_somebody_else_is_not_brought_up() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let project =
        Project::new("[services.a]\nrun = \"exec sleep 1000\"\nready = { settle = \"0s\" }\n");
    project.run(&["enable"]).exits(0);
    reboot(&project);
    let file = project.dir().join("hearth.toml");
    std::os::unix::fs::chown(&file, Some(4242), None).unwrap();
    project.run(&["daemon", "up"]).exits(0);
    let (status, words) = boot_check(&project);
    assert!(status == "failure" && words.contains("belongs to uid 4242"), "{words}");
    assert_eq!(project.home.processes().len(), 1, "the agent alone");
    std::os::unix::fs::chown(&file, Some(0), None).unwrap();
}

#[test]
fn it_is_shown_where_more_is_asked_for() {
    let project = Project::new(ORDERED);
    project.write(".env", "");
    assert!(!project.run(&["status", "-v"]).exits(0).stdout.contains("BOOT"));
    project.run(&["enable", "web"]).exits(0);
    let table = project.run(&["status", "-v"]).exits(0).stdout;
    assert_eq!(table.matches("enabled").count(), 1, "{table}");
    let line = table.lines().find(|line| line.contains("enabled")).unwrap();
    assert!(line.starts_with("web ") && table.contains("BOOT"), "{table}");
    assert!(!project.run(&["status"]).exits(0).stdout.contains("BOOT"));
    project.run(&["daemon", "down"]).exits(0);
    let cold = project.run(&["status", "--json", "--no-spawn"]).exits(0).json();
    assert_eq!(cold["services"][0]["boot"], Value::Null, "nobody can tell");
}
