//! `notes`: keeps notes in the memory of an agent that starts by itself.
//!
//! All of a pair in one file: the verbs, and the agent that they warm. Every verb works with none there:
//! the first one starts it.
//!
//! ```text
//! notes add milk          keeps a note; its number on stdout
//! notes                   all notes
//! notes remove 1
//! notes daemon status     and up, down, restart, run, logs
//! notes install           hands the agent to systemd or launchd
//! ```

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use hearth_lifecycle::agent::{self, Agent, Mode, Request, Response};
use hearth_lifecycle::cli::{self, Globals, Refusal};
use hearth_lifecycle::health::Checks;
use hearth_lifecycle::{App, Client, Facts, Home, Luggage, Problem};
use serde::{Deserialize, Serialize};

const NOTES: App = App::new("notes", env!("CARGO_PKG_VERSION")).label("dev.hearth.notes");

/// So many notes are enough for anybody.
const MOST: usize = 1000;

fn main() -> ExitCode {
    if let Some(mode) = NOTES.spawned() {
        return match Home::resolve(&NOTES, None) {
            Ok(home) => be_the_agent(home, mode),
            Err(error) => Refusal::new(error.code(), error.to_string(), "").show(&NOTES, false),
        };
    }
    let matches = grammar().get_matches();
    let globals = Globals::of(&NOTES, &matches);
    let client = match globals.client(&NOTES) {
        Ok(client) => client,
        Err(refusal) => return refusal.show(&NOTES, globals.json),
    };
    let foreground = |home| be_the_agent(home, Mode::Foreground);
    if let Some(code) = cli::run(&client, &globals, matches.subcommand(), foreground) {
        return code;
    }
    match verb(&client, &globals, matches.subcommand()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => refusal.show(&NOTES, globals.json),
    }
}

// ---- the verbs ----

fn grammar() -> Command {
    let text = Arg::new("text").required(true).num_args(1..).help("What to keep");
    let number = Arg::new("number").required(true).value_parser(clap::value_parser!(u64));
    Command::new("notes")
        .about("Keeps notes in an agent that starts by itself")
        .version(NOTES.version())
        .args(cli::globals())
        .subcommand(Command::new("add").about("Keep a note").arg(text))
        .subcommand(Command::new("list").about("Show all notes (also without a verb)"))
        .subcommand(Command::new("remove").about("Throw a note away").arg(number))
        .subcommands(cli::verbs())
}

fn verb(
    client: &Client,
    globals: &Globals,
    verb: Option<(&str, &ArgMatches)>,
) -> Result<(), Refusal> {
    // Each asks once: that starts the agent where there is none, and tells so in one line.
    let options = globals.options();
    match verb {
        Some(("add", matches)) => {
            let words: Vec<_> = matches.get_many::<String>("text").into_iter().flatten().collect();
            let text = words.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" ");
            let note: Note = client.post("/v1/notes", &New { text }, &options)?;
            globals.print(&note, |note| format!("{}\n", note.number))
        }
        Some(("remove", matches)) => {
            let number = matches.get_one::<u64>("number").copied().unwrap_or_default();
            let note: Note = client.delete(&format!("/v1/notes/{number}"), &options)?;
            globals.print(&note, |_| String::new())
        }
        _ => {
            let all: Vec<Note> = client.get("/v1/notes", &options)?;
            let line = |note: &Note| format!("{}  {}\n", note.number, note.text);
            globals.print(&all, |all| all.iter().map(line).collect())
        }
    }
}

// ---- the agent ----

/// What is kept, and sent.
#[derive(Clone, Serialize, Deserialize)]
struct Note {
    number: u64,
    text: String,
}

/// A note that has no number yet.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    text: String,
}

// A std mutex is right: it is held for a look, never across an await.
type Notes = Arc<Mutex<BTreeMap<u64, Note>>>;

fn be_the_agent(home: Home, mode: Mode) -> ExitCode {
    agent::run(&NOTES, home, mode, async |agent: &mut Agent| {
        // What the agent before this one had, where it is replaced by `daemon restart`.
        let before = agent.take_over()?;
        let before = before.map(|luggage| serde_json::from_str(&luggage.notes)).transpose();
        let notes: Notes = Arc::new(Mutex::new(before?.unwrap_or_default()));
        let (handle, kept) = (agent.handle(), Arc::clone(&notes));
        let freeze = move || {
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let notes = serde_json::to_string(&*kept).unwrap_or_default();
            async { Luggage { notes, fds: Vec::new() } }
        };
        handle.on_hand_over(freeze, || async {});
        let checks = Checks::new(Duration::from_secs(1));
        let counted = Arc::clone(&notes);
        checks.register("room", move || {
            let count = counted.lock().unwrap_or_else(PoisonError::into_inner).len();
            let room = if count < MOST { Ok(format!("{count} notes")) } else { Err("full".into()) };
            async { room }
        });
        agent.serve_health(&checks);
        let fields = [("most".to_owned(), MOST.into())].into_iter().collect();
        let facts = Facts { fields, ..Facts::default() };
        agent.publish(facts)?;
        let keeps =
            |notes: &Notes| !notes.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        let busy = Arc::new(Mutex::new(keeps(&notes).then(|| handle.busy())));
        Ok(agent::service_fn(move |request| {
            let (notes, busy, handle) = (Arc::clone(&notes), Arc::clone(&busy), handle.clone());
            async move {
                let reply = answer(&notes, request).await.unwrap_or_else(|no| agent::refuse(&no));
                // An agent that keeps something does not go when it has nothing to do.
                let guard = keeps(&notes).then(|| handle.busy());
                *busy.lock().unwrap_or_else(PoisonError::into_inner) = guard;
                reply
            }
        }))
    })
}

async fn answer(notes: &Notes, request: Request) -> Result<Response, Problem> {
    let (method, path) = (request.method().as_str().to_owned(), request.uri().path().to_owned());
    let lock = || notes.lock().unwrap_or_else(PoisonError::into_inner);
    match (method.as_str(), path.strip_prefix("/v1/notes")) {
        ("GET", Some("")) => Ok(agent::json(200, &lock().values().collect::<Vec<_>>())),
        ("POST", Some("")) => {
            let New { text } = agent::body(request).await?;
            let mut notes = lock();
            if notes.len() >= MOST {
                let why = format!("there are {MOST} notes, and no room for more");
                return Err(Problem::new(409, "full", why, "`notes remove 1`"));
            }
            let number = notes.last_key_value().map_or(1, |(last, _)| last + 1);
            notes.insert(number, Note { number, text });
            Ok(agent::json(201, &notes[&number]))
        }
        ("DELETE", Some(rest)) => {
            let number = rest.strip_prefix('/').and_then(|number| number.parse::<u64>().ok());
            let removed = number.and_then(|number| lock().remove(&number));
            let missing =
                || Problem::new(404, "not-found", "there is no such note", "`notes list`");
            removed.map(|note| agent::json(200, &note)).ok_or_else(missing)
        }
        (method, Some("")) => {
            let why = format!("/v1/notes takes GET and POST, and not {method}");
            Err(Problem::new(405, "bad-request", why, ""))
        }
        _ => Err(Problem::new(404, "not-found", format!("there is no route {path}"), "")),
    }
}
