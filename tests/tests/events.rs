//! `GET /v1/events`: everything that happens, by a client that is not hearth's.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use hearth_tests::http::{Client, Event, Reply, request};
use hearth_tests::measure::number;
use hearth_tests::{Project, Session};
use serde_json::{Value, json};

const SESSION: &str = env!("CARGO_BIN_EXE_session");

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

#[test]
fn first_how_things_are_and_then_every_change_in_order() {
    let project = Project::new(TWO);
    let socket = project.socket();
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

#[test]
fn who_comes_back_goes_on_where_it_was() {
    let project = Project::new(TWO);
    let socket = project.socket();
    let (mut stream, _) = listen_anew(&socket);
    project.run(&["up"]).exits(0);
    let events = stream.events_until(|event| is_state(event, "web", "ready"));
    for at in [0, 2, events.len() - 1] {
        let mut again = listen(&socket, events[at].id.as_deref());
        let rest =
            again.events_until(|event| event.id.is_some() && event.seq() > events.len() as u64);
        assert_eq!(rest[0].retry.as_deref(), Some("500"));
        let without_retry = |event: &Event| Event { retry: None, ..event.clone() };
        let seen: Vec<_> = rest.iter().map(without_retry).collect();
        assert_eq!(seen[..events.len() - 1 - at], events[at + 1..]);
    }
}

#[test]
fn who_was_elsewhere_gets_a_new_snapshot_and_is_told_why() {
    let project = Project::new(TWO);
    let socket = project.socket();
    // Of a number that nobody was given yet.
    let (_, snapshot) = listen_anew(&socket);
    let instance = snapshot.data["agent"]["instance"].as_str().unwrap().to_owned();
    let cases = [
        ("0123456789abcdef:7".to_owned(), "other-agent"),
        (format!("{instance}:7000"), "unknown"),
        (format!("{instance}:"), "unknown"),
        (format!("{instance}:-1"), "unknown"),
        ("nonsense".to_owned(), "unknown"),
        (format!("{instance}:18446744073709551615"), "unknown"),
    ];
    for (last, reason) in cases {
        let mut stream = listen(&socket, Some(&last));
        let first = stream.event().unwrap();
        assert_eq!((first.name.as_str(), &first.id), ("resync", &None), "{last}");
        assert_eq!(first.data, json!({ "reason": reason }), "{last}");
        assert_eq!(stream.event().unwrap().name, "snapshot");
    }
    // An empty one is none.
    let mut stream = listen(&socket, Some(""));
    assert_eq!(stream.event().unwrap().name, "snapshot");
}

#[test]
fn of_one_project_nothing_is_told_of_others() {
    let project = Project::new(TWO);
    let other = project.beside("other", TWO);
    let socket = project.socket();
    let path = format!("/v1/events?project={}", other.display());
    let mut stream = request(&socket, "GET", &path, &[], "");
    let snapshot = stream.event().unwrap();
    assert_eq!(snapshot.name, "snapshot");
    project.run(&["up"]).exits(0);
    project.home.run(&["-C", other.to_str().unwrap(), "up"]).exits(0);
    let events = stream.events_until(|event| is_state(event, "web", "ready"));
    assert!(events.iter().all(|event| event.data["project"] == json!(other)), "{events:#?}");
    assert!(events[0].seq() > 5, "{events:#?}");
    assert!(events.windows(2).all(|pair| pair[0].seq() < pair[1].seq()));
    let late = request(&socket, "GET", &path, &[], "").event().unwrap();
    let rows = late.data["services"].as_array().unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|row| row["project"] == json!(other)), "{rows:?}");
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let project = Project::new(TWO);
    let socket = project.socket();
    assert_eq!(request(&socket, "POST", "/v1/events", &[], "{}").status, 405);
    assert_eq!(request(&socket, "GET", "/v1/events?since=1", &[], "").status, 400);
    assert_eq!(request(&socket, "GET", "/v1/events?project=relative", &[], "").status, 400);
}

