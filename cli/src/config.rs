//! `hearth config`: every fault of the project's files at once; what they say together; and the
//! schema by which an editor completes and checks them.

use clap::{ArgMatches, Command};
use hearth_api::Code;
use hearth_config::{Kind, LoadError, Project};
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
        .subcommand(Command::new("show").about(
            "Show the file as it counts: hearth.local.toml merged over it, every default spelt out",
        ))
        .subcommand(
            Command::new("schema").about("Print the JSON Schema of a hearth.toml, for editors"),
        )
}

/// Needs no agent.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    match matches.subcommand_name() {
        Some("check") => check(context, &project::required(context)?),
        Some("show") => show(context, &project::required(context)?),
        Some("schema") => output::print(hearth_config::schema().as_bytes()).map(|()| 0),
        Some(_) | None => Err(Refusal::usage("what about the file?").hint("hearth config check")),
    }
}

/// `${...}` stays as it is: what it stands for is known when a service starts.
fn show(context: &Context, place: &Place) -> Result<u8, Refusal> {
    let project = project::load(place)?;
    if context.json {
        output::print_json(&project.to_value())?;
    } else {
        output::print(project.to_toml().as_bytes())?;
    }
    Ok(0)
}

fn check(context: &Context, place: &Place) -> Result<u8, Refusal> {
    let error = match hearth_config::load(&place.directory) {
        Ok(project) if context.json => {
            drop(project);
            return output::print_json(&json!({ "ok": true, "faults": [] })).map(|()| 0);
        }
        Ok(project) => {
            let line = format!("{}: ok, {}\n", project.file.display(), count(&project));
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

/// `2 services, 1 check`.
fn count(project: &Project) -> String {
    let checks = project.services.iter().filter(|one| one.kind == Kind::Check).count();
    let number = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    let services = number(project.services.len() - checks, "service");
    match checks {
        0 => services,
        checks => format!("{services}, {}", number(checks, "check")),
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
