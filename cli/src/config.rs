//! `hearth config check`: every fault of the project's file at once.

use clap::{ArgMatches, Command};
use hearth_api::Code;
use hearth_config::LoadError;
use serde_json::{Value, json};

use crate::args::Context;
use crate::output;
use crate::project::{self, Place};
use crate::refuse::Refusal;

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("config")
        .about("Look at the project's hearth.toml")
        .subcommand_required(true)
        .subcommand(
            Command::new("check").about("Tell every fault of the file; exit 2 where there is one"),
        )
}

/// Needs no agent.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    match matches.subcommand_name() {
        Some("check") => check(context, &project::required(context)?),
        Some(_) | None => Err(Refusal::usage("what about the file?").hint("hearth config check")),
    }
}

fn check(context: &Context, place: &Place) -> Result<u8, Refusal> {
    let error = match hearth_config::load(&place.directory) {
        Ok(project) if context.json => {
            drop(project);
            return output::print_json(&json!({ "ok": true, "faults": [] })).map(|()| 0);
        }
        Ok(project) => {
            let count = project.services.len();
            let line = format!("{}: ok, {count} services\n", project.file.display());
            return output::print(line.as_bytes()).map(|()| 0);
        }
        Err(error) => error,
    };
    if context.json {
        output::print_json(&json!({ "ok": false, "faults": faults(&error) }))?;
    }
    match error {
        // It was found a moment ago: what is wrong is the file, not that there is none.
        LoadError::Missing { .. } => Err(Refusal::new(Code::BadConfig, error.to_string())),
        LoadError::Unreadable { .. } | LoadError::Faulty(_) => Err(error.into()),
    }
}

fn faults(error: &LoadError) -> Value {
    match error {
        LoadError::Faulty(faults) => json!(faults.as_slice()),
        LoadError::Missing { path } | LoadError::Unreadable { path, .. } => json!([{
            "file": path, "line": 1, "column": 1, "message": error.to_string(), "expected": "a file that can be read",
        }]),
    }
}