#[test]
fn sessions_and_leases_come_and_go() {
    let project =
        Project::new(&TWO.replace("web", "other").replace("needs = [\"db\"]", "linger = \"0s\""));
    let socket = project.socket();
    let (mut stream, _) = listen_anew(&socket);
    let mut client = Client::new(&socket);
    let (_, row) = client.ask("POST", "/v1/sessions", "{\"kind\":\"test\",\"name\":\"me\"}");
    let row: Value = serde_json::from_str(&row).unwrap();
    // Said again: no event.
    let again = client.ask("POST", "/v1/sessions", "{\"name\":\"me too\"}");
    assert_eq!(again.0, 200);
    let ask = project.asks(json!({ "session": row["id"], "services": ["other"] }));
    let (status, lease) = client.ask("POST", "/v1/leases", &ask);
    assert_eq!(status, 201, "{lease}");
    let lease: Value = serde_json::from_str(&lease).unwrap();
    let events = stream.events_until(|event| is_state(event, "other", "ready"));
    in_order(1, &events);
    let is_of_service = |event: &&Event| event.name == "service" || event.name == "health";
    let mut rest: Vec<_> = events.iter().filter(|event| !is_of_service(event)).collect();
    rest.sort_by_key(|event| event.seq());
    let mut facts = row.as_object().unwrap().clone();
    facts.remove("leases");
    assert_eq!(rest.len(), 2, "{rest:#?}");
    assert_eq!(rest[0].data, json!({ "what": "started", "session": facts }));
    let held = |what: &str| {
        json!({ "what": what, "id": lease["id"], "session": row["id"], "project": project.dir(),
                "services": ["other"] })
    };
    assert_eq!((rest[1].name.as_str(), &rest[1].data), ("lease", &held("taken")));
    let (_, snapshot) = listen_anew(&socket);
    let session = &snapshot.data["sessions"][0];
    assert_eq!((&session["name"], &session["leases"][0]["id"]), (&json!("me too"), &lease["id"]));
    let path = format!("/v1/sessions/{}", row["id"].as_str().unwrap());
    assert_eq!(client.ask("DELETE", &path, "").0, 200);
    let events = stream.events_until(|event| is_state(event, "other", "down"));
    // Health of what has become ready is told behind it.
    let first = events.iter().position(|event| event.name == "session").expect("its end");
    assert_eq!(events[first].data["what"], "ended");
    assert_eq!(events[first].data["session"]["name"], "me too");
    assert_eq!(events[first + 1].data, held("returned"));
    assert!(events[first + 2].data["from"] == "ready", "{events:#?}");
}

#[test]
fn what_down_takes_out_of_a_lease_is_told() {
    let project = Project::new(&TWO.replace("needs = [\"db\"]", ""));
    let socket = project.socket();
    let (mut stream, _) = listen_anew(&socket);
    let mut client = Client::new(&socket);
    let (_, row) = client.ask("POST", "/v1/sessions", "{}");
    let row: Value = serde_json::from_str(&row).unwrap();
    let ask = project.asks(json!({ "session": row["id"], "services": ["db", "web"] }));
    assert_eq!(client.ask("POST", "/v1/leases", &ask).0, 201);
    project.run(&["down", "--force", "db"]).exits(0);
    let returned = |event: &Event| event.name == "lease" && event.data["what"] == "returned";
    let lost = stream.events_until(returned).pop().unwrap();
    assert_eq!(lost.data["services"], json!(["db"]));
    let path = format!("/v1/sessions/{}", row["id"].as_str().unwrap());
    assert_eq!(client.ask("DELETE", &path, "").0, 200);
    let rest = stream.events_until(returned).pop().unwrap();
    assert_eq!((&rest.data["id"], &rest.data["services"]), (&lost.data["id"], &json!(["web"])));
}

#[test]
fn what_is_over_and_had_again_by_another_session_is_told_as_returned() {
    let project = Project::new(TWO);
    let socket = project.socket();
    let (mut stream, _) = listen_anew(&socket);
    let mut client = Client::new(&socket);
    let (_, row) = client.ask("POST", "/v1/sessions", "{}");
    let row: Value = serde_json::from_str(&row).unwrap();
    let mut other = Session::begin(SESSION, &socket, json!({}));
    let run = |id: &Value, run: &str| {
        let more = json!({ "session": id, "name": "loose", "dir": project.dir(),
            "run": ["sh", "-c", run] });
        project.asks(more)
    };
    assert_eq!(client.ask("POST", "/v1/run", &run(&row["id"], "exit 3")).0, 200);
    let is = |what: &'static str| {
        move |event: &Event| event.name == "lease" && event.data["what"] == what
    };
    let taken = stream.events_until(is("taken")).pop().unwrap();
    stream.events_until(|event| is_state(event, "loose", "failed"));
    let id = json!(other.id());
    assert_eq!(other.asks("POST", "/v1/run", &run(&id, "exec sleep 1000")).0, 200);
    let returned = stream.events_until(is("returned")).pop().unwrap();
    assert_eq!((&returned.data["id"], &returned.data["session"]), (&taken.data["id"], &row["id"]));
    assert_eq!(returned.data["services"], json!(["loose"]));
    assert_eq!(stream.events_until(is("taken")).pop().unwrap().data["session"], id);
    project.run(&["down", "--force"]).exits(0);
}

