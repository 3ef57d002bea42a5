//! The smallest pair: a verb that asks its agent one thing, and the agent. The races of
//! `tests/races.rs` are run against it.
//!
//! `pair get` starts the agent if there is none and prints, as one line of JSON, how it stands.
//! A file `fault` in the home makes the agent misbehave, since its environment is not the caller's.

use std::convert::Infallible;
use std::future::{Ready as Done, ready};
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::Duration;

use hearth_lifecycle::agent::{Agent, Handle, Mode};
use hearth_lifecycle::{App, CallError, Home, Options, Request, call, stop};
use http_body_util::Full;
use hyper::body::Bytes;

const APP: App = App {
    name: "pair",
    prefix: "PAIR",
    version: "1.0.0",
    api: (1, 1),
    spawn_args: &["agent"],
    longest_socket: "agent.sock",
};

fn main() -> ExitCode {
    let home = match Home::resolve(&APP, None) {
        Ok(home) => home,
        Err(error) => {
            eprintln!("pair: {error}");
            return ExitCode::from(2);
        }
    };
    match std::env::args().nth(1).as_deref() {
        Some("agent") => agent(home, Mode::Inherited),
        Some("run") => agent(home, Mode::Foreground),
        Some("get") => get(&home, false),
        Some("retry") => get(&home, true),
        Some("stop") => match stop(&APP, &home, Duration::from_secs(10)) {
            Ok(ended) => {
                println!("{ended:?}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                println!("{error:?}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("usage: pair get|retry|stop|run");
            ExitCode::from(2)
        }
    }
}

fn get(home: &Home, past_backoff: bool) -> ExitCode {
    let options = Options {
        no_spawn: std::env::args().any(|argument| argument == "--no-spawn"),
        past_backoff,
        timeout: std::env::args()
            .find_map(|argument| argument.strip_prefix("--timeout-ms=")?.parse().ok())
            .map(Duration::from_millis),
        ..Options::default()
    };
    let (ready, body) = match call(&APP, home, &options, &Request::get("/hello")) {
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
        Err(CallError::NotReady(ready)) => (*ready, String::new()),
        Err(error) => {
            println!(
                "{}",
                serde_json::json!({ "state": "broken", "reason": format!("{error:?}") })
            );
            return ExitCode::FAILURE;
        }
    };
    let told = serde_json::json!({
        "state": ready.state,
        "reason": ready.reason,
        "hint": ready.hint,
        "pid": ready.version.as_ref().map(|version| version.pid),
        "instance": ready.version.as_ref().map(|version| version.instance.clone()),
        "body": body,
    });
    println!("{told}");
    if ready.state.is_ready() { ExitCode::SUCCESS } else { ExitCode::from(3) }
}

fn agent(home: Home, mode: Mode) -> ExitCode {
    let agent = match Agent::take(&APP, home, mode) {
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
            agent.fail("it is my day off");
            return ExitCode::FAILURE;
        }
        "hang" => loop {
            std::thread::park();
        },
        _ => {}
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let handle = agent.handle();
    if fault.trim() == "hook" {
        handle.on_stop("one that hangs", std::future::pending);
    }
    let served = runtime.block_on(agent.serve(Hello(handle)));
    match served {
        Ok(stopped) if stopped.hung.is_empty() => ExitCode::SUCCESS,
        Ok(_) | Err(_) => ExitCode::FAILURE,
    }
}

#[derive(Clone)]
struct Hello(Handle);

impl tower_service::Service<hyper::Request<Full<Bytes>>> for Hello {
    type Response = hyper::Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Done<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: hyper::Request<Full<Bytes>>) -> Self::Future {
        ready(Ok(hyper::Response::new(Full::new(Bytes::from(self.0.instance().to_owned())))))
    }
}
