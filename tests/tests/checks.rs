//! `[checks.NAME]`: nodes that have no process, only tests.

use std::net::TcpListener;

use hearth_tests::{Port, Project, processes_of, runs};
use serde_json::{Value, json};

/// How a check stands in health.
fn health(project: &Project, name: &str) -> Value {
    project.run(&["health", "--json"]).json()["checks"][name].clone()
}

#[test]
fn a_check_has_no_process_and_what_needs_it_waits_for_it() {
    let port = Port::reserve();
    let project = Project::new(&format!(
        "[checks.broker]\nready = {{ tcp = {}, every = \"20ms\", grace = \"0s\", failures = 1 }}\n\
         [services.api]\nrun = [\"sleep\", \"1000\"]\nneeds = [\"broker\"]\nready = {{ settle = \"0ms\" }}\n",
        port.number
    ));
    let mut up = project.start(&["up", "--json"]);
    up.until_state("broker", "unhealthy");
    let row = project.row("broker");
    assert_eq!(
        (&row["kind"], &row["pid"], &row["exit"]),
        (&json!("check"), &Value::Null, &Value::Null)
    );
    assert_eq!(row["health"]["status"], "failure", "{row}");
    let message = row["health"]["message"].as_str().unwrap();
    assert!(message.contains("connection refused"), "{message}");
    assert_eq!(project.state("api"), "waiting");
    let waits = project.row("api")["health"]["message"].clone();
    assert!(waits.as_str().unwrap().contains("broker"), "{waits}");
    let _listener = port.listen();
    up.finish().exits(0);
    assert_eq!(project.state("broker"), "ready");
    assert_eq!(project.state("api"), "ready");
    project.run(&["down"]).exits(0);
    assert_eq!(project.state("broker"), "down");
}

#[test]
fn its_commands_have_the_shells_environment_and_the_projects_directory() {
    let project = Project::new(
        "[checks.c]\nready = { exec = \"echo noise; echo $WORD in $PWD\", every = \"20ms\" }\n",
    );
    let mut up = project.command(&["up"]);
    up.env("WORD", "hello");
    project.ran(&mut up).exits(0);
    let said = health(&project, "c");
    assert_eq!(said["message"], format!("hello in {}", project.dir().display()), "{said}");
}

#[test]
fn its_exits_mean_what_those_of_a_service_mean() {
    let project = Project::new(
        "[checks.c]\nready = { exec = \". ./answer\", every = \"20ms\", then_every = \"20ms\", grace = \"0s\", failures = 2 }\n",
    );
    project.replace("answer", "echo x >> asked; echo 3 of 9; exit 75");
    let mut up = project.start(&["up", "--json"]);
    project.await_lines("asked", 3);
    assert_eq!(health(&project, "c")["status"], "loading");
    assert_eq!(health(&project, "c")["message"], "3 of 9");
    project.replace("answer", "echo well; exit 0");
    up.until_state("c", "ready");
    up.finish().exits(0);
    project.replace(
        "answer",
        "echo y >> failed; echo \"$(printf '\\033[31mbroken\\033[0m')\"; exit 3",
    );
    project.await_lines("failed", 4);
    let said = health(&project, "c");
    assert_eq!((&said["status"], &said["message"]), (&json!("failure"), &json!("broken")));
    project.run(&["health"]).exits(1);
}

#[test]
fn a_command_that_hangs_ends_with_all_it_started_whatever_sessions_they_are_in() {
    let project = Project::new(
        r#"
        [checks.c]
        ready = { exec = "setsid sleep 1000 & echo $! >> pids; (setsid sh -c 'echo $$ >> pids; exec sleep 1000' > /dev/null 2>&1 &); echo $$ >> pids; while [ $(wc -l < pids) -lt 3 ]; do sleep 0.01; done; echo hangs; sleep 1000", timeout = "700ms", every = "1000s", failures = 1, grace = "0s" }
        "#,
    );
    let up = project.start(&["up"]);
    let pids = project.await_lines("pids", 3);
    // A verdict is settled, so the verb has nothing to wait for any more.
    up.finish();
    let said = health(&project, "c");
    assert_eq!(said["message"], "no answer within 700ms", "{said}");
    for pid in &pids[..3] {
        assert!(!runs(pid.parse().unwrap()), "{pid} runs on");
    }
}

