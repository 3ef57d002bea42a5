//! Readiness: when each kind of test passes, and what is said until then.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hearth_tests::{Port, Project, Verb};

const PATIENCE: Duration = Duration::from_secs(30);

/// A project with one service `s` that lives, and this `ready`.
fn with_ready(ready: &str) -> Project {
    Project::new(&format!("[services.s]\nrun = [\"sleep\", \"1000\"]\nready = {ready}\n"))
}

#[track_caller]
fn is_ready(up: Verb, project: &Project) {
    up.finish().exits(0);
    assert_eq!(project.state("s"), "ready");
}

/// Answers every request with what `answer` holds at that moment, status and body, and tells its head.
fn serve(listener: TcpListener, answer: Arc<Mutex<(u16, &'static str)>>) -> Receiver<String> {
    let (asked, heads) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = BufReader::new(stream.try_clone().expect("a second handle")).lines();
            let lines: Vec<String> =
                head.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let (status, body) = *answer.lock().unwrap();
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
            let _ = asked.send(lines.join("\n"));
        }
    });
    heads
}

#[test]
fn tcp_is_ready_when_somebody_listens() {
    let port = Port::reserve();
    let project = with_ready(&format!("{{ tcp = {}, every = \"50ms\" }}", port.number));
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "starting");
    let row = project.row("s");
    assert_eq!(row["state"], "starting");
    assert_eq!(row["ports"], serde_json::json!([port.number]));
    let _listener = port.listen();
    is_ready(up, &project);
}

#[test]
fn http_is_ready_when_status_and_body_are_right() {
    let port = Port::reserve();
    let project = with_ready(&format!(
        "{{ http = \"http://127.0.0.1:{}/health?deep=1\", status = \"200-204\", body = \"ready: (yes|ja)\", \
         every = \"20ms\", grace = \"0s\" }}",
        port.number
    ));
    let answer = Arc::new(Mutex::new((503, "ready: yes")));
    let heads = serve(port.listen(), answer.clone());
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "starting");
    // The next probe is made when the one before has been judged.
    let judged = |count| (0..=count).for_each(|_| drop(heads.recv_timeout(PATIENCE).unwrap()));
    let request = heads.recv_timeout(PATIENCE).unwrap();
    judged(0);
    assert!(request.starts_with("GET /health?deep=1 HTTP/1.1"), "{request}");
    assert!(request.to_lowercase().contains("host: 127.0.0.1:"), "{request}");
    let wrong = project.row("s")["health"].clone();
    assert!(wrong["message"].as_str().unwrap().contains("503"), "{wrong}");
    *answer.lock().unwrap() = (200, "ready: no");
    judged(3);
    let wrong = project.row("s");
    assert_eq!(wrong["state"], "starting", "{wrong}");
    assert!(wrong["health"]["message"].as_str().unwrap().contains("body"), "{wrong}");
    *answer.lock().unwrap() = (203, "ready: ja");
    is_ready(up, &project);
}

#[test]
fn exec_75_is_still_at_work_and_its_last_line_is_the_message() {
    let project = with_ready(
        "{ exec = \"echo x >> probes; echo noise; . ./answer\", every = \"20ms\", grace = \"0s\" }",
    );
    project.replace("answer", "echo 12 of 20 migrations; exit 75");
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "starting");
    project.await_lines("probes", 3);
    let health = project.row("s")["health"].clone();
    assert_eq!(health["status"], "loading", "{health}");
    assert_eq!(health["message"], "12 of 20 migrations");
    // Any other exit is no success.
    project.replace("answer", "echo broken; exit 1");
    let so_far = project.read("probes").lines().count();
    project.await_lines("probes", so_far + 6);
    let health = project.row("s")["health"].clone();
    assert_eq!(health["status"], "failure", "{health}");
    assert!(health["message"].as_str().unwrap().contains("broken"), "{health}");
    project.replace("answer", "echo all good; exit 0");
    is_ready(up, &project);
    assert_eq!(project.row("s")["health"]["message"], "all good");
}

#[test]
fn exec_that_hangs_is_cut_off_by_its_timeout_with_all_it_started() {
    let project = with_ready(
        "{ exec = \"echo $$ >> probes; sleep 1000 & echo $! >> probes; wait\", timeout = \"100ms\", every = \"20ms\" }",
    );
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "starting");
    let pids = project.await_lines("probes", 4);
    for pid in &pids[..2] {
        hearth_tests::await_end(pid.parse().unwrap());
    }
    project.run(&["down"]).exits(0);
    up.finish().exits(1);
}

#[test]
fn a_log_line_counts_when_it_is_whole_however_it_is_written() {
    let project = Project::new(
        r#"
        [services.s]
        run = "printf 'server is re'; echo half >> at; read x < gate; printf 'ady now'; echo nearly >> at; read x < gate; echo; exec sleep 1000"
        ready = { log = "^server is ready now$" }
        "#,
    );
    let mut gate = project.gate("gate");
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "starting");
    project.await_lines("at", 1);
    gate.open();
    project.await_lines("at", 2);
    assert_eq!(project.state("s"), "starting");
    gate.open();
    is_ready(up, &project);
}

