//! `hearth daemon`: the agent itself, for who wants to see it. Nobody has to.
//!
//! Kept true here: `down` and `restart` leave services as they are, unless asked; an end is told only
//! when the lifetime lock is free; a living agent is never replaced by an older one. Where a service
//! manager's unit is in charge of the home, it is the manager who does all of it.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, Command};
use hearth_api::Code;
use hearth_lifecycle::agent::Mode;
use hearth_lifecycle::unit::{self, Unit};
use hearth_lifecycle::{CallError, Ended, Ready, Report, State, Stop, StopError, tail};
use serde_json::json;

use crate::agent::{self, Wish};
use crate::args::{self, Context};
use crate::refuse::{self, Refusal};
use crate::{app, cold, down, output};

/// Its grammar.
pub fn grammar() -> Command {
    let force = |help| args::flag("force", help);
    Command::new("daemon")
        .about("The agent itself: it starts by itself, nobody has to do it")
        .subcommand_required(true)
        .subcommands([
            Command::new("up")
                .about("Start the agent and wait until it is ready")
                .arg(args::timeout()),
            Command::new("down").about("End the agent; services stay").args([
                args::flag("services", "End all services first"),
                args::timeout(),
                force("Kill it where it does not end in time"),
            ]),
            Command::new("restart")
                .about("Put a new agent in the place of the one that runs; services notice nothing")
                .arg(force("Kill one that does not answer")),
            Command::new("status")
                .about("Show how it stands with the agent; exit 3 where none lives"),
            Command::new("run")
                .about("Be the agent, in the foreground (what service managers execute)"),
            Command::new("logs")
                .about("Show the agent's own log")
                .args([args::follow(), args::last()]),
        ])
}

/// One of the six.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Refusal::usage("what about the agent?").hint("hearth daemon --help"));
    };
    match verb {
        "up" => up(context, args::timeout_of(matches)),
        "down" => stop(context, matches),
        "restart" => restart(context, matches.get_flag("force")),
        "status" => status(context),
        "run" => foreground(context),
        "logs" => {
            let last = matches.get_one::<usize>("lines").copied();
            logs(&context.home.log(), last, matches.get_flag("follow"))
        }
        other => Err(Refusal::usage(format!("there is no `hearth daemon {other}`"))),
    }
}

/// Goes round the backoff: somebody asked for it by name.
fn up(context: &Context, timeout: Option<Duration>) -> Result<u8, Refusal> {
    let ready =
        agent::ready(context, Wish { start: true, timeout, past_backoff: true, began: None });
    told_and_usable(context, &ready, timeout)
}

fn told_and_usable(
    context: &Context,
    ready: &Ready,
    timeout: Option<Duration>,
) -> Result<u8, Refusal> {
    if context.json {
        output::print_json(&Report::of(&context.home, ready))?;
    } else if ready.state == State::Up && !context.quiet {
        let by = unit::in_charge(app(), &context.home)
            .map(|unit| format!(", {}", unit.name))
            .unwrap_or_default();
        let pid = ready.version.as_ref().map(|version| format!(" (pid {}{by})", version.pid));
        output::tell(&format!("hearth: agent {}{}", ready.state.as_str(), pid.unwrap_or_default()));
    }
    usable(ready, timeout)
}

fn status(context: &Context) -> Result<u8, Refusal> {
    let ready = agent::ready(context, Wish::default());
    let report = Report::of(&context.home, &ready).with_manager(app(), &context.home);
    if context.json {
        output::print_json(&report)?;
    } else {
        output::print(report.lines().as_bytes())?;
    }
    usable(&ready, None)
}

fn usable(ready: &Ready, timeout: Option<Duration>) -> Result<u8, Refusal> {
    if ready.state.is_ready() {
        return Ok(0);
    }
    Err(refuse::of_call(CallError::NotReady(Box::new(ready.clone())), timeout))
}

fn stop(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let timeout = args::timeout_of(matches);
    let force = matches.get_flag("force");
    let anything = || cold::any_shim(context) || cold::any_wanted(context);
    if matches.get_flag("services") && anything() {
        let code = down::everything(context, Wish { start: true, timeout, ..Wish::default() })?;
        if code != 0 {
            return Ok(code);
        }
    }
    let ended = end(context, timeout, force)?;
    let stay = cold::shims(context);
    if context.json {
        let hung = if let Ended::Hung(names) = &ended { names.clone() } else { Vec::new() };
        let was_up = ended != Ended::WasDown;
        output::print_json(
            &json!({ "state": "down", "was_up": was_up, "hung": hung, "services": stay }),
        )?;
    }
    if !context.quiet && !context.json {
        tell(&ended, stay, unit::in_charge(app(), &context.home).as_ref());
    }
    match ended {
        Ended::WasDown | Ended::Stopped | Ended::Killed => Ok(0),
        Ended::Hung(names) => {
            let why =
                format!("the agent is down, and did not wait longer for: {}", names.join(", "));
            Err(Refusal::new(Code::ShutdownTimeout, why)
                .hint("hearth daemon logs")
                .details(json!({ "hung": names })))
        }
    }
}

