//! `GET /v1/events`: everything that happens, by a client that is not hearth's.

use std::path::{Path, PathBuf};

use hearth_tests::Project;
use hearth_tests::http::{Event, Reply, request};
use serde_json::{Value, json};

/// Two services that are ready at once, one of which needs the other.
const TWO: &str = "[services.db]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n\
                   [services.web]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n\
                   needs = [\"db\"]\n";

fn listen(socket: &Path, last: Option<&str>) -> Reply {
    let last = last.map(|last| ("last-event-id", last));
    let reply = request(socket, "GET", "/v1/events", last.as_slice(), "");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    reply
}

/// The stream, after its snapshot; and that.
#[track_caller]
fn listen_anew(socket: &Path) -> (Reply, Event) {
    let mut reply = listen(socket, None);
    let first = reply.event().expect("a snapshot");
    assert_eq!((first.name.as_str(), first.retry.is_some()), ("snapshot", true), "{first:?}");
    (reply, first)
}

fn is_state(event: &Event, service: &str, to: &str) -> bool {
    event.name == "service" && event.data["service"] == service && event.data["to"] == to
}

/// `db down -> waiting`, of events of services.
fn steps(events: &[Event]) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let services = events.iter().filter(|event| event.name == "service");
    let step = |event: &Event| {
        let data = &event.data;
        format!("{} {} -> {}", word(&data["service"]), word(&data["from"]), word(&data["to"]))
    };
    services.map(step).collect()
}

/// Each has the number after the one before, all are of one agent.
#[track_caller]
fn in_order(first: u64, events: &[Event]) {
    for (event, seq) in events.iter().zip(first..) {
        assert_eq!(event.seq(), seq, "{events:#?}");
        assert!(event.retry.is_none(), "{event:?}");
    }
}

fn socket_of(project: &Project) -> PathBuf {
    project.socket()
}

#[test]
fn first_how_things_are_and_then_every_change_in_order() {
    let project = Project::new(TWO);
    let socket = socket_of(&project);
    let (mut stream, snapshot) = listen_anew(&socket);
    let agent = &snapshot.data["agent"];
    assert_eq!(agent["pid"], project.home.agent_pid().unwrap());
    assert_eq!((&agent["state"], &snapshot.data["services"]), (&json!("up"), &json!([])));
    let instance = agent["instance"].as_str().unwrap();
    assert_eq!(snapshot.id, Some(format!("{instance}:0")));
    project.run(&["up"]).exits(0);
    let events = stream.events_until(|event| is_state(event, "web", "ready"));
    in_order(1, &events);
    let transition = events.iter().find(|event| is_state(event, "db", "ready")).unwrap();
    let mut fields: Vec<_> = transition.data.as_object().unwrap().keys().cloned().collect();
    fields.sort();
    assert_eq!(fields, ["at", "from", "message", "project", "service", "to"]);
    assert_eq!(transition.data["project"], json!(project.dir()));
    assert_eq!(
        steps(&events),
        [
            "db down -> starting",
            "web down -> waiting",
            "db starting -> ready",
            "web waiting -> starting",
            "web starting -> ready",
        ]
    );
    // Who comes now is told what is, and no change of before.
    let (mut late, snapshot) = listen_anew(&socket);
    let seen = stream.events_until(|event| event.name == "health" && event.data["name"] == "web");
    let seen = seen.last().expect("one").seq();
    assert_eq!(snapshot.seq(), seen);
    let rows = snapshot.data["services"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["state"] == "ready"), "{rows:?}");
    project.run(&["down"]).exits(0);
    let of_late = late.events_until(|event| is_state(event, "db", "down"));
    let of_first = stream.events_until(|event| is_state(event, "db", "down"));
    assert_eq!(of_late, of_first);
    in_order(seen + 1, &of_late);
    assert_eq!(
        steps(&of_late),
        [
            "web ready -> stopping",
            "web stopping -> down",
            "db ready -> stopping",
            "db stopping -> down",
        ]
    );
}
