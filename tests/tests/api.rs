//! The API over the socket, spoken by a client that is not hearth's.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use hearth_tests::http::{refused, request};
use hearth_tests::{Project, runs};
use serde_json::{Value, json};

const SLEEPER: &str = "[services.s]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

/// A project with an agent, and its socket.
fn with_agent(toml: &str) -> (Project, PathBuf) {
    let project = Project::new(toml);
    let socket = project.socket();
    (project, socket)
}

#[test]
fn version_and_services_are_as_the_contract_says() {
    let (project, socket) = with_agent(SLEEPER);
    let version = request(&socket, "GET", "/v1/version", &[], "");
    assert_eq!((version.status, version.header("content-type")), (200, Some("application/json")));
    let version = version.json();
    let mut names: Vec<_> = version.as_object().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["api", "instance", "name", "pid", "started_at", "version"]);
    assert!(version["api"]["min"].is_u64() && version["api"]["max"].is_u64(), "{version}");
    assert_eq!(version["pid"], project.home.agent_pid().unwrap());
    project.run(&["up"]).exits(0);
    let path = format!("/v1/services?project={}", project.dir().display());
    let services = request(&socket, "GET", &path, &[], "").json();
    assert_eq!(
        services["services"],
        project.run(&["status", "--json"]).exits(0).json()["services"]
    );
    let none = request(&socket, "GET", "/v1/services?project=/nowhere", &[], "").json();
    assert_eq!(none, json!({ "services": [] }));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let (project, socket) = with_agent(SLEEPER);
    refused(request(&socket, "GET", "/v1/nothing", &[], ""), 404, "not-found", "/v1/nothing");
    refused(request(&socket, "DELETE", "/v1/services", &[], ""), 405, "bad-request", "GET");
    refused(request(&socket, "GET", "/v1/up", &[], ""), 405, "bad-request", "POST");
    let wrong = project.asks(json!({ "colour": "red" }));
    refused(request(&socket, "POST", "/v1/up", &[], &wrong), 400, "bad-request", "colour");
    refused(request(&socket, "POST", "/v1/up", &[], "{"), 400, "bad-request", "");
    // By their places, the fields of `down` would be: of all projects, all, by force.
    refused(
        request(&socket, "POST", "/v1/down", &[], " [null, [], true]"),
        400,
        "bad-request",
        "object",
    );
    refused(request(&socket, "POST", "/v1/sessions", &[], "[]"), 400, "bad-request", "object");
    for (method, path) in
        [("GET", "/v1/sessions/%ff"), ("DELETE", "/v1/sessions/%ff"), ("DELETE", "/v1/leases/%ff")]
    {
        refused(request(&socket, method, path, &[], ""), 400, "bad-request", "UTF-8");
    }
    let wrong = project.asks(json!({ "services": "s" }));
    refused(
        request(&socket, "POST", "/v1/up", &[], &wrong),
        400,
        "bad-request",
        "expected a sequence",
    );
    let path = "/v1/services?colour=red";
    refused(request(&socket, "GET", path, &[], ""), 400, "bad-request", "colour");
    let unknown = project.asks(json!({ "services": ["nosuch"] }));
    refused(request(&socket, "POST", "/v1/up", &[], &unknown), 404, "not-found", "nosuch");
    let nowhere = json!({ "project": "/nowhere/at/all" }).to_string();
    refused(request(&socket, "POST", "/v1/up", &[], &nowhere), 404, "not-found", "/nowhere");
    let relative = json!({ "project": "relative" }).to_string();
    refused(request(&socket, "POST", "/v1/up", &[], &relative), 400, "bad-request", "absolute");
    let large = format!("{{\"project\":\"{}\"}}", "x".repeat(1 << 20));
    refused(request(&socket, "POST", "/v1/up", &[], &large), 413, "bad-request", "");
    assert!(project.run(&["status", "--json"]).exits(0).json()["services"][0]["pid"].is_null());
}

#[test]
fn a_version_that_does_not_meet_ours_is_refused_before_anything_is_done() {
    let (project, socket) = with_agent(SLEEPER);
    let up = project.asks(json!({}));
    let refusal = request(&socket, "POST", "/v1/up", &[("hearth-api", "900-901")], &up);
    refused(refusal, 426, "version", "900");
    let bad = request(&socket, "POST", "/v1/up", &[("hearth-api", "many")], &up);
    assert_eq!(bad.status, 400);
    assert_eq!(project.state("s"), "down");
    let mut fits = request(&socket, "POST", "/v1/up", &[("hearth-api", "1-900")], &up);
    assert_eq!(fits.status, 200);
    while fits.line().is_some() {}
    assert_eq!(project.state("s"), "ready");
}

