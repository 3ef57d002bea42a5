//! The examples, as they stand, from nothing to nothing.

use std::path::Path;
use std::process::Command;

use hearth_tests::{Project, has_program, is_root, skip};

/// Agent and shims belong to hearth, which needs a moment to put them away; a service is gone.
#[track_caller]
fn is_empty(project: &Project) {
    let mut left = project.home.processes();
    left.retain(|process| !process.command.starts_with("hearth "));
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn the_quickstart_comes_up_and_goes_down() {
    let project = Project::example("quickstart");
    let ran = project.run(&["up"]).exits(0);
    assert!(ran.stderr.contains("agent started"), "{}", ran.stderr);
    assert_eq!(project.read("data/schema"), "schema 1\n");
    project.await_lines("data/ticks", 2);
    project.await_lines("data/sums", 2);
    assert_eq!(project.state("migrate"), "done");
    assert_eq!(project.row("worker")["health"]["message"], "sums are being written");
    assert!(project.run(&["logs", "worker"]).exits(0).stdout.contains("working on schema 1"));
    project.run(&["health"]).exits(0);
    project.run(&["down"]).exits(0);
    is_empty(&project);
    // And again, on what is there.
    project.run(&["up"]).exits(0);
    project.run(&["down"]).exits(0);
}

#[test]
fn the_quickstart_serves_a_command_and_goes_with_it() {
    let project = Project::example("quickstart");
    let script = "cat data/schema; hearth why worker | sed 's/(.*)/(...)/'";
    let mut command = project.by("hearth", &["with", "--", "sh", "-c", script]);
    let ran = project.ran(&mut command).exits(0);
    assert_eq!(ran.stdout, "schema 1\nworker is kept by sh (...)\n", "{}", ran.stderr);
}

#[test]
fn the_website_keeps_its_port_and_who_looks_at_it_comes_back_with_it() {
    if !has_program("python3") {
        return;
    }
    let project = Project::example("website");
    let ran = project.run(&["up", "front"]).exits(0);
    let port = project.row("web")["ports"][0].to_string();
    assert!(ran.stderr.contains(&format!("http://localhost:{port}/")), "{}", ran.stderr);
    assert_eq!(project.row("look")["health"]["message"], "A small site answers");
    assert_eq!((project.state("space"), project.state("content")), ("ready".into(), "down".into()));
    project.run(&["up"]).exits(0);
    project.run(&["health"]).exits(0);
    let env = project.run(&["env", "web", "--json"]).exits(0).json();
    assert_eq!((&env["PORT"], &env["PYTHONUNBUFFERED"]), (&port.as_str().into(), &"1".into()));
    // Who looks waits for as long as there is no site.
    let mut watch = project.watch(&["look"]);
    hearth_tests::send(project.pid("web"), hearth_process::Signal::KILL);
    watch.until_state("look", "waiting");
    watch.until_state("look", "ready");
    assert_eq!(project.row("web")["ports"][0].to_string(), port);
    // What nobody needs fails by itself.
    std::fs::remove_file(project.dir().join("public/index.html")).unwrap();
    project.watch(&["content"]).until_state("content", "unhealthy");
    let ran = project.run(&["health"]).exits(1);
    assert!(ran.stderr.contains("Content"), "{}", ran.stderr);
    project.run(&["down"]).exits(0);
    is_empty(&project);
}

fn has_postgres() -> bool {
    let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") else {
        return skip("examples/redis-postgres", "PostgreSQL");
    };
    versions.flatten().any(|version| version.path().join("bin/postgres").is_file())
        || skip("examples/redis-postgres", "PostgreSQL")
}

#[test]
fn redis_and_postgres_and_what_uses_both() {
    if !is_root("examples/redis-postgres") || !has_program("redis-server") || !has_postgres() {
        return;
    }
    let project = Project::example("redis-postgres");
    // The database's own directory, which the user `postgres` must be able to make.
    let scratch = project.home.root().join("tmp");
    std::fs::create_dir(&scratch).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(&scratch, mode).unwrap();
    let run = |arguments: &[&str]| project.ran(project.command(arguments).env("TMPDIR", &scratch));
    run(&["up", "--timeout", "60s"]).exits(0);
    let stored = project.run(&["logs", "counter", "-n", "1"]).exits(0).stdout;
    assert!(stored.starts_with("stored "), "{stored}");
    let count = |table: &str| {
        let mut psql = Command::new("psql");
        psql.args([
            "-XAt",
            "-h",
            "127.0.0.1",
            "-p",
            "15432",
            "-U",
            "postgres",
            "-c",
            table,
            "postgres",
        ]);
        let output = psql.output().expect("psql is there with PostgreSQL");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u64>().unwrap_or(0)
    };
    assert!(count("select count(*) from counts") >= 1);
    // The agent's death is none of theirs.
    let pids = ["redis", "postgres", "counter"].map(|name| project.pid(name));
    project.home.kill_agent();
    assert_eq!(["redis", "postgres", "counter"].map(|name| project.pid(name)), pids);
    run(&["down"]).exits(0);
    is_empty(&project);
    for port in [16379, 15432] {
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "{port} is held");
    }
    let data = std::fs::read_dir(&scratch).unwrap().flatten().next().unwrap().path();
    assert!(!Path::new(&data).join("postmaster.pid").exists(), "it shut down in order");
}
