//! `hearth why SERVICE`: who holds it, and through whom.

use hearth_tests::Project;

const THREE: &str = "[services.db]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nlinger = \"0s\"\n\
    [services.api]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nlinger = \"0s\"\nneeds = [\"db\"]\n\
    [services.web]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nlinger = \"0s\"\nneeds = [\"api\"]\n";

#[track_caller]
fn why(project: &Project, service: &str) -> String {
    project.run(&["why", service]).exits(0).stdout
}

#[test]
fn everybody_is_named_with_the_way_from_there() {
    let project = Project::new(THREE);
    assert_eq!(why(&project, "db"), "nobody wants db\n");
    project.run(&["up", "db"]).exits(0);
    assert_eq!(why(&project, "db"), "db is kept by up\n");
    let mut gate = project.gate("gate");
    let mut verb =
        project.start(&["with", "-q", "web", "--", "sh", "-c", "echo runs; read x < gate"]);
    assert_eq!(verb.line().as_deref(), Some("runs"));
    let told = why(&project, "db");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "db is kept by up"), "{told}");
    let begins = format!("db is kept by sh (pid {}, since ", verb.pid());
    assert!(lines[1].starts_with(&begins), "{told}");
    assert!(lines[1].ends_with(") through web, which needs api, which needs db"), "{told}");
    let json = project.run(&["why", "db", "--json"]).exits(0).json();
    assert_eq!(
        (json["service"].as_str(), json["project"].as_str()),
        (Some("db"), project.dir().to_str())
    );
    assert_eq!(json["held_by"][0]["type"], "up");
    let lease = &json["held_by"][1];
    assert_eq!(
        (lease["type"].as_str(), lease["pid"].as_u64()),
        (Some("lease"), Some(verb.pid().into()))
    );
    assert_eq!(lease["through"], serde_json::json!(["web", "api"]));
    // The file is of no use, and what runs tells it all the same.
    project.write("hearth.toml", "[services");
    let ran = project.run(&["why", "web"]).exits(0);
    assert!(ran.stdout.contains("web is kept by sh (pid "), "{}", ran.stdout);
    assert!(ran.stderr.contains("faulty file, going by what runs"), "{}", ran.stderr);
    project.write("hearth.toml", THREE);
    gate.open();
    verb.finish().exits(0);
    project.watch(&["api"]).until_state("api", "down");
    assert_eq!(why(&project, "db"), "db is kept by up\n");
}

#[test]
fn what_lingers_is_told_with_the_time_that_it_has() {
    let project = Project::new(&THREE.replacen("linger = \"0s\"", "linger = \"1m\"", 1));
    project.run(&["with", "-q", "api", "--", "true"]).exits(0);
    project.watch(&["api"]).until_state("api", "down");
    let told = why(&project, "db");
    let left = told
        .strip_prefix("nobody holds db any more: it goes in ")
        .and_then(|rest| rest.strip_suffix(" s\n"));
    let left: u32 = left.and_then(|left| left.parse().ok()).unwrap_or_else(|| panic!("{told}"));
    assert!((1..=60).contains(&left), "{told}");
}

#[test]
fn what_there_is_not_is_not_found() {
    let project = Project::new(THREE);
    let ran = project.run(&["why", "bd", "--json"]).exits(5);
    assert_eq!(ran.refusal()["code"], "not-found");
    project.run(&["why"]).exits(2);
    project.run(&["why", "db", "api"]).exits(2);
    project.run(&["daemon", "down"]).exits(0);
    project.run(&["why", "db", "--no-spawn"]).exits(3);
    let nowhere = project.ran(project.command(&["why", "db"]).current_dir("/"));
    assert!(nowhere.exits(5).stderr.contains("no project"));
}

#[test]
fn a_command_that_is_in_no_file_is_told_of_too() {
    let project = Project::new(THREE);
    project.run(&["run", "--name", "loose", "--", "sleep", "1000"]).exits(0);
    assert_eq!(why(&project, "loose"), "loose is kept by up\n");
    let mut elsewhere = project.command(&["run", "--name", "free", "--", "sleep", "1000"]);
    project.ran(elsewhere.current_dir("/")).exits(0);
    let ran = project.ran(project.command(&["why", "free"]).current_dir("/"));
    assert_eq!(ran.exits(0).stdout, "free is kept by up\n");
}
