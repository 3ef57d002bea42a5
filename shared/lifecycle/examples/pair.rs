//! The smallest pair: a verb that asks its agent one thing, and the agent. The races of
//! `tests/races.rs` are run against it.
//!
//! `pair get` starts the agent if there is none and prints, as one line of JSON, how it stands.
//! `pair session PID` makes a session of a process that it is below, and `pair sessions` lists those
//! that live.
//! `pair child` shows what a child of the agent inherits.
//! A file `fault` in the home makes the agent misbehave, since its environment is not the caller's.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hearth_lifecycle::agent::{Agent, Handle, Mode};
use hearth_lifecycle::sessions::{Ask, Sessions};
use hearth_lifecycle::{
    App, CallError, Client, Home, Luggage, Options, Problem, Ready, Renewal, Request, Sockets, Stop,
};
use hearth_process::Peer;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;

const APP: App = App::new("pair", "1.0.0").run_args(&["run"]).label("dev.pair.agent");

/// What the same executable is under a name that ends in `next`: of a later version that speaks
/// another API.
const NEXT: App = APP.at_version("2.0.0").api(2, 2);

/// Under a name that ends in `runtime`: with its socket below `XDG_RUNTIME_DIR`.
const RUNTIME: App = APP.sockets(Sockets::RuntimeDirectory);

/// Under a name that ends in `eager`: of a later version, whose verbs want no older agent.
const EAGER: App = APP.at_version("1.1.0").renewal(Renewal::Older);

fn app() -> &'static App {
    let own = std::env::current_exe().unwrap_or_default();
    let own = own.as_os_str().as_encoded_bytes();
    let all: [(&[u8], _); 3] = [(b"next", &NEXT), (b"runtime", &RUNTIME), (b"eager", &EAGER)];
    all.iter().find(|(end, _)| own.ends_with(end)).map_or(&APP, |(_, app)| app)
}

fn main() -> ExitCode {
    let home = match Home::resolve(app(), None) {
        Ok(home) => home,
        Err(error) => {
            eprintln!("pair: {error}");
            return ExitCode::from(2);
        }
    };
    if let Some(mode) = app().spawned() {
        return agent(home, mode);
    }
    match std::env::args().nth(1).as_deref() {
        Some("run") => agent(home, Mode::Foreground),
        Some("get") => get(&home, false),
        Some("retry") => get(&home, true),
        Some("session") => {
            let pid = std::env::args().nth(2).unwrap_or_default();
            ask(&home, false, &Request::post("/v1/sessions", pid.into()))
        }
        Some("late") => {
            let time = std::env::args().nth(2).unwrap_or_default();
            ask(&home, false, &Request::get(format!("/late/{time}")))
        }
        Some("busy") => ask(&home, false, &Request::get("/busy")),
        Some("child") => ask(&home, false, &Request::get("/child")),
        Some("sessions") => ask(&home, false, &Request::get("/v1/sessions")),
        Some("replace") => replaced(&home),
        Some("stop") => {
            match client(&home).stop(Stop { within: Some(Duration::from_secs(10)), force: false }) {
                Ok(ended) => {
                    println!("{ended:?}");
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    println!("{error:?}");
                    ExitCode::FAILURE
                }
            }
        }
        _ => {
            eprintln!("usage: pair get|retry|child|session PID|sessions|replace|stop|run");
            ExitCode::from(2)
        }
    }
}

fn options() -> Options<'static> {
    Options {
        no_spawn: std::env::args().any(|argument| argument == "--no-spawn"),
        timeout: std::env::args()
            .find_map(|argument| argument.strip_prefix("--timeout-ms=")?.parse().ok())
            .map(Duration::from_millis),
        ..Options::default()
    }
}

fn client(home: &Home) -> Client {
    Client::at(app(), home.clone())
}

fn get(home: &Home, past_backoff: bool) -> ExitCode {
    ask(home, past_backoff, &Request::get("/hello"))
}

fn ask(home: &Home, past_backoff: bool, request: &Request) -> ExitCode {
    let options = Options { past_backoff, ..options() };
    let (ready, body) = match client(home).call(&options, request) {
        Ok((ready, mut reply)) => match reply.bytes() {
            Ok(body) => (ready, String::from_utf8_lossy(&body).into_owned()),
            Err(error) => {
                println!(
                    "{}",
                    serde_json::json!({ "state": "broken", "reason": error.to_string() })
                );
                return ExitCode::FAILURE;
            }
        },
        Err(CallError::NotReady(ready)) => (Arc::new(*ready), String::new()),
        Err(error) => {
            println!(
                "{}",
                serde_json::json!({ "state": "broken", "reason": format!("{error:?}") })
            );
            return ExitCode::FAILURE;
        }
    };
    tell(home, &ready, &body)
}

fn replaced(home: &Home) -> ExitCode {
    match client(home).replace(&options(), false) {
        Ok(ready) => tell(home, &ready, ""),
        Err(CallError::NotReady(ready)) => tell(home, &ready, ""),
        Err(error) => {
            println!(
                "{}",
                serde_json::json!({ "state": "broken", "reason": format!("{error:?}") })
            );
            ExitCode::FAILURE
        }
    }
}

fn tell(home: &Home, ready: &Ready, body: &str) -> ExitCode {
    let told = serde_json::json!({
        "state": ready.state,
        "reason": ready.reason,
        "hint": ready.hint,
        "pid": ready.version.as_ref().map(|version| version.pid),
        "instance": ready.version.as_ref().map(|version| version.instance.clone()),
        "version": ready.version.as_ref().map(|version| version.version.clone()),
        "body": body,
        "notice": ready.notice(app(), home),
    });
    println!("{told}");
    if ready.state.is_ready() { ExitCode::SUCCESS } else { ExitCode::from(3) }
}