#[test]
fn health_is_told_when_it_changes_and_also_without_a_change_of_state() {
    let toml = "[checks.flag]\nready = { file = \"flag\", grace = \"0s\" }\n\
                [services.slow]\nrun = [\"sleep\", \"1000\"]\n\
                ready = { exec = \"echo not yet; exit 75\", every = \"1h\", grace = \"300ms\" }\n";
    let project = Project::new(toml);
    let socket = project.socket();
    let (mut stream, _) = listen_anew(&socket);
    let is = |name: &'static str, status: &'static str| {
        move |event: &Event| {
            event.name == "health" && event.data["name"] == name && event.data["status"] == status
        }
    };
    project.run(&["up", "--no-wait", "flag", "slow"]).exits(0);
    // Past its grace, while it says that it is still at work: no state changes by that.
    let events = stream.events_until(is("slow", "loading"));
    let loading = events.last().unwrap();
    assert_eq!(loading.data["message"], "not yet");
    let mut fields: Vec<_> = loading.data.as_object().unwrap().keys().cloned().collect();
    fields.sort();
    assert_eq!(fields, ["at", "message", "name", "project", "status"]);
    project.write("flag", "");
    stream.events_until(is("flag", "success"));
    std::fs::remove_file(project.dir().join("flag")).unwrap();
    let events = stream.events_until(is("flag", "failure"));
    // By its change of state, which is told before.
    assert!(events.iter().any(|event| is_state(event, "flag", "unhealthy")), "{events:#?}");
}

#[test]
fn the_end_says_why() {
    let project = Project::new(TWO);
    let socket = project.socket();
    project.run(&["up"]).exits(0);
    let (mut stream, snapshot) = listen_anew(&socket);
    let pid = project.home.agent_pid();
    project.run(&["daemon", "restart"]).exits(0);
    let events = stream.events_until(|event| event.name == "end");
    assert_eq!(stream.event(), None);
    in_order(snapshot.seq() + 1, &events);
    let [agent, end] = &events[..] else { panic!("{events:#?}") };
    assert_eq!((&agent.data["state"], &agent.data["pid"]), (&json!("replaced"), &json!(pid)));
    assert_eq!(agent.data["instance"], snapshot.data["agent"]["instance"]);
    assert_eq!(end.data, json!({ "reason": "replaced" }));
    // At the next one the old id means nothing.
    let mut stream = listen(&socket, end.id.as_deref());
    assert_eq!(stream.event().unwrap().data, json!({ "reason": "other-agent" }));
    let snapshot = stream.event().unwrap();
    assert_eq!(snapshot.data["services"][0]["state"], "ready");
    // Killed: cut off, without a word.
    let _election = project.home.kill_agent_for_good();
    assert_eq!(stream.event(), None);
    drop(_election);
    // Stopped.
    let socket = project.socket();
    let (mut stream, _) = listen_anew(&socket);
    project.run(&["daemon", "down"]).exits(0);
    let names: Vec<_> = stream
        .events_until(|event| event.name == "end")
        .into_iter()
        .map(|event| (event.name, event.data["reason"].clone(), event.data["state"].clone()))
        .collect();
    let expected = [
        ("agent".to_owned(), Value::Null, json!("stopping")),
        ("end".to_owned(), json!("stopping"), Value::Null),
    ];
    assert_eq!(names, expected);
    assert_eq!(stream.event(), None);
}