#[test]
fn what_a_command_leaves_behind_ends_with_it() {
    let project = Project::new(
        r#"
        [checks.c]
        ready = { exec = "(setsid sh -c 'echo $$ > left; exec sleep 1000' > /dev/null 2>&1 &); while [ ! -s left ]; do sleep 0.01; done; exit 0", then_every = "1000s" }
        "#,
    );
    project.run(&["up"]).exits(0);
    let pid = project.await_lines("left", 1)[0].parse().unwrap();
    assert!(!runs(pid), "{pid} runs on");
}

#[test]
fn nothing_of_it_outlives_an_agent_that_is_killed() {
    let project = Project::new(
        r#"
        [checks.c]
        ready = { exec = "setsid sleep 1000 & echo $! >> pids; echo $$ >> pids; wait", timeout = "1000s" }
        "#,
    );
    let mut up = project.start(&["up", "--json"]);
    up.until_state("c", "starting");
    let pids = project.await_lines("pids", 2);
    let face = processes_of(project.home.dir());
    assert!(face.iter().any(|process| process.command.contains("probe")), "{face:?}");
    // No shim, so nobody brings an agent back.
    project.home.kill_agent();
    for pid in &pids {
        hearth_tests::await_end(pid.parse().unwrap());
    }
    for process in face {
        hearth_tests::await_end(process.id.pid);
    }
    drop(up);
}

#[test]
fn a_command_is_ended_when_its_check_is_taken_down() {
    let project = Project::new(
        "[checks.c]\nready = { exec = \"echo $$ >> pids; sleep 1000\", timeout = \"1000s\" }\n",
    );
    let mut up = project.start(&["up", "--json"]);
    up.until_state("c", "starting");
    let pid = project.await_lines("pids", 1)[0].parse().unwrap();
    project.run(&["down"]).exits(0);
    hearth_tests::await_end(pid);
    up.finish();
    assert_eq!(project.state("c"), "down");
}

#[test]
fn a_check_is_asked_anew_by_the_next_agent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let project = Project::new(&format!(
        "[services.s]\nrun = [\"sleep\", \"1000\"]\nready = {{ settle = \"0ms\" }}\n\
         [checks.port]\nready = {{ tcp = {port}, every = \"20ms\", then_every = \"20ms\", failures = 1 }}\n\
         [checks.file]\nready = {{ file = \"there\" }}\n"
    ));
    project.write("there", "");
    project.run(&["up"]).exits(0);
    project.home.kill_agent();
    project.run(&["daemon", "up"]).exits(0);
    assert_eq!(project.state("port"), "ready");
    let mut follow = project.start(&["restart", "s", "--json"]);
    follow.until(|line| line["type"] == "outcome");
    drop(listener);
    std::fs::remove_file(project.dir().join("there")).unwrap();
    let mut watch = project.watch(&["port", "file"]);
    watch.until_state("port", "unhealthy");
    watch.until_state("file", "unhealthy");
}

#[test]
fn a_thousand_bytes_of_gigabytes_are_kept() {
    let project = Project::new(
        "[checks.loud]\nready = { exec = \"head -c 300000000 /dev/zero; echo; echo the end\", timeout = \"60s\" }\n\
         [checks.silent]\nready = { exec = \"exec >&- 2>&-; sleep 0.1; exit 0\", timeout = \"20s\" }\n\
         [checks.rubbish]\nready = { exec = \"head -c 100000 /dev/urandom\", timeout = \"20s\" }\n",
    );
    project.run(&["up", "--timeout", "60s"]).exits(0);
    assert_eq!(health(&project, "loud")["message"], "the end");
    assert_eq!(health(&project, "silent")["status"], "success");
    assert_eq!(health(&project, "rubbish")["status"], "success");
}

#[test]
fn a_check_goes_on_under_the_next_agent_with_its_environment() {
    let project = Project::new(
        "[checks.c]\nready = { exec = \"echo x >> asked; echo $WORD\", every = \"20ms\", then_every = \"20ms\" }\n",
    );
    let mut up = project.command(&["up"]);
    up.env("WORD", "hello");
    project.ran(&mut up).exits(0);
    let before = project.home.agent_pid();
    project.run(&["daemon", "restart"]).exits(0);
    assert_ne!(project.home.agent_pid(), before);
    let so_far = project.read("asked").lines().count();
    project.await_lines("asked", so_far + 3);
    assert_eq!(project.state("c"), "ready");
    assert_eq!(health(&project, "c")["message"], "hello");
}
