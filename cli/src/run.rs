//! `hearth run -- CMD...`: a service without a file, in a project or in none.

use std::time::Instant;

use clap::{Arg, ArgMatches, Command};
use hearth_api::{RunReady, RunRequest};

use crate::agent::Wish;
use crate::args::{self, Context};
use crate::refuse::Refusal;
use crate::sheet::Sheet;
use crate::story::Goal;
use crate::stream::{Heard, Wait};
use crate::{capture, lease, project, restart};

/// Longest name of a service.
const LONGEST: usize = 63;

/// Its grammar.
pub fn grammar() -> Command {
    let ready =
        |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    Command::new("run")
        .about("Run a command as a service that is in no file, and wait until it is ready")
        .override_usage("hearth run [OPTIONS] -- CMD...")
        .args([
            Arg::new("name").long("name").value_name("N").help("Its name; else that of CMD"),
            ready("ready-tcp", "P")
                .conflicts_with_all(["ready-http", "ready-log"])
                .help("Ready when this port, or host:port, takes connections"),
            ready("ready-http", "U")
                .conflicts_with("ready-log")
                .help("Ready when this http:// URL answers well"),
            ready("ready-log", "R").help("Ready when a line of its output matches"),
            args::timeout(),
            lease::option(),
            Arg::new("command").value_name("CMD").num_args(1..).last(true).required(true),
        ])
}

/// The command stays behind the verb: it is told how to look at it and how to end it.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let command: Vec<String> =
        matches.get_many::<String>("command").into_iter().flatten().cloned().collect();
    let name = match matches.get_one::<String>("name") {
        Some(name) => name.clone(),
        None => name_of(command.first().map_or("", String::as_str))?,
    };
    let project = project::find(context)?.map(|place| place.id);
    let id = project.clone().unwrap_or_default();
    let (began, timeout) = (Some(Instant::now()), args::timeout_of(matches));
    let wish = Wish { start: true, timeout, began, ..Wish::default() };
    let mut body = request(context, project, name.clone(), command, ready(matches))?;
    let holder = lease::holder(context, matches, wish)?;
    body.session = holder.as_ref().map(|holder| holder.id.clone());
    let mut request = capture::post("/v1/run", &body, &body.env)?.repeatable();
    request.headers.push(("hearth-request", restart::id()));
    let wait = Wait {
        context,
        wish,
        request,
        project: Some(id),
        named: vec![name.clone()],
        goal: Goal::Ready,
        no_wait: false,
        cold: None,
    };
    let sheet = Sheet::of_loose(&name, matches!(body.ready, Some(RunReady::Http(_))));
    let mut heard = Heard::new(context, Goal::Ready, sheet);
    let told = wait.told(&mut heard)?;
    if told.done.as_ref().is_ok_and(|code| *code == 0) {
        heard
            .progress
            .say(&format!("`hearth logs -f {name}` shows it, `hearth down {name}` ends it"));
        if let Some(holder) = &holder {
            heard.progress.say(&lease::words(holder));
        }
    }
    told.end(context)
}

fn request(
    context: &Context,
    project: Option<String>,
    name: String,
    run: Vec<String>,
    ready: Option<RunReady>,
) -> Result<RunRequest, Refusal> {
    let captured = capture::request(String::new(), Vec::new());
    let directory = project::start(context)?;
    let directory = directory.canonicalize().unwrap_or(directory);
    let Some(dir) = directory.to_str().map(str::to_owned) else {
        let why = format!("the directory's path is not UTF-8: {}", directory.display());
        return Err(Refusal::usage(why).hint("cd to another one, or name one with -C"));
    };
    let (env, umask, limits) = (captured.env, captured.umask, captured.limits);
    Ok(RunRequest { project, name, run, dir, ready, env, umask, limits, session: None })
}

fn ready(matches: &ArgMatches) -> Option<RunReady> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    (text("ready-tcp").map(RunReady::Tcp))
        .or_else(|| text("ready-http").map(RunReady::Http))
        .or_else(|| text("ready-log").map(RunReady::Log))
}

/// A name from a command's: its last part in small letters, `-` for what a name may not have.
fn name_of(command: &str) -> Result<String, Refusal> {
    let base = command.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
    let letter = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-' | '_') => c,
        _ => '-',
    };
    let name: String = base.chars().map(letter).collect();
    let name: String = name.trim_matches(['-', '_']).chars().take(LONGEST).collect();
    if name.is_empty() {
        let why = format!("`{}` does not make a name for a service", command.escape_debug());
        return Err(Refusal::usage(why).hint("hearth run --name NAME -- CMD..."));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_the_commands_last_part() {
        let long = "x".repeat(100);
        for (command, name) in [
            ("sleep", "sleep"),
            ("/usr/bin/python3.11", "python3-11"),
            ("./My Server.sh", "my-server-sh"),
            ("bin/_run_", "run"),
            ("dir/", "dir"),
            (&long, &long[..63]),
        ] {
            assert_eq!(name_of(command).unwrap(), name, "{command}");
        }
        for command in ["", "/", "日本", "--", "./."] {
            let refusal = name_of(command).unwrap_err();
            assert!(refusal.hint.contains("--name"), "{command}");
        }
    }
}
