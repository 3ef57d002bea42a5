//! Readiness against endpoints, files and outputs as they are met, good and bad.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;

use hearth_tests::{Port, Project, runs};

/// A project with one service `s` that lives, and this `ready`.
fn with_ready(ready: &str) -> Project {
    Project::new(&format!("[services.s]\nrun = [\"sleep\", \"1000\"]\nready = {ready}\n"))
}

#[track_caller]
fn until_state(project: &Project, state: &str) {
    project.watch(&["s"]).until_state("s", state);
}

#[track_caller]
fn until_said(project: &Project, words: &str) {
    project.watch(&["s"]).until_said("s", words);
}

/// Answers every connection so.
fn serve(answer: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(answer));
    port
}

fn http(port: u16, more: &str) -> Project {
    with_ready(&format!(
        "{{ http = \"http://127.0.0.1:{port}/\", every = \"20ms\", grace = \"0s\"{more} }}"
    ))
}

#[test]
fn a_file_makes_ready_unready_and_ready_again_in_directories_that_come_and_go() {
    let project = with_ready("{ file = \"run/state/up\", grace = \"0s\" }");
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "starting");
    until_said(&project, "run/state/up does not exist");
    let dir = project.dir().join("run/state");
    fs::create_dir_all(&dir).unwrap();
    assert_eq!(project.state("s"), "starting");
    fs::write(dir.join("up.new"), "").unwrap();
    fs::rename(dir.join("up.new"), dir.join("up")).unwrap();
    up.finish().exits(0);
    let pid = project.pid("s");
    fs::remove_dir_all(project.dir().join("run")).unwrap();
    until_state(&project, "unhealthy");
    until_said(&project, "does not exist");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("up"), "").unwrap();
    until_state(&project, "ready");
    assert_eq!(project.pid("s"), pid);
}

#[test]
fn a_file_is_watched_by_the_next_agent_too() {
    let project = with_ready("{ file = \"up\" }");
    project.write("up", "");
    project.run(&["up"]).exits(0);
    project.home.kill_agent();
    project.run(&["daemon", "up"]).exits(0);
    assert_eq!(project.state("s"), "ready");
    fs::remove_file(project.dir().join("up")).unwrap();
    until_state(&project, "unhealthy");
    project.home.kill_agent();
    project.run(&["daemon", "up"]).exits(0);
    until_said(&project, "does not exist");
    assert_eq!(project.state("s"), "unhealthy");
    project.write("up", "");
    until_state(&project, "ready");
}

#[test]
fn a_unix_socket_is_ready_when_somebody_listens_on_it() {
    let project = with_ready(
        "{ unix = \"sock\", every = \"20ms\", then_every = \"20ms\", grace = \"0s\", failures = 1 }",
    );
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "starting");
    until_said(&project, "no such file");
    let path = project.dir().join("sock");
    drop(UnixListener::bind(&path).unwrap());
    until_said(&project, "connection refused");
    fs::remove_file(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    up.finish().exits(0);
    drop(listener);
    until_state(&project, "unhealthy");
}

#[test]
fn localhost_is_whichever_of_its_addresses_accepts() {
    for host in ["127.0.0.1", "[::1]"] {
        let Ok(listener) = TcpListener::bind(format!("{host}:0")) else {
            hearth_tests::skip("localhost as ::1", "IPv6");
            continue;
        };
        let port = listener.local_addr().unwrap().port();
        with_ready(&format!("{{ tcp = {port} }}")).run(&["up"]).exits(0);
        let reserved = Port::reserve();
        let project = with_ready(&format!(
            "{{ tcp = {}, every = \"20ms\", grace = \"0s\" }}",
            reserved.number
        ));
        let up = project.start(&["up"]);
        until_said(&project, "connection refused");
        project.run(&["down"]).exits(0);
        up.finish();
    }
}

#[test]
fn a_redirect_is_an_answer_that_passes_unless_the_file_says_otherwise() {
    let port = serve(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\n\r\n");
    });
    http(port, "").run(&["up"]).exits(0);
    for (status, range) in [("200-299", "200-299"), ("200", "200"), ("404-404", "404")] {
        let project = http(port, &format!(", status = \"{status}\""));
        let up = project.start(&["up"]);
        until_said(&project, &format!("answered 301 Moved, expected {range}"));
        project.run(&["down"]).exits(0);
        up.finish();
    }
}

