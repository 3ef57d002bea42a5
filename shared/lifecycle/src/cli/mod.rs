//! Ready-made arguments and verbs for clap: `daemon up|down|restart|status|run|logs`, `install`,
//! `uninstall`, and the options that go with them.
//!
//! Kept true here: results go to stdout and everything else to stderr; with `--json` every answer but the
//! log, which is text, is one line of JSON, a refusal too; an exit code has one meaning: 0 done, 1 refused by what is there, 2 wrong
//! usage, 3 no agent, 4 not in time, 5 no such thing.
//!
//! ```no_run
//! # #[cfg(feature = "agent")] fn example() -> std::process::ExitCode {
//! use std::process::ExitCode;
//! use hearth_lifecycle::agent::{self, Mode, Request};
//! use hearth_lifecycle::{App, Home, cli};
//!
//! const NOTES: App = App::new("notes", env!("CARGO_PKG_VERSION"));
//!
//! fn be_the_agent(home: Home, mode: Mode) -> ExitCode {
//!     let hello = |_: Request| async { agent::json(200, &"hello") };
//!     agent::run(&NOTES, home, mode, async |_| Ok(agent::service_fn(hello)))
//! }
//!
//! // In `main`:
//! if let Some(mode) = NOTES.spawned() {
//!     return Home::resolve(&NOTES, None).map_or(ExitCode::from(2), |home| be_the_agent(home, mode));
//! }
//! let grammar = clap::Command::new("notes").args(cli::globals()).subcommands(cli::verbs());
//! let matches = grammar.get_matches();
//! let globals = cli::Globals::of(&NOTES, &matches);
//! let client = match globals.client(&NOTES) {
//!     Ok(client) => client,
//!     Err(refusal) => return refusal.show(&NOTES, globals.json),
//! };
//! let run = |home| be_the_agent(home, Mode::Foreground);
//! match cli::run(&client, &globals, matches.subcommand(), run) {
//!     Some(code) => code,
//!     None => ExitCode::SUCCESS, // a verb of the app's own
//! }
//! # }
//! ```

mod daemon;
mod install;
mod refusal;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;

pub use self::refusal::Refusal;
use crate::{App, Client, Home, Need, Options};

/// Ids of the options that hold for every verb.
const HOME: &str = "home";
const NO_SPAWN: &str = "no-spawn";
const STRICT: &str = "strict";
const JSON: &str = "json";
const QUIET: &str = "quiet";

/// Options that hold for every verb: `--home DIR`, `--no-spawn`, `--strict`, `--json`, `-q`.
pub fn globals() -> [Arg; 5] {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).action(ArgAction::SetTrue).global(true)
    };
    [
        Arg::new(HOME)
            .long(HOME)
            .value_name("DIR")
            .help("The home of the agent; absolute")
            .value_parser(clap::value_parser!(PathBuf))
            .global(true),
        flag(NO_SPAWN, "Never start an agent"),
        flag(STRICT, "Fail where there is no agent, instead of doing without"),
        flag(JSON, "Answers and errors as JSON"),
        flag(QUIET, "Only errors on stderr").short('q'),
    ]
}

/// The verbs `daemon`, `install` and `uninstall`.
pub fn verbs() -> [Command; 3] {
    [daemon::grammar(), install::grammar(), install::grammar_of_uninstall()]
}

/// What was said by [`globals`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// The home that was named.
    pub home: Option<PathBuf>,
    /// How much a verb needs its agent: by option, else by the app's variables. With `--strict` and
    /// `--no-spawn` none is started, and the verb fails where there is none.
    pub need: Need,
    /// None is to be started.
    pub no_spawn: bool,
    /// Answers are JSON.
    pub json: bool,
    /// Only errors on stderr.
    pub quiet: bool,
}

