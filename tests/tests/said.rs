//! What a stream tells when it is asked for more: the words of tests, and what comes after its outcome.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;

use hearth_tests::http::{Reply, request};
use hearth_tests::{Project, Terminal};
use serde_json::{Value, json};

/// It is ready when its `words` say "yes".
const SAYS: &str = "[services.db]\nrun = [\"sleep\", \"1000\"]\n\
    ready = { exec = \"echo >> asked; cat words; grep -q yes words\", every = \"10ms\" }\n";

fn says(words: &str) -> Project {
    let project = Project::new(SAYS);
    project.write("words", words);
    project
}

fn up(project: &Project, query: &str) -> Reply {
    let body = project.asks(json!({"env": {"PATH": std::env::var("PATH").unwrap()}}));
    request(&project.socket(), "POST", &format!("/v1/up{query}"), &[], &body)
}

/// The next line that is a message with these words.
fn until_said(reply: &mut Reply, words: &str) -> Value {
    loop {
        let line = reply.line().expect("it goes on");
        if line["type"] == "message" && line["message"].as_str().unwrap().contains(words) {
            return line;
        }
    }
}

#[test]
fn what_a_test_says_is_told_when_it_changes_to_who_asked_for_it() {
    let project = says("one");
    let mut told = up(&project, "?words=true");
    let line = until_said(&mut told, "one");
    assert_eq!((&line["service"], &line["project"]), (&json!("db"), &json!(project.dir())));
    // Ten more answers with the same words, of which nothing is told.
    let asked = project.read("asked").lines().count();
    project.await_lines("asked", asked + 10);
    project.replace("words", "two");
    let line = told.line().unwrap();
    assert!(line["message"].as_str().is_some_and(|words| words.contains("two")), "{line}");
    project.replace("words", "yes");
    let rest: Vec<Value> = std::iter::from_fn(|| told.line()).collect();
    assert!(rest.iter().all(|line| line["type"] != "message"), "what is ready is: {rest:?}");
    assert_eq!(rest.last().unwrap()["result"], "ready");
}

#[test]
fn words_that_always_change_come_ten_times_a_second_at_most() {
    let project = says("no");
    project.write("hearth.toml", &SAYS.replace("cat words", "date +%N"));
    let began = std::time::Instant::now();
    let mut told = up(&project, "?words=true");
    let mut said = Vec::new();
    while said.len() < 5 {
        said.push(until_said(&mut told, "")["message"].clone());
    }
    let took = began.elapsed();
    assert!(took.as_millis() >= 400, "five in {took:?}");
    said.dedup();
    assert_eq!(said.len(), 5, "none came twice");
    project.write("words", "yes");
    while told.line().is_some() {}
}

#[test]
fn who_did_not_ask_sees_the_three_kinds_of_lines_that_are_documented() {
    let project = says("one");
    let mut asked = up(&project, "?words=true");
    let mut plain = up(&project, "");
    until_said(&mut asked, "one");
    project.replace("words", "yes");
    let kinds = ["snapshot", "transition", "outcome"];
    while let Some(line) = plain.line() {
        assert!(kinds.iter().any(|kind| line["type"] == *kind), "{line}");
    }
    let query = up(&project, "?words=please");
    assert_eq!(query.status, 400);
    assert_eq!(up(&project, "?wrods=true").status, 400);
}

#[test]
fn a_stream_that_stays_tells_transitions_after_its_outcome_until_the_agent_goes() {
    let project = Project::new(
        "[services.s]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nrestart = \"never\"\n",
    );
    project.run(&["up"]).exits(0);
    let path = format!("/v1/wait?project={}&service=s&stay=true", project.dir().display());
    let mut told = request(&project.socket(), "GET", &path, &[], "");
    assert_eq!(told.line().unwrap()["services"][0]["state"], "ready");
    assert_eq!(told.line().unwrap()["result"], "ready");
    hearth_tests::send(project.pid("s"), hearth_process::Signal::KILL);
    let line = told.line().unwrap();
    assert_eq!((&line["type"], &line["to"]), (&json!("transition"), &json!("failed")), "{line}");
    project.run(&["up"]).exits(0);
    while told.line().expect("it is told of the next life")["to"] != "ready" {}
    project.run(&["daemon", "down", "--services"]).exits(0);
    let rest: Vec<Value> = std::iter::from_fn(|| told.line()).collect();
    assert!(rest.iter().any(|line| line["to"] == "down"), "{rest:?}");
    assert_eq!(rest.last().unwrap()["result"], "interrupted");
}

#[test]
fn on_a_terminal_the_words_of_a_test_are_shown_as_they_change() {
    let project = says("still one thing to do");
    let mut terminal = Terminal::start(project.command(&["up", "--color", "never"]), 80, 24);
    terminal.until(|text| text.contains("db  starting: ") && text.contains("one thing"));
    project.replace("words", "nothing but the last");
    terminal.until(|text| text.contains("the last"));
    project.replace("words", "yes");
    let (code, text) = terminal.finish();
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn an_agent_that_does_not_know_the_query_is_asked_without_it() {
    let project = says("yes");
    std::fs::create_dir_all(project.home.dir()).unwrap();
    project.home.write("made", "");
    let listener = UnixListener::bind(project.home.path("agent.sock")).unwrap();
    let player = std::thread::spawn(move || {
        let refusal = json!({"type": "about:blank", "title": "no", "status": 400,
            "code": "bad-request", "detail": "unknown field `words`", "hint": ""});
        let outcome = json!({"type": "outcome", "result": "ready", "failed": [], "not_ready": [],
            "agent": null});
        [("400 Bad Request", refusal), ("200 OK", outcome)]
            .map(|(status, body)| play(&listener, status, &format!("{body}\n")))
    });
    let terminal = Terminal::start(project.command(&["up", "--color", "never"]), 80, 24);
    let (code, text) = terminal.finish();
    assert_eq!(code, Some(0), "{text}");
    let asked = player.join().unwrap();
    assert_eq!(asked, ["POST /v1/up?words=true HTTP/1.1", "POST /v1/up HTTP/1.1"]);
}

/// Plays an agent for one connection: tells its version, answers the request, and gives back the
/// request's first line.
fn play(listener: &UnixListener, status: &str, body: &str) -> String {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream);
    let version = json!({"name": "hearth", "version": env!("CARGO_PKG_VERSION"),
        "api": {"min": 1, "max": 1}, "instance": "played", "pid": std::process::id(),
        "started_at": "2026-01-01T00:00:00.000Z"});
    let mut first = String::new();
    for (status, body) in [("200 OK", version.to_string().as_str()), (status, body)] {
        first = one_request(&mut reader);
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n");
        let reply = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        // Who has the outcome may be gone already.
        let _ = reader.get_mut().write_all(reply.as_bytes());
    }
    first
}

/// Reads one request; gives back its first line.
fn one_request(reader: &mut impl BufRead) -> String {
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if first.is_empty() {
            line.clone_into(&mut first);
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    first
}
