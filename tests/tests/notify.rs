//! `ready = { notify = true }`: the service says itself when it may be used, by a real
//! `systemd-notify`.

use std::time::Duration;

use hearth_tests::{Project, has_program};

/// A service that goes on from one of its steps to the next when its gate is opened.
const SERVICE: &str = r#"
    [services.s]
    run = """
    systemd-notify --status='40 %'; read x < one
    (setsid systemd-notify --ready --status='takes orders'); read x < two
    systemd-notify STOPPING=1; exec sleep 1000
    """
    ready = { notify = true, grace = "0s", every = "20ms", failures = 2 }
"#;

fn is_said(project: &Project, state: &str, status: &str, message: &str) {
    // Told by nobody: what a service says of itself while it starts is no transition.
    let late = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let row = project.row("s");
        let health = &row["health"];
        if row["state"] == state && health["status"] == status && health["message"] == message {
            return;
        }
        assert!(std::time::Instant::now() < late, "not {state}, {status}, {message}: {row}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_service_is_ready_when_it_says_so_and_not_before() {
    if !has_program("systemd-notify") {
        return;
    }
    let project = Project::new(SERVICE);
    let (mut one, mut two) = (project.gate("one"), project.gate("two"));
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "starting");
    is_said(&project, "starting", "loading", "40 %");
    one.open();
    up.finish().exits(0);
    is_said(&project, "ready", "success", "takes orders");
    two.open();
    is_said(&project, "unhealthy", "failure", "takes orders");
}

#[test]
fn what_was_said_while_no_agent_lived_is_heard_by_the_next() {
    if !has_program("systemd-notify") {
        return;
    }
    let project = Project::new(
        "[services.s]\nrun = \"echo $$ > began; read x < gate; systemd-notify --ready; echo > said; exec sleep 1000\"\n\
         ready = { notify = true }\n",
    );
    let mut gate = project.gate("gate");
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "starting");
    let pid: u32 = project.await_lines("began", 1)[0].parse().unwrap();
    up.interrupt();
    up.finish().exits(130);
    let gone = project.home.kill_agent_for_good();
    gate.open();
    project.await_lines("said", 1);
    project.run(&["up"]).exits(0);
    assert_eq!((project.state("s"), project.pid("s")), ("ready".to_owned(), pid));
    drop(gone);
    // Another one knows it too.
    project.home.kill_agent();
    assert_eq!((project.state("s"), project.pid("s")), ("ready".to_owned(), pid));
}

#[test]
fn only_who_is_to_say_it_has_a_socket_to_say_it_by() {
    let project = Project::new(
        "[services.s]\nrun = \"echo ${NOTIFY_SOCKET-none}; exec sleep 1000\"\n\
         ready = { log = \"^none$\" }\n",
    );
    let mut up = project.command(&["up"]);
    project.ran(up.env("NOTIFY_SOCKET", "/run/of/the/shell")).exits(0);
}
