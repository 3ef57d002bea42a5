//! Verbs that wait on a stream, against an agent that the test plays: what is passed on, and every
//! way in which the wait can end.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Stdio};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use support::{Place, Ran};

const FILE: &str = "[services.web]\nrun = \"sleep 1\"\n";

/// What the played agent does with one connection, after the version.
enum Play {
    /// Answers these lines, and ends the stream properly.
    Lines(Vec<Value>),
    /// Answers these lines, and dies.
    Dies(Vec<Value>),
    /// Answers these lines, and then nothing until the client goes away.
    Hangs(Vec<Value>),
    /// Refuses.
    Refuses(hearth_api::Problem),
}

/// Plays an agent for as many connections as there are plays; gives back the requests it got.
fn agent(place: &Place, version: &str, plays: Vec<Play>) -> JoinHandle<Vec<String>> {
    std::fs::DirBuilder::new().mode(0o700).create(place.home()).expect("a home");
    let listener = UnixListener::bind(place.home().join("agent.sock")).expect("a socket");
    let version = json!({
        "name": "hearth", "version": version, "api": {"min": 1, "max": 1}, "instance": "played",
        "pid": std::process::id(), "started_at": "2026-01-01T00:00:00.000Z",
    });
    std::thread::spawn(move || {
        plays.into_iter().map(|play| answer(&listener, &version, play)).collect()
    })
}

fn answer(listener: &UnixListener, version: &Value, play: Play) -> String {
    let (mut stream, _) = listener.accept().expect("a client");
    let (probe, _) = request(&mut stream);
    assert!(probe.starts_with("GET /v1/version "), "{probe}");
    whole(&mut stream, "200 OK", "application/json", version.to_string().as_bytes());
    let (head, body) = request(&mut stream);
    let mut chunked = |lines: &[Value]| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("a head");
        for line in lines {
            let line = format!("{line}\n");
            stream
                .write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes())
                .expect("a chunk");
        }
    };
    match play {
        Play::Lines(lines) => {
            chunked(&lines);
            // Who has read the outcome may be gone already.
            let _ = stream.write_all(b"0\r\n\r\n");
        }
        Play::Dies(lines) => chunked(&lines),
        Play::Hangs(lines) => {
            chunked(&lines);
            let _ = stream.read(&mut [0]);
        }
        Play::Refuses(problem) => {
            let body = serde_json::to_vec(&problem).expect("JSON");
            whole(
                &mut stream,
                &format!("{} No", problem.status),
                "application/problem+json",
                &body,
            );
        }
    }
    head + &body
}

fn whole(stream: &mut UnixStream, status: &str, kind: &str, body: &[u8]) {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).expect("a reply");
}

/// One request, byte by byte: the next one may be right behind it.
fn request(stream: &mut UnixStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("UTF-8");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).expect("a body");
    (head, String::from_utf8(body).expect("UTF-8"))
}

fn snapshot(state: &str) -> Value {
    json!({"type": "snapshot", "services": [{
        "project": "/p", "name": "web", "kind": "service", "want": "up", "state": state, "pid": null,
        "since": null, "restarts": 0, "exit": null, "health": null, "ports": [], "cpu_percent": null,
        "memory_bytes": null, "changed": false, "held_by": [],
    }]})
}

fn transition(from: &str, to: &str) -> Value {
    json!({"type": "transition", "project": "/p", "service": "web", "from": from, "to": to,
        "at": "2026-01-01T00:00:00.000Z", "message": "", "news": "of a later version"})
}

fn outcome(result: &str) -> Value {
    json!({"type": "outcome", "result": result, "failed": [], "not_ready": [], "agent": null})
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn the_lines_are_passed_on_unchanged_and_the_outcome_tells_how_the_agent_was_got() {
    let place = Place::with(FILE);
    let all = vec![snapshot("down"), transition("down", "starting"), outcome("ready")];
    let agent = agent(&place, hearth_api::VERSION, vec![Play::Lines(all.clone())]);
    let ran = place.run(&["up", "web", "--json"]);
    let requests = agent.join().expect("the agent");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let told = lines(&ran);
    assert_eq!(told[..2], all[..2]);
    assert_eq!((&told[2]["result"], &told[2]["agent"]["state"]), (&json!("ready"), &json!("up")));
    assert!(told[2]["agent"]["duration_ms"].is_number());
    let (head, body) = requests[0].split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("POST /v1/up ") && head.contains("hearth-api: 1-1"), "{head}");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["project"], place.project().to_str().unwrap_or_default());
    assert_eq!(body["services"], json!(["web"]));
    assert!(body["env"]["PATH"].is_string() && body["umask"].is_number());
    assert!(body["limits"]["nofile"].is_object());
}

