//! The pair inside of one process: agents that are started and stopped by a handle, and their clients.

use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hearth_lifecycle::agent::{self, Agent, AgentError, Handle, InProcess, Request, Response};
use hearth_lifecycle::{
    AgentConfig, App, AsyncClient, CallError, Client, Connection, Facts, Home, Need, Options,
    Problem, Running, Stage, State, running,
};
use serde_json::Value;
use tokio::task::spawn_blocking;

const ONE: App = App::new("one", "1.0.0").prefix("EMBEDDED_ONE_UNSET");
const TWO: App = App::new("two", "2.0.0").prefix("EMBEDDED_TWO_UNSET");

/// Enough for a machine that is very busy.
const LONG: Duration = Duration::from_secs(20);

struct Place {
    _root: tempfile::TempDir,
    home: Home,
}

fn place(app: &App) -> Place {
    let root = tempfile::tempdir().unwrap();
    let home = Home::resolve(app, Some(&root.path().join("home"))).unwrap();
    Place { home, _root: root }
}

/// Says whose it is, panics, hangs, refuses, says what is no JSON.
async fn answer(name: &'static str, request: Request) -> Response {
    match request.uri().path() {
        "/name" => agent::json(200, &name),
        "/panic" => panic!("on purpose"),
        "/hang" => pending().await,
        "/refuse" => agent::refuse(&Problem::new(409, "full", "no room", "make some")),
        "/rubbish" => Response::new("not JSON".into()),
        "/echo" => match agent::body::<Value>(request).await {
            Ok(value) => agent::json(201, &value),
            Err(problem) => agent::refuse(&problem),
        },
        path => agent::refuse(&Problem::new(404, "not-found", format!("no {path}"), "")),
    }
}

async fn start(agent: &InProcess, name: &'static str) -> Result<Handle, AgentError> {
    agent.start(|_| {}, agent::service_fn(move |request| answer(name, request))).await
}

/// Of a client that blocks, beside the agent's one thread.
async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(ask).await.unwrap()
}

fn ask(app: &App, home: &Home, path: &str) -> Result<String, CallError> {
    Client::at(app, home.clone()).get(path, &Options::default())
}

#[tokio::test]
async fn two_apps_in_one_process_have_nothing_of_each_other() {
    let (one, two) = (place(&ONE), place(&TWO));
    let (first, second) =
        (InProcess::new(&ONE, one.home.clone()), InProcess::new(&TWO, two.home.clone()));
    start(&first, "one").await.unwrap();
    start(&second, "two").await.unwrap();
    let homes = (one.home.clone(), two.home.clone());
    let said = blocking(move || (ask(&ONE, &homes.0, "/name"), ask(&TWO, &homes.1, "/name"))).await;
    assert_eq!((said.0.unwrap().as_str(), said.1.unwrap().as_str()), ("one", "two"));
    // Who asks the one for the other is told so.
    let home = one.home.clone();
    let wrong = blocking(move || ask(&TWO, &home, "/name")).await.unwrap_err();
    assert_eq!(wrong.code(), "blocked");
    assert!(wrong.to_string().contains("it says that it is `one`"), "{wrong}");
    first.stop().await.unwrap();
    assert!(matches!(running(&one.home).unwrap(), Running::Gone(Some(_))));
    let home = two.home.clone();
    assert_eq!(blocking(move || ask(&TWO, &home, "/name")).await.unwrap(), "two");
    second.stop().await.unwrap();
}

#[tokio::test]
async fn it_is_started_and_stopped_as_often_as_one_likes_and_each_stage_is_seen() {
    let place = place(&ONE);
    let agent = InProcess::new(&ONE, place.home.clone());
    let mut stages = agent.stages();
    assert_eq!(stages.next().await, Some(Stage::Stopped));
    for _ in 0..3 {
        assert_eq!(agent.stop().await.unwrap_err().code(), "not-running");
        start(&agent, "one").await.unwrap();
        assert_eq!(agent.stage(), Stage::Running);
        let again = start(&agent, "one").await.unwrap_err();
        assert_eq!(again.code(), "already-running");
        // Neither may another handle's, or another process's.
        let other = InProcess::new(&ONE, place.home.clone());
        let AgentError::AlreadyRunning { pid, .. } = start(&other, "other").await.unwrap_err()
        else {
            panic!("it is there");
        };
        assert_eq!(pid, Some(std::process::id()));
        agent.stop().await.unwrap();
        while stages.next().await != Some(Stage::Stopped) {}
    }
    assert!(!place.home.socket().exists());
}