/// Others hear everything, the agent grows by no more than it keeps, and who did not read is told so.
#[test]
fn one_that_does_not_read_disturbs_nobody_and_is_told_that_it_missed_something() {
    // More than are kept, and than a socket holds.
    const EVENTS: u64 = 12_000;
    let project = Project::new(TWO);
    let socket = project.socket();
    let (mut deaf, first) = listen_anew(&socket);
    let first = first.seq();
    let (mut reader, _) = listen_anew(&socket);
    let others: Vec<_> = (0..10).map(|_| listen_anew(&socket).0).collect();
    let agent = project.home.agent_pid().unwrap();
    let before = number(agent, "RssAnon:");
    let mut client = Client::new(&socket);
    std::thread::scope(|scope| {
        let read = move |reader: &mut Reply| {
            for seq in first + 1..=first + EVENTS {
                let event = reader.event().expect("an event");
                assert_eq!((event.name.as_str(), event.seq()), ("session", seq));
                let what = if seq % 2 == 1 { "started" } else { "ended" };
                assert_eq!(event.data["what"], what);
            }
        };
        let reading = scope.spawn(move || read(&mut reader));
        // Five that read once, and see all the same.
        let slower = scope.spawn(move || {
            let mut others = others;
            others.truncate(5);
            others.iter_mut().for_each(|other| assert!(other.event().is_some()));
            others
        });
        for _ in 0..EVENTS / 2 {
            client.come_and_go();
        }
        reading.join().expect("every event in order");
        slower.join().expect("they are told too");
    });
    let grown = number(agent, "RssAnon:").saturating_sub(before);
    // What is kept, 10,000 events in at most 4 MB, and for each of the 12 what its connection holds.
    assert!(grown < 4_096 + 2_000 + 12 * 160, "{grown} KB");
    // It has what its socket held, then a new beginning, and goes on from there.
    let events = deaf.events_until(|event| event.name == "resync");
    let (resync, had) = events.split_last().unwrap();
    in_order(first + 1, had);
    assert_eq!((&resync.id, &resync.data), (&None, &json!({ "reason": "too-slow" })));
    let snapshot = deaf.event().unwrap();
    assert_eq!((snapshot.name.as_str(), snapshot.seq()), ("snapshot", first + EVENTS));
    client.come_and_go();
    assert_eq!(deaf.event().unwrap().seq(), first + EVENTS + 1);
    // One that was away for too long.
    let mut late = listen(&socket, had[0].id.as_deref());
    assert_eq!(late.event().unwrap().data, json!({ "reason": "too-old" }));
    assert_eq!(late.event().unwrap().seq(), first + EVENTS + 2);
}

/// hyper holds replies back while there are more requests: so much of them, and not all.
#[test]
fn who_asks_for_much_and_reads_nothing_costs_a_bounded_amount() {
    let services = |number: u32| {
        format!("[services.s{number}]\nrun = [\"sleep\", \"1000\"]\nenabled = false\n")
    };
    let project = Project::new(&(0..500).map(services).collect::<String>());
    let socket = project.socket();
    project.run(&["daemon", "up"]).exits(0);
    let agent = project.home.agent_pid().unwrap();
    let path = format!("/v1/services?project={}", project.dir().display());
    let one = request(&socket, "GET", &path, &[], "").text();
    assert!(one.len() > 100_000, "{}", one.len());
    let mut stream = UnixStream::connect(&socket).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(head.repeat(400).as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // It ends, with what was held back, when that is too much; or all of it comes.
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told);
    assert!(told.len() < 400 * one.len() / 2, "{}", told.len());
    let peak = number(agent, "VmHWM:");
    assert!(peak < 60_000, "{peak} KB");
    assert_eq!(request(&socket, "GET", &path, &[], "").text().len(), one.len());
}

#[test]
fn fifty_hear_the_same() {
    let project = Project::new(TWO);
    let socket = project.socket();
    let mut streams: Vec<_> = (0..50).map(|_| listen_anew(&socket).0).collect();
    project.run(&["up"]).exits(0);
    project.run(&["down"]).exits(0);
    let first = streams[0].events_until(|event| is_state(event, "db", "down"));
    in_order(1, &first);
    for stream in &mut streams[1..] {
        assert_eq!(stream.events_until(|event| is_state(event, "db", "down")), first);
    }
}

/// A reader that does not read keeps no agent from stopping, nor from being replaced.
#[test]
fn an_agent_goes_although_somebody_does_not_read() {
    let project = Project::new(TWO);
    let socket = project.socket();
    for verb in ["restart", "down"] {
        let (_deaf, _) = listen_anew(&socket);
        let mut client = Client::new(&socket);
        for _ in 0..2_000 {
            client.come_and_go();
        }
        drop(client);
        project.run(&["daemon", verb]).exits(0);
    }
    assert_eq!(project.home.agent_pid(), None);
}