#[test]
fn for_people_there_is_nothing_on_stdout_and_plain_lines_on_stderr() {
    let place = Place::with(FILE);
    let told =
        || Play::Lines(vec![snapshot("down"), transition("down", "starting"), outcome("ready")]);
    let agent = agent(&place, "0.0.1", vec![told(), told()]);
    let ran = place.run(&["up"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(ran.err.contains("web: starting\n"), "{}", ran.err);
    let older = ran.err.lines().filter(|line| line.contains("older than this command")).count();
    assert_eq!(older, 1, "{}", ran.err);
    assert_eq!(place.run(&["up", "-q"]).err, "");
    agent.join().expect("the agent");
}

#[test]
fn what_the_caller_should_know_besides_is_a_line_each_and_for_tools_in_the_outcome() {
    let place = Place::with(FILE);
    let mut noted = outcome("ready");
    noted["notes"] =
        json!(["A differs from the environment that web was started with", "and more"]);
    let told = || Play::Lines(vec![snapshot("ready"), noted.clone()]);
    let agent = agent(&place, hearth_api::VERSION, vec![told(), told(), told()]);
    let ran = place.run(&["up"]);
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(
        lines[..2],
        ["hearth: A differs from the environment that web was started with", "hearth: and more"]
    );
    assert!(lines[2].contains("1 service ready"), "{}", ran.err);
    assert_eq!(place.run(&["up", "-q"]).err, "");
    let ran = place.run(&["up", "--json"]);
    assert_eq!((ran.err.as_str(), &self::lines(&ran)[1]["notes"]), ("", &noted["notes"]));
    agent.join().expect("the agent");
}

#[test]
fn a_service_that_failed_is_exit_1_with_its_last_lines() {
    let place = Place::with(FILE);
    let failed = json!({"type": "outcome", "result": "failed", "not_ready": ["web"], "agent": null,
        "failed": [{"name": "web", "exit": {"code": 7, "signal": null, "at": "2026-01-01T00:00:00.000Z"},
                    "log_tail": ["no such port"], "message": ""}]});
    let told = || Play::Lines(vec![snapshot("starting"), failed.clone()]);
    let agent = agent(&place, hearth_api::VERSION, vec![told(), told()]);
    let ran = place.run(&["up"]);
    assert_eq!(ran.code, 1);
    for part in ["`web` failed: exit code 7", "no such port", "hint: hearth logs web"] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    let ran = place.run(&["up", "--json", "-q"]);
    assert_eq!((ran.code, &ran.error()["code"]), (1, &json!("service-failed")));
    assert_eq!(ran.error()["details"]["failed"][0]["name"], "web");
    assert_eq!(lines(&ran).last().expect("an outcome")["result"], "failed");
    agent.join().expect("the agent");
}

#[test]
fn over_its_time_is_exit_4_and_names_who_is_not_ready() {
    let place = Place::with(FILE);
    let agent = agent(&place, hearth_api::VERSION, vec![Play::Hangs(vec![snapshot("starting")])]);
    let ran = place.run(&["up", "--timeout", "200ms", "--json"]);
    assert_eq!((ran.code, &ran.error()["code"]), (4, &json!("timeout")));
    assert!(ran.error()["message"].as_str().unwrap_or_default().contains("web (starting)"));
    let told = lines(&ran);
    assert_eq!((&told[1]["result"], &told[1]["not_ready"]), (&json!("timeout"), &json!(["web"])));
    agent.join().expect("the agent");
}

#[test]
fn an_agent_that_dies_meanwhile_is_asked_once_more() {
    let place = Place::with(FILE);
    let plays = vec![
        Play::Dies(vec![snapshot("starting")]),
        Play::Lines(vec![snapshot("ready"), outcome("ready")]),
    ];
    let first = agent(&place, hearth_api::VERSION, plays);
    assert_eq!(place.run(&["up"]).code, 0);
    first.join().expect("the agent");
    let place = Place::with(FILE);
    let plays = vec![Play::Dies(vec![snapshot("starting")]), Play::Dies(vec![])];
    let second = agent(&place, hearth_api::VERSION, plays);
    let ran = place.run(&["up", "--json", "-q"]);
    assert_eq!((ran.code, &ran.error()["code"]), (1, &json!("internal")));
    second.join().expect("the agent");
}

#[test]
fn a_replaced_agent_is_followed_by_the_next_and_a_restart_keeps_its_id() {
    let place = Place::with(FILE);
    let plays = vec![
        Play::Lines(vec![snapshot("starting"), outcome("replaced")]),
        Play::Lines(vec![snapshot("ready"), outcome("ready")]),
    ];
    let agent = agent(&place, hearth_api::VERSION, plays);
    let ran = place.run(&["restart", "web", "--json"]);
    assert_eq!(ran.code, 0);
    let outcomes = lines(&ran).into_iter().filter(|line| line["type"] == "outcome").count();
    assert_eq!(outcomes, 1);
    let requests = agent.join().expect("the agent");
    let id = |head: &str| {
        head.lines().find_map(|line| line.strip_prefix("hearth-request: ").map(str::to_owned))
    };
    assert!(id(&requests[0]).is_some());
    assert_eq!(id(&requests[0]), id(&requests[1]));
}

#[test]
fn no_wait_returns_when_the_request_is_taken() {
    let place = Place::with(FILE);
    let agent = agent(&place, hearth_api::VERSION, vec![Play::Hangs(vec![snapshot("starting")])]);
    assert_eq!(place.run(&["up", "--no-wait"]).code, 0);
    agent.join().expect("the agent");
}

#[test]
fn a_wait_that_another_request_ended_says_what_it_was_for() {
    let overtaken = json!({"type": "outcome", "result": "interrupted", "failed": [],
        "not_ready": ["web"], "agent": null});
    for (verb, words) in [("up", "were ready: web"), ("down", "were down: web")] {
        let place = Place::with(FILE);
        let plays = vec![Play::Lines(vec![snapshot("stopping"), overtaken.clone()])];
        let agent = agent(&place, hearth_api::VERSION, plays);
        let ran = place.run(&[verb]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains(words), "{}", ran.err);
        agent.join().expect("the agent");
    }
}

#[test]
fn services_that_went_down_are_not_counted_as_ready() {
    let place = Place::with(FILE);
    let mut removed = snapshot("ready");
    let mut other = removed["services"][0].clone();
    other["name"] = json!("removed");
    removed["services"].as_array_mut().expect("rows").push(other);
    let gone = json!({"type": "transition", "project": "/p", "service": "removed", "from": "ready",
        "to": "stopping", "at": "2026-01-01T00:00:00.000Z", "message": ""});
    let agent = agent(
        &place,
        hearth_api::VERSION,
        vec![Play::Lines(vec![removed, gone, outcome("ready")])],
    );
    let ran = place.run(&["up"]);
    assert!(ran.err.contains("1 service ready"), "{}", ran.err);
    agent.join().expect("the agent");
}

#[test]
fn what_the_agent_refuses_keeps_its_code_hint_and_facts() {
    let place = Place::with(FILE);
    let problem =
        hearth_api::Problem::new(hearth_api::Code::Leased, "two hold it", "hearth why web")
            .with_details(json!({"held_by": 2}));
    let agent = agent(&place, hearth_api::VERSION, vec![Play::Refuses(problem)]);
    let ran = place.run(&["down", "--json", "-q"]);
    let error = ran.error();
    assert_eq!((ran.code, &error["code"]), (1, &json!("leased")));
    assert_eq!(
        (&error["hint"], &error["details"]["held_by"]),
        (&json!("hearth why web"), &json!(2))
    );
    agent.join().expect("the agent");
}

#[test]
fn ctrl_c_ends_the_wait_with_130_and_says_that_services_stay() {
    for (option, first) in [("--json", "snapshot"), ("--no-spawn", "")] {
        let place = Place::with(FILE);
        let told = vec![snapshot("down"), transition("down", "starting")];
        let agent = agent(&place, hearth_api::VERSION, vec![Play::Hangs(told)]);
        let mut verb = place.command(&["up", option]);
        let mut verb =
            verb.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("hearth runs");
        let mut out = BufReader::new(verb.stdout.take().expect("stdout"));
        let mut err = BufReader::new(verb.stderr.take().expect("stderr"));
        if first.is_empty() {
            wait_for(&mut err, "web: starting");
        } else {
            wait_for(&mut out, first);
        }
        interrupt(&verb);
        let (mut told, mut said) = (String::new(), String::new());
        out.read_to_string(&mut told).expect("stdout");
        err.read_to_string(&mut said).expect("stderr");
        assert!(said.contains("interrupted") && said.contains("services stay"), "{said}");
        assert_eq!(verb.wait().expect("it ended").code(), Some(130));
        assert_eq!(told.contains("\"result\":\"interrupted\""), option == "--json", "{told}");
        agent.join().expect("the agent");
    }
}

fn wait_for(text: &mut impl BufRead, words: &str) {
    let mut line = String::new();
    while !line.contains(words) {
        line.clear();
        assert!(text.read_line(&mut line).expect("text") > 0, "it ended before `{words}`");
    }
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
}