#[test]
fn bad_endpoints_are_told_in_plain_words_and_hold_nobody_up() {
    let hangs = serve(std::mem::forget);
    let endless = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let headers = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let garbage = serve(|mut stream| drop(stream.write_all(b"220 mail.example ESMTP\r\n")));
    let broken = serve(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 500 Oh No\r\ncontent-length: 0\r\n\r\n");
    });
    let cases = [
        (hangs, ", timeout = \"100ms\"", "no answer within 100ms"),
        (
            endless,
            ", body = \"never\"",
            "the first 1 MiB of its body, all that is looked at, does not match",
        ),
        (headers, "", "its headers do not end within 64 KiB"),
        (garbage, "", "what answers is not HTTP: it says `220 mail.example ESMTP`"),
        (broken, "", "answered 500 Oh No, expected 200-399"),
    ];
    let services: String = cases
        .iter()
        .enumerate()
        .map(|(n, (port, more, _))| {
            format!(
                "[services.bad{n}]\nrun = [\"sleep\", \"1000\"]\nready = {{ http = \"http://127.0.0.1:{port}/\", \
                 every = \"20ms\", grace = \"0s\"{more} }}\n"
            )
        })
        .collect();
    let well = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = well.local_addr().unwrap().port();
    let s = format!("[services.s]\nrun = [\"sleep\", \"1000\"]\nready = {{ tcp = {port} }}\n");
    let project = Project::new(&format!("{services}{s}"));
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "ready");
    for (n, (_, _, words)) in cases.iter().enumerate() {
        let name = format!("bad{n}");
        project.watch(&[&name]).until_said(&name, words);
    }
    project.run(&["down"]).exits(0);
    up.finish();
}

#[test]
fn an_exec_is_cut_off_with_what_lost_its_parent_too() {
    let project = with_ready(
        "{ exec = \"(setsid sh -c 'echo $$ >> pids; exec sleep 1000' &); setsid sleep 1000 & echo $! >> pids; \
         while [ $(wc -l < pids) -lt 2 ]; do sleep 0.01; done; sleep 1000\", timeout = \"500ms\", every = \"1000s\", grace = \"0s\" }",
    );
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "starting");
    until_said(&project, "no answer within 500ms");
    for pid in project.await_lines("pids", 2) {
        assert!(!runs(pid.parse().unwrap()), "{pid} runs on");
    }
    project.run(&["down"]).exits(0);
    up.finish();
}

#[test]
fn an_exec_may_write_much_nonsense_or_nothing() {
    let project = Project::new(
        "[services.loud]\nrun = [\"sleep\", \"1000\"]\nready = { exec = \"head -c 50000000 /dev/zero; echo; echo the end\", timeout = \"60s\" }\n\
         [services.mute]\nrun = [\"sleep\", \"1000\"]\nready = { exec = \"exec >&- 2>&-; sleep 0.1; exit 0\", timeout = \"20s\" }\n\
         [services.rubbish]\nrun = [\"sleep\", \"1000\"]\nready = { exec = \"printf '\\\\377\\\\033[31mred\\\\007\\\\n'\", timeout = \"20s\" }\n",
    );
    project.run(&["up"]).exits(0);
    let message = |name: &str| project.row(name)["health"]["message"].clone();
    assert_eq!(message("loud"), "the end");
    assert_eq!(message("mute"), "ready");
    assert_eq!(message("rubbish"), "\u{fffd}red");
}

#[test]
fn a_log_line_is_what_a_person_sees() {
    let project = Project::new(
        r#"
        [services.coloured]
        run = "printf '\\033[32mready\\033[0m\\r\\n'; exec sleep 1000"
        ready = { log = "^ready$" }
        [services.bytes]
        run = "printf '\\377\\376ready\\000\\n'; exec sleep 1000"
        ready = { log = "ready" }
        [services.escapes]
        run = "printf '\\033[32mready\\033[0m\\n'; exec sleep 1000"
        ready = { log = '\x1b\[32mready' }
        "#,
    );
    project.run(&["up"]).exits(0);
    let message = |name: &str| project.row(name)["health"]["message"].clone();
    assert_eq!(message("coloured"), "ready");
    assert_eq!(message("bytes"), "\u{fffd}\u{fffd}ready");
}

#[test]
fn a_service_may_write_without_end_before_its_line_and_keeps_nobody_waiting() {
    let project = Project::new(
        r#"
        [services.loud]
        run = "i=0; while [ $i -lt 4 ]; do head -c 40000000 /dev/zero | tr '\\0' x | fold -w 200; i=$((i+1)); done; echo; echo up; exec sleep 1000"
        ready = { log = "^up$" }
        start_timeout = "120s"
        [services.quiet]
        run = ["sleep", "1000"]
        ready = { delay = "0ms" }
        "#,
    );
    let up = project.start(&["up"]);
    project.watch(&["quiet"]).until_state("quiet", "ready");
    up.finish().exits(0);
    assert_eq!(project.state("loud"), "ready");
}

#[test]
fn all_kinds_together_have_to_pass() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let project = with_ready(&format!(
        "[{{ tcp = {port} }}, {{ unix = \"sock\", every = \"20ms\" }}, {{ file = \"file\" }}, \
         {{ exec = \"test -e file\", every = \"20ms\" }}, {{ delay = \"10ms\" }}]"
    ));
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "starting");
    let _socket = UnixListener::bind(project.dir().join("sock")).unwrap();
    assert_eq!(project.state("s"), "starting");
    project.write("file", "");
    up.finish().exits(0);
    assert_eq!(project.state("s"), "ready");
}