fn agent(home: Home, mode: Mode) -> ExitCode {
    let mut agent = match Agent::take(app(), home, mode) {
        Ok(agent) => agent,
        Err(error) => {
            eprintln!("pair: {error}");
            return ExitCode::FAILURE;
        }
    };
    let fault = std::fs::read_to_string(agent.home().dir().join("fault")).unwrap_or_default();
    match fault.trim() {
        "die" => {
            eprintln!("pair: as good as dead");
            return ExitCode::from(7);
        }
        "refuse" => {
            agent.failed("it is my day off");
            return ExitCode::FAILURE;
        }
        "hang" => loop {
            std::thread::park();
        },
        // A successor that takes its time, before it is prepared.
        "slow" => {
            let home = agent.home().dir().to_owned();
            let _ = std::fs::write(home.join("lent"), "");
            wait_for(&home, "go");
        }
        _ => {}
    }
    let luggage = match agent.take_over() {
        Ok(luggage) => luggage,
        Err(error) => {
            agent.failed(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    match (fault.trim(), &luggage) {
        ("half-die", Some(_)) => return ExitCode::from(7),
        ("half-hang", Some(_)) => loop {
            std::thread::park();
        },
        (_, _) => {}
    }
    // Who was the agent before, from the first to the last.
    let mut line = luggage.map_or_else(String::new, |luggage| luggage.notes);
    line.push_str(&format!("{} ", std::process::id()));
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let handle = agent.handle();
    if fault.trim() == "hook" {
        handle.on_stop("one that hangs", std::future::pending);
    }
    let notes = line.clone();
    handle.on_hand_over(
        move || {
            let notes = notes.clone();
            async { Luggage { notes, fds: Vec::new() } }
        },
        || async {},
    );
    // Whom the agent before this one knew of goes on, and who has ended meanwhile is not there.
    let sessions = Sessions::open(agent.home());
    sessions.on_end("tell", |session| {
        eprintln!("pair: {} (pid {}) has ended", session.name, session.process.pid);
        Ok(())
    });
    let place = agent.home().dir().to_owned();
    let served = runtime.block_on(async {
        tokio::select! {
            served = agent.serve(Hello(handle, line, sessions.clone(), place)) => served,
            () = sessions.watch() => unreachable!("it watches until it is dropped"),
        }
    });
    match served {
        Ok(stopped) if stopped.hung.is_empty() => ExitCode::SUCCESS,
        Ok(_) | Err(_) => ExitCode::FAILURE,
    }
}

fn wait_for(home: &Path, name: &str) {
    use std::os::fd::AsFd;
    let Ok(watch) = hearth_process::watch::DirWatch::names(home) else { return };
    while !home.join(name).exists() {
        let mut fds =
            [rustix::event::PollFd::from_borrowed_fd(watch.as_fd(), rustix::event::PollFlags::IN)];
        let _ = rustix::event::poll(&mut fds, None);
        let _ = watch.drain();
    }
}

#[derive(Clone)]
struct Hello(Handle, String, Sessions, std::path::PathBuf);

impl tower_service::Service<hyper::Request<Full<Bytes>>> for Hello {
    type Response = hyper::Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: hyper::Request<Full<Bytes>>) -> Self::Future {
        let hello = self.clone();
        Box::pin(async move {
            let body = match (request.uri().path(), request.method()) {
                ("/v1/sessions", &hyper::Method::POST) => hello.register(request).await,
                ("/v1/sessions", _) => {
                    hello.2.list().iter().map(|session| format!("{} ", session.id)).collect()
                }
                // Takes so many milliseconds, and leaves a trace of having begun.
                (path, _) if path.starts_with("/late/") => {
                    let time = path.trim_start_matches("/late/").parse().unwrap_or(0);
                    let _ = std::fs::write(hello.3.join("begun"), "");
                    tokio::time::sleep(Duration::from_millis(time)).await;
                    hello.0.instance().to_owned()
                }
                ("/busy", _) => {
                    let problem = Problem::new(503, "busy", "come again", "");
                    let body = serde_json::to_vec(&problem).unwrap_or_default();
                    let mut reply = hyper::Response::new(Full::new(Bytes::from(body)));
                    *reply.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
                    let kind = hyper::header::HeaderValue::from_static(Problem::CONTENT_TYPE);
                    reply.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
                    return Ok(reply);
                }
                ("/child", _) => {
                    let child = std::process::Command::new("sh")
                        .args(["-c", "env; for fd in /proc/self/fd/*; do readlink $fd; done"])
                        .output();
                    child.map_or_else(
                        |error| error.to_string(),
                        |said| String::from_utf8_lossy(&said.stdout).into_owned(),
                    )
                }
                (_, _) => {
                    let peer = request.extensions().get::<Arc<Peer>>();
                    assert!(peer.is_none(), "who asks is told where it is of use alone");
                    format!("{} {}", hello.0.instance(), hello.1)
                }
            };
            Ok(hyper::Response::new(Full::new(Bytes::from(body))))
        })
    }
}

impl Hello {
    /// The id, or why not.
    async fn register(&self, request: hyper::Request<Full<Bytes>>) -> String {
        let (head, body) = request.into_parts();
        let Some(peer) = head.extensions.get::<Arc<Peer>>() else { return "who asks?".to_owned() };
        let Ok(body) = body.collect().await;
        let pid = String::from_utf8_lossy(&body.to_bytes()).parse().ok();
        match self.2.register(peer, Ask { pid, ..Ask::default() }) {
            Ok((session, _)) => session.id.to_string(),
            Err(error) => format!("{error:?}"),
        }
    }
}