impl Globals {
    /// Of a command line that [`globals`] are a part of.
    pub fn of(app: &App, matches: &ArgMatches) -> Self {
        let no_spawn = matches.get_flag(NO_SPAWN);
        let need = match (matches.get_flag(STRICT), no_spawn) {
            (true, _) => Need::Strict,
            (false, true) => Need::Never,
            (false, false) => Need::of_environment(app),
        };
        Self {
            home: matches.get_one::<PathBuf>(HOME).cloned(),
            need,
            no_spawn,
            json: matches.get_flag(JSON),
            quiet: matches.get_flag(QUIET),
        }
    }

    /// The client of that home.
    pub fn client(&self, app: &App) -> Result<Client, Refusal> {
        let client = Client::in_home(app, self.home.as_deref())
            .map_err(|error| Refusal::of_home(app, &error))?;
        Ok(if self.quiet || self.json { client } else { client.telling() })
    }

    /// Prints a result on stdout: as a line of JSON, else in words. A reader that has gone away is no
    /// fault of anybody's.
    pub fn print<T: Serialize + ?Sized>(
        &self,
        value: &T,
        words: impl FnOnce(&T) -> String,
    ) -> Result<(), Refusal> {
        let text = match self.json {
            true => format!("{}\n", serde_json::to_string(value).unwrap_or_default()),
            false => words(value),
        };
        match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Refusal::new("internal", format!("cannot write to stdout: {error}"), ""))
            }
            _ => Ok(()),
        }
    }

    /// What a verb allows. A wait of more than 500 ms is named, on a terminal.
    pub fn options(&self) -> Options<'static> {
        let tells = !self.quiet && !self.json;
        let on_wait = tells.then_some(&named_on_terminal as &(dyn Fn(&str) + Sync));
        Options { no_spawn: self.no_spawn, on_wait, ..Options::default() }
    }
}

fn named_on_terminal(words: &str) {
    if io::stderr().is_terminal() {
        let _ = io::stderr().write_all(format!("waiting: {words}\n").as_bytes());
    }
}

/// Runs one of [`verbs`]; `None`: it is none of them. `foreground` becomes the agent of the home and
/// returns when that has ended (`daemon run`).
pub fn run(
    client: &Client,
    globals: &Globals,
    verb: Option<(&str, &ArgMatches)>,
    foreground: impl FnOnce(Home) -> ExitCode,
) -> Option<ExitCode> {
    let with = Verb { client, globals };
    let done = match verb {
        Some(("daemon", matches)) => match matches.subcommand() {
            Some(("run", _)) => return Some(foreground(client.home().clone())),
            other => with.daemon(other),
        },
        Some(("install", matches)) => with.install(matches),
        Some(("uninstall", _)) => with.uninstall(),
        _ => return None,
    };
    Some(match done {
        Ok(code) => ExitCode::from(code),
        Err(refusal) => refusal.show(client.app(), globals.json),
    })
}

/// One verb and what holds for it.
struct Verb<'a> {
    client: &'a Client,
    globals: &'a Globals,
}

impl Verb<'_> {
    fn name(&self) -> &'static str {
        self.client.app().name()
    }

    /// A line on stderr, for people.
    fn tell(&self, words: &str) {
        if !self.globals.quiet && !self.globals.json {
            let _ = io::stderr().write_all(format!("{}: {words}\n", self.name()).as_bytes());
        }
    }

    /// As JSON, where that was asked for.
    fn print_json(&self, value: &impl Serialize) -> Result<(), Refusal> {
        if self.globals.json { self.globals.print(value, |_| String::new()) } else { Ok(()) }
    }
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

/// `--timeout D`.
fn timeout() -> Arg {
    Arg::new("timeout")
        .long("timeout")
        .value_name("D")
        .help("How long, such as 500ms, 2s, 1m30s")
        .value_parser(|text: &str| humantime::parse_duration(text).map_err(|e| e.to_string()))
}

fn timeout_of(matches: &ArgMatches) -> Option<Duration> {
    matches.get_one::<Duration>("timeout").copied()
}
