//! The smallest pair: a verb that asks its agent for a word, and the agent that says it.
//!
//! The first `hello` starts the agent; whatever comes after it finds that one.

use std::process::ExitCode;

use hearth_lifecycle::agent::{self, Request};
use hearth_lifecycle::{App, Client, Home, Options};

const APP: App = App::new("hello", "1.0.0");

fn main() -> ExitCode {
    let home = match Home::resolve(&APP, None) {
        Ok(home) => home,
        Err(error) => return refuse(&error),
    };
    if let Some(mode) = APP.spawned() {
        let hello = |_: Request| async { agent::json(200, &"hello") };
        return agent::run(&APP, home, mode, async |_| Ok(agent::service_fn(hello)));
    }
    match Client::at(&APP, home).get::<String>("/hello", &Options::default()) {
        Ok(word) => println!("{word}"),
        Err(error) => return refuse(&error),
    }
    ExitCode::SUCCESS
}

fn refuse(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("hello: {error}");
    ExitCode::FAILURE
}
