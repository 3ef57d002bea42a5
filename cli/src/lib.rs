//! hearth: argv to one request to the terminal. The CLI decides nothing about services; it asks,
//! prints and exits.
//!
//! Kept true here: what is not a verb is told apart before anything is built. `hearth shim`, `hearth probe`,
//! `hearth agent` and `hearth return` are the executable's other faces; they must not pay for a
//! grammar that they do not use, and a shim must stay small for as long as its service lives. A
//! verb builds the grammar of that verb alone, starts no thread and no runtime, reads no file that
//! it does not need, and writes its answer at once.

mod agent;
mod args;
mod attach;
mod capture;
mod clock;
mod cold;
mod comeback;
mod completions;
mod config;
mod daemon;
mod disable;
mod doctor;
mod down;
mod drawing;
mod enable;
mod env;
mod events;
mod finding;
mod follow;
mod health;
mod hook;
mod inherited;
mod init;
mod install;
mod interrupt;
mod lease;
mod lines;
mod logs;
mod output;
mod plain;
mod progress;
mod project;
mod refuse;
mod restart;
mod run;
mod session;
mod sessions;
mod sheet;
mod sse;
mod status;
mod story;
mod stream;
mod table;
mod telling;
mod trust;
mod trusted;
mod r#try;
mod undo;
mod uninstall;
mod up;
mod verdict;
mod version;
mod wait;
mod why;
mod with;
mod written;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::OnceLock;

use hearth_lifecycle::agent::Mode;
use hearth_lifecycle::{App, Home};

use crate::args::Parsed;
use crate::refuse::Refusal;

/// Who the pair is, in every release.
pub const APP: App = App::new("hearth", hearth_api::VERSION)
    .api(hearth_api::API_MIN, hearth_api::API_MAX)
    .label("dev.hearth.agent")
    .longest_socket("shims/0123456789abcdef.sock");

/// Who this process is: set once, by [`main`], and then the same for every face.
static WHO: OnceLock<App> = OnceLock::new();

pub(crate) fn app() -> &'static App {
    WHO.get_or_init(|| APP)
}

/// The grammar of all verbs: what the man pages and the completions that are shipped are made of.
#[must_use]
pub fn grammar() -> clap::Command {
    args::whole()
}

/// Everything, from argv to the exit code. `app` is [`APP`]; the tests build a second executable that
/// says of itself that it is of a later version.
#[must_use]
pub fn main(app: App) -> ExitCode {
    let _ = WHO.set(app);
    let argv: Vec<OsString> = std::env::args_os().collect();
    if let Some(mode) = self::app().spawned() {
        return agent(mode);
    }
    match argv.get(1).and_then(|word| word.to_str()) {
        Some("shim") => hearth_shim::main(),
        Some("probe") => hearth_shim::one_shot::main(),
        Some("return") => comeback::main(argv.get(2)),
        Some(_) | None => verb(argv),
    }
}

/// The agent that a verb has spawned: it knows its home by the environment alone.
fn agent(mode: Mode) -> ExitCode {
    let home = match Home::resolve(app(), None) {
        Ok(home) => home,
        Err(error) => {
            eprintln!("hearth: {error}");
            return ExitCode::from(2);
        }
    };
    // What it says here goes to the agent's log; the verb that waits has been told.
    hearth_agent::main(app(), home, mode).unwrap_or_else(|error| {
        let refusal = refuse::of_start(error);
        refusal.show(false);
        ExitCode::from(refusal.code.exit())
    })
}

fn verb(argv: Vec<OsString>) -> ExitCode {
    interrupt::install();
    let json = args::wants_json(&argv);
    let done = match args::parse(argv) {
        Ok(Parsed::Verb(call)) => (call.verb)(&call.context, &call.matches),
        Ok(Parsed::Text(text)) => output::print(text.as_bytes()).map(|()| 0),
        Err(refusal) => Err(refusal),
    };
    ExitCode::from(done.unwrap_or_else(|refusal: Refusal| {
        refusal.show(json);
        refusal.code.exit()
    }))
}