#[test]
fn a_log_line_of_an_earlier_life_does_not_count() {
    let project = Project::new(
        r#"
        [services.s]
        run = "echo life >> lives; if [ $(wc -l < lives) = 1 ]; then echo up >&2; else read x < gate; echo up; fi; exec sleep 1000"
        ready = { log = "^up$" }
        "#,
    );
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    let mut restart = project.start(&["restart", "s", "--json"]);
    restart.until_state("s", "starting");
    project.await_lines("lives", 2);
    assert_eq!(project.state("s"), "starting");
    gate.open();
    restart.finish().exits(0);
}

#[test]
fn delay_and_settle_take_their_time() {
    let project = Project::new(
        "[services.delay]\nrun = [\"sleep\", \"1000\"]\nready = { delay = \"300ms\" }\n\
         [services.settle]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"400ms\" }\n",
    );
    let began = Instant::now();
    let up = project.run(&["up", "--json"]).exits(0);
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    let ready: Vec<_> = up.json_lines().into_iter().filter(|line| line["to"] == "ready").collect();
    assert_eq!((&ready[0]["service"], &ready[1]["service"]), (&"delay".into(), &"settle".into()));
}

#[test]
fn what_ends_before_it_has_settled_has_failed() {
    let project = Project::new(
        "[services.brief]\nrun = \"echo it is no use; exit 0\"\nrestart = \"never\"\nready = { settle = \"30s\" }\n",
    );
    let ran = project.run(&["up"]).exits(1);
    assert!(ran.stderr.contains("it is no use"), "{}", ran.stderr);
    assert_eq!(project.state("brief"), "failed");
}

#[test]
fn a_list_means_all_of_them() {
    let port = Port::reserve();
    let project = Project::new(&format!(
        "[services.s]\nrun = \"read x < gate; echo up; exec sleep 1000\"\n\
         ready = [{{ tcp = \"127.0.0.1:{}\", every = \"20ms\" }}, {{ log = \"^up$\" }}]\n",
        port.number
    ));
    let mut gate = project.gate("gate");
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "starting");
    let listener = port.listen();
    // The port's test has passed when its connection came.
    drop(listener.accept().unwrap());
    assert_eq!(project.state("s"), "starting");
    gate.open();
    is_ready(up, &project);
}

#[test]
fn not_ready_in_its_start_timeout_is_failed_with_the_last_lines() {
    let project = Project::new(
        r#"
        [services.s]
        run = "for n in 1 2 3; do echo line $n; done; echo complaint >&2; exec sleep 1000"
        ready = { log = "never" }
        start_timeout = "300ms"
        restart = "never"
        [services.dependent]
        run = ["sleep", "1000"]
        needs = ["s"]
        "#,
    );
    let ran = project.run(&["up"]).exits(1);
    for words in [
        "`s` failed",
        "300ms: no line of its output has matched",
        "| line 3",
        "| complaint",
        "hearth logs s",
    ] {
        assert!(ran.stderr.contains(words), "no `{words}` in:\n{}", ran.stderr);
    }
    assert_eq!(ran.stdout, "");
    let row = project.row("s");
    assert_eq!((&row["state"], &row["pid"]), (&"failed".into(), &serde_json::Value::Null));
    assert_eq!(project.state("dependent"), "waiting");
    let ran = project.run(&["up", "--json"]).exits(1);
    let failed = ran.json_lines().pop().unwrap()["failed"][0].clone();
    assert_eq!(failed["exit"]["signal"], "SIGTERM");
    let tail: Vec<_> =
        failed["log_tail"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
    // Order holds within a stream.
    assert!(tail.contains(&"line 1") && tail.contains(&"complaint"), "{tail:?}");
}

#[test]
fn one_failed_probe_is_no_failure_and_three_in_a_row_are() {
    let project = with_ready(
        "{ exec = \"echo x >> probes; exit $(cat code)\", every = \"20ms\", then_every = \"20ms\", failures = 3 }",
    );
    project.write("code", "0");
    project.run(&["up"]).exits(0);
    let pid = project.pid("s");
    project.write("code", "1");
    let so_far = project.read("probes").lines().count();
    project.await_lines("probes", so_far + 6);
    assert_eq!(project.state("s"), "unhealthy");
    assert_eq!(project.pid("s"), pid, "unhealthy runs on");
    let sick = project.run(&["health"]).exits(1);
    assert!(sick.stderr.contains('s'), "{}", sick.stderr);
    project.write("code", "0");
    project.run(&["up"]).exits(0);
    assert_eq!(project.pid("s"), pid);
    project.run(&["health"]).exits(0);
}