#[tokio::test]
async fn a_request_stops_it_and_the_handle_hears_of_it() {
    let place = place(&ONE);
    let agent = InProcess::new(&ONE, place.home.clone());
    let handle = start(&agent, "one").await.unwrap();
    assert!(handle.running().await);
    let client = Client::at(&ONE, place.home.clone());
    let ended = blocking(move || client.stop(hearth_lifecycle::Stop::default())).await;
    assert_eq!(ended.unwrap(), hearth_lifecycle::Ended::Stopped);
    handle.stopped().await;
    assert_eq!(handle.stage(), Stage::Stopped);
    assert_eq!(agent.stop().await.unwrap_err().code(), "not-running");
    start(&agent, "one").await.unwrap();
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn a_request_that_makes_the_service_panic_gets_500_and_the_agent_lives() {
    let place = place(&ONE);
    let agent = InProcess::new(&ONE, place.home.clone());
    start(&agent, "one").await.unwrap();
    let home = place.home.clone();
    blocking(move || {
        for _ in 0..3 {
            let CallError::Refused(problem) = ask(&ONE, &home, "/panic").unwrap_err() else {
                panic!("it is answered");
            };
            assert_eq!((problem.status, problem.code.as_str()), (500, "internal"));
            assert_eq!(ask(&ONE, &home, "/name").unwrap(), "one");
        }
    })
    .await;
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn hooks_run_last_first_and_one_that_fails_keeps_nothing_from_the_others() {
    let app = ONE.config(AgentConfig { shutdown_timeout: LONG, ..AgentConfig::DEFAULT });
    let place = place(&app);
    let agent = InProcess::new(&app, place.home.clone());
    let ran: Arc<Mutex<Vec<&str>>> = Arc::default();
    let prepare = |agent: &mut Agent| {
        let handle = agent.handle();
        let note = |name: &'static str| {
            let ran = Arc::clone(&ran);
            move || {
                ran.lock().unwrap().push(name);
                std::future::ready(())
            }
        };
        handle.on_stop("first", note("first"));
        let (again, late) = (handle.clone(), note("registered by another"));
        handle.on_stop("registers", move || {
            again.on_stop("late", late);
            std::future::ready(())
        });
        handle.on_stop("panics", || async { panic!("on purpose") });
        handle.on_stop_within("hangs", Duration::from_millis(50), pending);
        handle.on_stop_within("blocks", Duration::from_millis(50), || async {
            std::thread::sleep(LONG);
        });
        handle.on_stop("last", note("last"));
    };
    let service = agent::service_fn(|request| answer("one", request));
    agent.start(prepare, service).await.unwrap();
    let began = Instant::now();
    let AgentError::ShutdownTimeout { hung, .. } = agent.stop().await.unwrap_err() else {
        panic!("three of them are not done");
    };
    assert_eq!(hung, ["blocks", "hangs", "panics (panicked)"]);
    assert_eq!(*ran.lock().unwrap(), ["last", "registered by another", "first"]);
    assert!(began.elapsed() < LONG, "one that blocks holds nobody up");
    let Running::Gone(Some(record)) = running(&place.home).unwrap() else { panic!("it has ended") };
    assert_eq!(record.hung, hung);
}

#[tokio::test]
async fn what_it_says_of_itself_is_read_without_asking_it() {
    let place = place(&ONE);
    let agent = InProcess::new(&ONE, place.home.clone());
    let facts = |port: u16| Facts {
        addresses: vec![format!("http://127.0.0.1:{port}")],
        fields: [("port".to_owned(), port.into())].into_iter().collect(),
    };
    let prepare = |agent: &mut Agent| agent.publish(facts(1)).unwrap();
    let service = agent::service_fn(|request| answer("one", request));
    let handle = agent.start(prepare, service).await.unwrap();
    let read = || match running(&place.home).unwrap() {
        Running::Living(Some(record)) => {
            (record.addresses.clone(), record.fields()["port"].clone())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(read(), (facts(1).addresses, 1.into()));
    handle.publish(facts(2)).unwrap();
    // It is written by the task that serves; nothing tells when.
    while read().1 != 2 {
        tokio::task::yield_now().await;
    }
    let long = Facts { addresses: vec!["x".repeat(10_000)], ..Facts::default() };
    assert_eq!(handle.publish(long).unwrap_err().code(), "too-long");
    assert_eq!(read().1, 2);
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_remembers_until_a_connection_fails() {
    let place = place(&ONE);
    let agent = InProcess::new(&ONE, place.home.clone());
    start(&agent, "one").await.unwrap();
    let client = Arc::new(Client::at(&ONE, place.home.clone()));
    let never = Options { no_spawn: true, ..Options::default() };
    let asked = Arc::clone(&client);
    let (first, again) =
        blocking(move || (asked.ensure_ready(&never), asked.ensure_ready(&never))).await;
    assert_eq!(first.state, State::Up);
    assert!(Arc::ptr_eq(&first, &again), "the second was not looked for");
    agent.stop().await.unwrap();
    let asked = Arc::clone(&client);
    let said = blocking(move || asked.ensure_ready(&never).state).await;
    assert_eq!(said, State::Up, "nobody has asked it anything meanwhile");
    let asked = Arc::clone(&client);
    let failed = blocking(move || asked.get::<String>("/name", &never)).await.unwrap_err();
    assert_eq!(failed.code(), "down");
    let asked = Arc::clone(&client);
    assert_eq!(blocking(move || asked.ensure_ready(&never).state).await, State::Down);
}

#[tokio::test]
async fn every_way_in_which_a_call_may_fail_has_its_word() {
    let place = place(&ONE);
    let agent = InProcess::new(&ONE, place.home.clone());
    start(&agent, "one").await.unwrap();
    let client = Client::at(&ONE, place.home.clone());
    blocking(move || {
        let options = Options::default();
        let sent: Value = client.post("/echo", &vec![1, 2], &options).unwrap();
        assert_eq!(sent, Value::from(vec![1, 2]));
        let CallError::Refused(problem) = client.get::<()>("/refuse", &options).unwrap_err() else {
            panic!("it refuses");
        };
        assert_eq!(
            (problem.status, problem.code.as_str(), problem.hint.as_str()),
            (409, "full", "make some")
        );
        assert_eq!(client.get::<String>("/rubbish", &options).unwrap_err().code(), "protocol");
        let soon = Duration::from_millis(100);
        let late = hearth_lifecycle::Request::get("/hang").within(soon);
        let CallError::Timeout { after, .. } = client.json::<()>(&options, &late).unwrap_err()
        else {
            panic!("it hangs");
        };
        assert_eq!(after, soon);
        // On one connection, one after the other.
        let mut connection = client.connect(&options).unwrap();
        for _ in 0..3 {
            let answer = connection.call(&hearth_lifecycle::Request::get("/name")).unwrap();
            assert_eq!((answer.status, answer.body.as_slice()), (200, &b"\"one\""[..]));
        }
        let late = connection.call(&late).unwrap_err();
        assert_eq!(late.kind(), std::io::ErrorKind::TimedOut);
    })
    .await;
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn a_request_that_would_be_another_one_on_the_wire_is_not_sent() {
    let place = place(&ONE);
    let client = Client::at(&ONE, place.home.clone());
    let other = AsyncClient::new(Client::at(&ONE, place.home.clone()));
    let none = Options { no_spawn: true, ..Options::default() };
    let with_header = |value: &str| hearth_lifecycle::Request {
        headers: vec![("x-note", value.to_owned())],
        ..hearth_lifecycle::Request::get("/name")
    };
    let path = |path: &str| hearth_lifecycle::Request::get(path);
    for request in [
        path("/a b"),
        path("/q HTTP/1.1\r\nhost: x\r\n\r\nGET /panic"),
        path("name"),
        path("/\u{e9}"),
        with_header("a\r\nx-evil: 1"),
    ] {
        let error = client.json::<Value>(&none, &request).unwrap_err();
        assert_eq!(error.code(), "bad-request", "{request:?}");
        let error = other.json::<Value>(&none, &request).await.unwrap_err();
        assert_eq!(error.code(), "bad-request", "{request:?}");
    }
    assert_eq!(client.get::<Value>("/name", &none).unwrap_err().code(), "down");
}

#[test]
fn a_connection_that_does_not_come_about_tells_missing_from_stale() {
    let place = place(&ONE);
    let socket = place.home.socket();
    place.home.prepare().unwrap();
    let open = || Connection::open(&socket, Duration::from_secs(1)).map(drop).unwrap_err().code();
    assert_eq!(open(), "missing");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert_eq!(open(), "stale");
}

#[test]
fn how_much_a_verb_needs_its_agent_decides_what_becomes_of_it_without_one() {
    let place = place(&ONE);
    let client = Client::at(&ONE, place.home.clone());
    let none = Options { no_spawn: true, ..Options::default() };
    assert!(client.warm(Need::Auto, &none).unwrap().is_none());
    assert!(client.warm(Need::Never, &Options::default()).unwrap().is_none());
    assert_eq!(client.warm(Need::Strict, &none).unwrap_err().code(), "down");
}

#[tokio::test]
async fn the_async_client_says_the_same_and_blocks_nobody() {
    let place = place(&ONE);
    let agent = InProcess::new(&ONE, place.home.clone());
    start(&agent, "one").await.unwrap();
    let client = AsyncClient::new(Client::at(&ONE, place.home.clone()));
    let options = Options { no_spawn: true, ..Options::default() };
    // In a task of its own, as most are.
    let other = client.clone();
    let named = async move {
        let options = Options { no_spawn: true, ..Options::default() };
        other.get::<String>("/name", &options).await
    };
    assert_eq!(tokio::spawn(named).await.unwrap().unwrap(), "one");
    let sent: Value = client.post("/echo", &"é", &options).await.unwrap();
    assert_eq!(sent, "é");
    assert_eq!(client.get::<()>("/refuse", &options).await.unwrap_err().code(), "full");
    assert_eq!(client.get::<()>("/rubbish", &options).await.unwrap_err().code(), "protocol");
    let late = hearth_lifecycle::Request::get("/hang").within(Duration::from_millis(100));
    assert_eq!(client.json::<()>(&options, &late).await.unwrap_err().code(), "timeout");
    // What was kept open breaks with the agent, and the next one is found.
    agent.stop().await.unwrap();
    start(&agent, "again").await.unwrap();
    assert_eq!(client.get::<String>("/name", &options).await.unwrap(), "again");
    agent.stop().await.unwrap();
    assert_eq!(client.get::<()>("/name", &options).await.unwrap_err().code(), "down");
}

#[tokio::test]
async fn checks_of_the_app_answer_for_its_health() {
    let place = place(&ONE);
    let agent = InProcess::new(&ONE, place.home.clone());
    let checks = hearth_lifecycle::health::Checks::new(Duration::from_millis(100));
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    checks.register("counts", move || {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok("fine".to_owned()))
    });
    let prepare = |agent: &mut Agent| agent.serve_health(&checks);
    let service = agent::service_fn(|request| answer("one", request));
    agent.start(prepare, service).await.unwrap();
    let look = |home: Home| {
        let client = Client::at(&ONE, home);
        let request = hearth_lifecycle::Request::get("/v1/health");
        let (_, reply) = client.call(&Options::default(), &request).unwrap();
        let answer = reply.whole().unwrap();
        (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap())
    };
    let home = place.home.clone();
    let (status, report) = blocking(move || look(home)).await;
    assert_eq!((status, &report["healthy"]), (200, &true.into()));
    assert_eq!(report["checks"]["counts"]["message"], "fine");
    assert!(report["uptime_s"].is_number());
    // At any time, and all must hold.
    checks.register("hangs", pending);
    let home = place.home.clone();
    let (status, report) = blocking(move || look(home)).await;
    assert_eq!((status, &report["healthy"]), (503, &false.into()));
    assert_eq!(report["checks"]["hangs"]["status"], "failure");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    agent.stop().await.unwrap();
}
