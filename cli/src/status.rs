//! `hearth status`, also `ps`: what runs. Exit 0 whatever the states.

use std::io::IsTerminal;
use std::sync::Arc;

use clap::{ArgMatches, Command};
use hearth_api::reply::Services;
use hearth_api::{AgentRow, ServiceRow, State, stream::Status};
use hearth_lifecycle::{CallError, Ready, Reply, Request};

use crate::agent::{self, Wish};
use crate::args::{self, Context};
use crate::project::{self, Place};
use crate::refuse::{self, Refusal};
use crate::{cold, output, table};

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("status").visible_alias("ps").about("Show what runs").args([
        args::services(),
        args::flag("all", "Services of every project").conflicts_with("services"),
    ])
}

/// Whose services are asked for.
enum Whose {
    Everybody,
    Of(Place),
    /// There is no file: the nearest directory upward whose services run, else services that belong
    /// to no project.
    Nearest,
}

/// Asks the agent, or, where there is none to be had, the home.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let whose = if matches.get_flag("all") {
        Whose::Everybody
    } else {
        project::find(context)?.map_or(Whose::Nearest, Whose::Of)
    };
    // Measuring costs a walk over all processes: it is for people who look.
    let measure = context.verbose || std::io::stdout().is_terminal();
    // Without a file there is nothing to start an agent for, unless something runs.
    let start = !matches!(whose, Whose::Nearest) || cold::any_shim(context);
    let names = args::names(matches);
    let mut answer = ask(context, &whose, start, measure);
    // An older agent that can't measure refuses the question as a whole.
    if measure && matches!(&answer, Ok((_, reply)) if reply.status == 400) {
        answer = ask(context, &whose, start, false);
    }
    match answer {
        Ok((ready, mut reply)) => {
            let body = agent::body(&mut reply)?;
            if !reply.is_success() {
                return Err(Refusal::of_reply(reply.status, &body));
            }
            warm(context, &whose, &names, &ready, &body)
        }
        Err(CallError::NotReady(ready)) => without_agent(context, &whose, &names, &ready),
        Err(error) => Err(refuse::of_call(error, None)),
    }
}

fn ask(
    context: &Context,
    whose: &Whose,
    start: bool,
    measure: bool,
) -> Result<(Arc<Ready>, Reply), CallError> {
    let mut query = Vec::new();
    if let Whose::Of(place) = whose {
        query.push(("project", place.id.as_str()));
    }
    if measure {
        query.push(("measure", "true"));
    }
    let request = Request::get(agent::path("/v1/services", &query));
    agent::ask(context, Wish { start, ..Wish::default() }, &request)
}

fn warm(
    context: &Context,
    whose: &Whose,
    names: &[String],
    ready: &Ready,
    body: &[u8],
) -> Result<u8, Refusal> {
    let Services { services: mut rows } = agent::parse(body)?;
    match whose {
        Whose::Everybody => {}
        Whose::Of(place) => {
            if !may_be_faulty(&rows) || project::load_or_tell(context, place).is_some() {
                tell_changed(context, &rows);
            }
        }
        Whose::Nearest => {
            let place = project::running(context, &rows)?;
            tell_gone(context, &place);
            rows.retain(|row| project::has(&place, row));
        }
    }
    pick(whose, &mut rows, names)?;
    show(context, agent::row(ready), rows, matches!(whose, Whose::Everybody))
}

/// Whether the file may be one that the agent could not read. It compares what runs with the file, so
/// where something runs unchanged the file is good, and need not be read a second time.
fn may_be_faulty(rows: &[ServiceRow]) -> bool {
    let good = |row: &ServiceRow| row.state != State::Down && row.changed == Some(false);
    !rows.iter().any(good)
}

/// In one line, whose definition the file has changed since they were started. For tools, rows say it.
fn tell_changed(context: &Context, rows: &[ServiceRow]) {
    let changed = rows.iter().filter(|row| row.changed == Some(true));
    let names: Vec<_> = changed.map(|row| row.name.as_str()).collect();
    if !names.is_empty() && !context.quiet && !context.json {
        output::tell(&format!(
            "hearth: the file has changed since they were started: {} (`hearth up` takes it over)",
            names.join(", ")
        ));
    }
}

/// In one line, that what runs has no file any more.
fn tell_gone(context: &Context, place: &Place) {
    if !place.id.is_empty() && !context.quiet && !context.json {
        output::tell(&format!(
            "hearth: {} is gone; what it named runs on",
            place.directory.join(hearth_config::FILE).display()
        ));
    }
}

/// The cold path: from the home, in one line on stderr why.
fn without_agent(
    context: &Context,
    whose: &Whose,
    names: &[String],
    ready: &Ready,
) -> Result<u8, Refusal> {
    let mut rows = match whose {
        Whose::Everybody => cold::rows_of_home(context),
        Whose::Of(place) => match project::load_or_tell(context, place) {
            Some(file) => cold::rows(context, &place.id, &file),
            None => {
                let mut rows = cold::rows_of_home(context);
                rows.retain(|row| project::has(place, row));
                rows
            }
        },
        Whose::Nearest => {
            let mut rows = cold::rows_of_home(context);
            let place = project::running(context, &rows)?;
            rows.retain(|row| project::has(&place, row));
            rows
        }
    };
    pick(whose, &mut rows, names)?;
    cold::tell(context, ready);
    show(context, agent::row(ready), rows, matches!(whose, Whose::Everybody))
}

/// The rows of these names. A group is looked up in the file, where a name is no service's.
fn pick(whose: &Whose, rows: &mut Vec<ServiceRow>, names: &[String]) -> Result<(), Refusal> {
    if names.is_empty() {
        return Ok(());
    }
    let is_known = |name: &String| rows.iter().any(|row| row.name == *name);
    let mut names = names.to_vec();
    if !names.iter().all(is_known)
        && let Whose::Of(place) = whose
        && let Ok(file) = project::load(place)
    {
        names = project::expand_known(&file, &names);
    }
    let unknown: Vec<&String> = names.iter().filter(|name| !is_known(name)).collect();
    if !unknown.is_empty() {
        let known: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
        let place = if matches!(whose, Whose::Everybody) { "any project" } else { "this project" };
        return Err(project::no_such(&unknown, place, &known, &[]));
    }
    rows.retain(|row| names.contains(&row.name));
    Ok(())
}

/// Whether there is a figure of what anything uses.
fn measured(rows: &[ServiceRow]) -> bool {
    rows.iter().any(|row| row.memory_bytes.is_some() || row.cpu_percent.is_some())
}

fn show(
    context: &Context,
    agent: AgentRow,
    services: Vec<ServiceRow>,
    all: bool,
) -> Result<u8, Refusal> {
    if context.json {
        output::print_json(&Status { agent, services })?;
    } else {
        output::print(table::of(context, &services, all, measured(&services)).as_bytes())?;
    }
    Ok(0)
}
