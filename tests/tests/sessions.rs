//! Sessions by the API: who may be one, who is listed, and how they end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hearth_tests::http::{get, refused, request};
use hearth_tests::{Project, Session, is_root, runs};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_session");

/// A service that says when it is told to go, and is told as soon as nobody holds it.
const SERVICE: &str = "[services.s]\nrun = \"trap 'echo told >> told; exit 0' TERM; \
    echo up; while :; do sleep 1000 & wait; done\"\nready = { log = \"up\" }\nlinger = \"0s\"\n\
    stop = { to = \"leader\" }\n";

fn with_agent(toml: &str) -> (Project, PathBuf) {
    let project = Project::new(toml);
    let socket = project.socket();
    (project, socket)
}

#[track_caller]
fn register(socket: &Path, body: Value) -> (u16, Value) {
    let reply = request(socket, "POST", "/v1/sessions", &[], &body.to_string());
    (reply.status, reply.json())
}

fn ids(listed: &Value) -> Vec<&str> {
    listed["sessions"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[test]
fn a_process_registers_is_shown_and_is_ended_by_name() {
    let (project, socket) = with_agent(SERVICE);
    assert_eq!(get(&socket, "/v1/sessions"), json!({ "sessions": [] }));
    let (status, row) = register(&socket, json!({ "kind": "editor", "cwd": project.dir() }));
    assert_eq!(status, 201, "{row}");
    let id = row["id"].as_str().unwrap();
    assert!(id.starts_with("s-") && id.len() == 8, "{row}");
    assert_eq!(row["pid"], std::process::id());
    assert_eq!((&row["kind"], &row["cwd"]), (&json!("editor"), &json!(project.dir())));
    assert!(!row["name"].as_str().unwrap().is_empty() && row["started_at"].is_string(), "{row}");
    assert_eq!(row["leases"], json!([]));
    let mut fields: Vec<_> = row.as_object().unwrap().keys().cloned().collect();
    fields.sort();
    assert_eq!(fields, ["cwd", "id", "kind", "leases", "name", "pid", "started_at"]);
    // Again: the same one, with what is said of it now.
    let (status, again) = register(&socket, json!({ "name": "vim" }));
    assert_eq!((status, &again["id"], &again["name"]), (200, &row["id"], &json!("vim")));
    let path = format!("/v1/sessions/{id}");
    assert_eq!(get(&socket, &path), again);
    assert_eq!(get(&socket, "/v1/sessions")["sessions"], json!([again]));
    assert_eq!(get(&socket, "/v1/sessions?mine=true")["sessions"], json!([again]));
    let ended = request(&socket, "DELETE", &path, &[], "");
    assert_eq!((ended.status, ended.json()), (200, again));
    for method in ["GET", "DELETE"] {
        refused(request(&socket, method, &path, &[], ""), 404, "not-found", id);
    }
    assert_eq!(get(&socket, "/v1/sessions"), json!({ "sessions": [] }));
    // Nothing has to be said; and it is a new one.
    let bare = request(&socket, "POST", "/v1/sessions", &[], "");
    assert_eq!(bare.status, 201);
    assert_ne!(bare.json()["id"], row["id"]);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let (_project, socket) = with_agent(SERVICE);
    let allowed = |method, path, allow| {
        let reply = request(&socket, method, path, &[], "");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
        refused(reply, 405, "bad-request", path);
    };
    allowed("DELETE", "/v1/sessions", "GET, POST");
    allowed("POST", "/v1/sessions/s-x", "GET, DELETE");
    allowed("GET", "/v1/leases", "POST");
    allowed("GET", "/v1/leases/l-x", "DELETE");
    allowed("POST", "/v1/why", "GET");
    let post = |body: &str| request(&socket, "POST", "/v1/sessions", &[], body);
    for (body, words) in [
        (r#"{"colour":"red"}"#, "colour"),
        ("{", "the body"),
        (r#"{"pid":"1"}"#, "the body"),
        (r#"{"pid":0}"#, "0 is no pid"),
        (r#"{"pid":-1}"#, "-1 is no pid"),
        (r#"{"pid":2147483648}"#, "2147483648 is no pid"),
        (r#"{"pid":1099511627776}"#, "is no pid"),
        (r#"{"name":""}"#, "`name`"),
        (r#"{"kind":"a\nb"}"#, "`kind`"),
        (r#"{"cwd":"here"}"#, "`cwd`"),
    ] {
        refused(post(body), 400, "bad-request", words);
    }
    for path in ["/v1/sessions/%FF", "/v1/leases/%FF"] {
        refused(request(&socket, "DELETE", path, &[], ""), 400, "bad-request", "UTF-8");
    }
    for path in ["/v1/sessions?mine=1", "/v1/sessions?mine=true&mine=true", "/v1/sessions?x=1"] {
        assert_eq!(request(&socket, "GET", path, &[], "").status, 400, "{path}");
    }
    refused(
        request(&socket, "GET", "/v1/sessions/s-nosuch", &[], ""),
        404,
        "not-found",
        "s-nosuch",
    );
    assert_eq!(get(&socket, "/v1/sessions"), json!({ "sessions": [] }), "nothing was registered");
}

#[test]
fn who_is_neither_the_caller_nor_above_it_is_forbidden() {
    let (_project, socket) = with_agent(SERVICE);
    let forbidden = |pid: u32| {
        let body = json!({ "pid": pid }).to_string();
        let reply = request(&socket, "POST", "/v1/sessions", &[], &body);
        refused(reply, 403, "forbidden", &pid.to_string());
    };
    // Below the caller, and of its user.
    let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    forbidden(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    // Nobody at all, by now.
    forbidden(child.id());
    if is_root("a process of another user") {
        use std::os::unix::process::CommandExt;
        let mut other =
            Command::new("sleep").arg("1000").uid(65_534).stdin(Stdio::null()).spawn().unwrap();
        forbidden(other.id());
        other.kill().unwrap();
        other.wait().unwrap();
    }
    // A kernel thread, where this pid namespace shows one: they have no memory of their own.
    let is_kernels = |pid: &u32| {
        let map = std::fs::read(format!("/proc/{pid}/cmdline"));
        *pid == 2 && map.is_ok_and(|bytes| bytes.is_empty())
    };
    if let Some(kernels) = Some(2).filter(is_kernels) {
        forbidden(kernels);
    }
    assert_eq!(get(&socket, "/v1/sessions"), json!({ "sessions": [] }), "nothing was registered");
}

#[test]
fn nested_sessions_are_mine_nearest_first_and_an_ancestor_may_be_registered() {
    let (_project, socket) = with_agent(SERVICE);
    let above = json!({ "pid": std::process::id(), "name": "above" });
    let mut child = Session::begin(PROGRAM, &socket, above);
    assert_eq!((child.status, &child.row["pid"]), (201, &json!(std::process::id())));
    let outer = child.id().to_owned();
    let (status, inner) = child.asks("POST", "/v1/sessions", "{\"name\":\"inner\"}");
    assert_eq!((status, &inner["pid"]), (201, &json!(child.pid())), "{inner}");
    let inner = inner["id"].as_str().unwrap();
    let (_, mine) = child.asks("GET", "/v1/sessions?mine=true", "");
    assert_eq!(ids(&mine), [inner, &outer]);
    assert_eq!(ids(&get(&socket, "/v1/sessions?mine=true")), [&outer]);
    assert_eq!(ids(&get(&socket, "/v1/sessions")), [&outer, inner], "oldest first");
}

#[test]
fn a_session_that_is_killed_ends_though_its_fork_lives_on() {
    let (project, socket) = with_agent(SERVICE);
    let mut session = Session::begin(PROGRAM, &socket, json!({}));
    let fork = session.forks();
    let lease = project.asks(json!({ "session": session.id() }));
    let (status, lease) = session.asks("POST", "/v1/leases", &lease);
    assert_eq!(status, 201, "{lease}");
    let mut watch = project.watch(&["s"]);
    watch.until_state("s", "ready");
    let id = session.id().to_owned();
    session.kill();
    project.await_lines("told", 1);
    watch.until_state("s", "down");
    assert!(runs(fork), "the fork lives on");
    let gone = request(&socket, "GET", &format!("/v1/sessions/{id}"), &[], "");
    refused(gone, 404, "not-found", &id);
    hearth_tests::send(fork, hearth_process::Signal::KILL);
    hearth_tests::await_end(fork);
}

#[test]
fn sessions_outlive_the_agent_and_who_died_meanwhile_does_not_come_back() {
    let (project, socket) = with_agent(SERVICE);
    let lives = Session::begin(PROGRAM, &socket, json!({ "name": "lives", "kind": "agent" }));
    let dies = Session::begin(PROGRAM, &socket, json!({ "name": "dies" }));
    project.home.kill_agent();
    dies.kill();
    project.run(&["daemon", "up"]).exits(0);
    assert_eq!(get(&socket, "/v1/sessions")["sessions"], json!([lives.row]));
    project.run(&["daemon", "restart"]).exits(0);
    assert_eq!(get(&socket, "/v1/sessions")["sessions"], json!([lives.row]));
    project.run(&["daemon", "down"]).exits(0);
    project.run(&["daemon", "up"]).exits(0);
    assert_eq!(get(&socket, "/v1/sessions")["sessions"], json!([lives.row]));
}