#[test]
fn up_and_down_by_the_api_alone() {
    let (project, socket) = with_agent(
        "[services.s]\nrun = \"echo $MARKER > seen; umask >> seen; exec sleep 1000\"\nready = { exec = \"test -s seen\", every = \"20ms\" }\n",
    );
    let path = std::env::var("PATH").unwrap();
    let up = project.asks(json!({ "services": ["s"], "env": { "MARKER": "by hand", "PATH": path, "HEARTH_HOME": project.home.dir() },
                "umask": 0o077, "limits": {}, "session": null }),
    );
    let mut reply = request(&socket, "POST", "/v1/up", &[], &up);
    assert_eq!(reply.status, 200);
    let lines: Vec<Value> = std::iter::from_fn(|| reply.line()).collect();
    assert_eq!(lines[0]["type"], "snapshot");
    assert_eq!(lines.last().unwrap()["result"], "ready");
    assert_eq!(project.read("seen"), "by hand\n0077\n");
    let pid = project.pid("s");
    let down = project.asks(json!({ "services": [], "force": false, "session": null }));
    let mut reply = request(&socket, "POST", "/v1/down", &[], &down);
    let last = std::iter::from_fn(|| reply.line()).last().unwrap();
    assert_eq!((&last["type"], &last["result"]), (&"outcome".into(), &"down".into()));
    assert!(!runs(pid));
}

#[test]
fn health_is_503_while_a_check_fails() {
    let (project, socket) = with_agent(
        "[services.s]\nrun = \"exit 3\"\nready = { settle = \"30s\" }\nrestart = \"never\"\n",
    );
    let path = format!("/v1/health?project={}", project.dir().display());
    let well = request(&socket, "GET", &path, &[], "");
    assert_eq!((well.status, &well.json()["healthy"]), (200, &json!(true)));
    project.run(&["up"]).exits(1);
    let ill = request(&socket, "GET", &path, &[], "");
    assert_eq!(ill.status, 503);
    let report = ill.json();
    assert_eq!(
        (&report["healthy"], &report["checks"]["s"]["status"]),
        (&json!(false), &json!("failure"))
    );
    assert!(report["checks"]["s"]["message"].as_str().unwrap().contains('3'), "{report}");
    project.run(&["health"]).exits(1);
}

#[test]
fn logs_are_followed_to_the_next_line() {
    let (project, socket) = with_agent(
        "[services.s]\nrun = \"echo one; printf '\\\\377\\\\n'; read x < gate; echo two; exec sleep 1000\"\nready = { log = \"one\" }\n",
    );
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    let path = format!("/v1/logs?project={}&service=s&follow=true", project.dir().display());
    let mut follow = request(&socket, "GET", &path, &[], "");
    assert_eq!(follow.status, 200);
    let first = follow.line().unwrap();
    assert_eq!(
        (&first["line"], &first["service"], &first["stream"]),
        (&"one".into(), &"s".into(), &"stdout".into())
    );
    assert_eq!(follow.line().unwrap()["line"], "\u{fffd}", "what is no UTF-8");
    gate.open();
    assert_eq!(follow.line().unwrap()["line"], "two");
    let last = format!("/v1/logs?project={}&service=s&n=1", project.dir().display());
    let mut last = request(&socket, "GET", &last, &[], "");
    assert_eq!(last.line().unwrap()["line"], "two");
    assert_eq!(last.line(), None);
}

#[test]
fn a_client_that_goes_away_leaves_agent_and_services_alone() {
    let (project, socket) = with_agent(
        "[services.s]\nrun = \"echo $$ >> pids; read x < gate; echo up; exec sleep 1000\"\nready = { log = \"^up$\" }\n",
    );
    let mut gate = project.gate("gate");
    let mut reply = request(&socket, "POST", "/v1/up", &[], &project.asks(json!({})));
    assert_eq!(reply.line().unwrap()["type"], "snapshot");
    drop(reply);
    let mut half = UnixStream::connect(&socket).unwrap();
    half.write_all(b"POST /v1/up HTTP/1.1\r\ncontent-le").unwrap();
    drop(half);
    let mut rubbish = UnixStream::connect(&socket).unwrap();
    rubbish.write_all(b"\x16\x03\x01 nothing that is HTTP\r\n\r\n").unwrap();
    let _ = rubbish.read_to_end(&mut Vec::new());
    let pids = project.await_lines("pids", 1);
    gate.open();
    project.run(&["up"]).exits(0);
    assert_eq!(project.pid("s").to_string(), pids[0]);
    assert_eq!(project.row("s")["restarts"], 0);
}

#[test]
fn shutdown_ends_the_agent_and_no_service() {
    let (project, socket) = with_agent(SLEEPER);
    project.run(&["up"]).exits(0);
    let (agent, service) = (project.home.agent_pid().unwrap(), project.pid("s"));
    let reply = request(&socket, "POST", "/v1/shutdown", &[], "");
    assert!((200..300).contains(&reply.status), "{}", reply.status);
    hearth_tests::await_end(agent);
    assert!(runs(service) && !socket.exists());
    assert_eq!(project.pid("s"), service);
}