fn tell(ended: &Ended, stay: usize, unit: Option<&Unit>) {
    let again = |unit: &Unit| {
        format!("; the next verb has it started by {} (`hearth uninstall` ends that)", unit.name)
    };
    let again = unit.map(again).unwrap_or_default();
    match ended {
        Ended::WasDown => output::tell(&format!("hearth: no agent runs{again}")),
        Ended::Stopped => output::tell(&format!("hearth: agent down{again}")),
        Ended::Killed => {
            output::tell(&format!("hearth: agent killed, which did not end by itself{again}"));
        }
        Ended::Hung(_) => {} // the refusal says it
    }
    match stay {
        0 => {}
        1 => output::tell("hearth: 1 service stays up; `hearth down --all` ends it"),
        count => output::tell(&format!(
            "hearth: {count} services stay up; `hearth down --all` ends them"
        )),
    }
}

/// Ends the agent, and kills it with `force` where it does not end by itself.
fn end(context: &Context, timeout: Option<Duration>, force: bool) -> Result<Ended, Refusal> {
    let how = Stop { within: timeout, force };
    agent::client(context).stop(how).map_err(|error| refusal(error, timeout))
}

/// `timeout`: the caller's own, where he gave one: it being over is what he asked to be told.
fn refusal(error: StopError, timeout: Option<Duration>) -> Refusal {
    match error {
        StopError::NotReady(ready) => {
            let refusal = refuse::of_call(CallError::NotReady(ready), timeout);
            let code =
                if refusal.code == Code::Timeout { Code::ShutdownTimeout } else { refusal.code };
            Refusal { code, ..refusal }
        }
        StopError::Late { record, after } => {
            let pid = record.as_ref().map(|record| format!(" (pid {})", record.process.pid));
            let hung = record.map(|record| record.hung).unwrap_or_default();
            let waits = if hung.is_empty() {
                String::new()
            } else {
                format!(", waiting for {}", hung.join(", "))
            };
            let why = format!(
                "the agent{} has not ended within {}{waits}",
                pid.unwrap_or_default(),
                hearth_config::duration::format(after)
            );
            Refusal::new(Code::ShutdownTimeout, why)
                .hint("`hearth daemon down --force` kills it; services stay")
                .details(json!({ "hung": hung }))
        }
        StopError::Failed(why) => {
            Refusal::new(Code::Internal, format!("the agent could not be ended: {why}"))
                .hint("hearth daemon logs")
        }
        StopError::Blocked(blocked) => blocked.into(),
    }
}

/// Puts an agent of this executable into the place of the one that lives; services notice nothing.
fn restart(context: &Context, force: bool) -> Result<u8, Refusal> {
    let wish = Wish { start: true, past_backoff: true, ..Wish::default() };
    // One that has to be ended first is; its shims give the next one all that it knew.
    let ready = agent::replace(context, wish, force).map_err(|error| {
        refuse::of_call(error, None).and_details(json!({ "log": context.home.log() }))
    })?;
    told_and_usable(context, &ready, None)
}

/// The agent's own log.
fn logs(path: &Path, last: Option<usize>, follow: bool) -> Result<u8, Refusal> {
    let mut refused = None;
    let mut print = |bytes: &[u8]| {
        output::print(bytes).map_err(|refusal| {
            refused = Some(refusal);
            std::io::ErrorKind::Other.into()
        })
    };
    let stdout = std::io::stdout();
    let follow = follow.then(|| stdout.as_fd());
    match (tail(path, last, follow, &mut print), refused) {
        (_, Some(refusal)) => Err(refusal),
        (Ok(()), None) => Ok(0),
        (Err(error), None) => {
            Err(Refusal::new(Code::Internal, format!("cannot read {}: {error}", path.display())))
        }
    }
}

/// Does not come back before the agent has ended.
fn foreground(context: &Context) -> Result<u8, Refusal> {
    let code = hearth_agent::main(app(), context.home.clone(), Mode::Foreground)
        .map_err(refuse::of_start)?;
    // It has said why itself. An `ExitCode` can only be compared.
    let known = [0, 1, 2, 3, 4, 5].into_iter().find(|known| ExitCode::from(*known) == code);
    Ok(known.unwrap_or(1))
}
