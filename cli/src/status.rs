//! `hearth status`, also `ps`: what runs. Exit 0 whatever the states.

use clap::{ArgMatches, Command};
use hearth_api::reply::Services;
use hearth_api::{AgentRow, Code, ServiceRow, State, stream::Status};
use hearth_lifecycle::{CallError, Ready, Request};

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
    /// There is no file: the nearest directory upward whose services run.
    Nearest,
}

/// Asks the agent, or, where there is none to be had, the home.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let whose = if matches.get_flag("all") {
        Whose::Everybody
    } else {
        project::find(context)?.map_or(Whose::Nearest, Whose::Of)
    };
    let path = match &whose {
        Whose::Of(place) => agent::path("/v1/services", &[("project", &place.id)]),
        Whose::Everybody | Whose::Nearest => "/v1/services".to_owned(),
    };
    // Without a file there is nothing to start an agent for, unless something runs.
    let start = !matches!(whose, Whose::Nearest) || cold::any_shim(context);
    let names = args::names(matches);
    match agent::ask(context, Wish { start, ..Wish::default() }, &Request::get(path)) {
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
            if may_be_faulty(&rows) {
                project::load_or_tell(context, place);
            }
        }
        Whose::Nearest => {
            let place = project::running(context, &rows)?;
            rows.retain(|row| project::has(&place, row));
        }
    }
    pick(&mut rows, names)?;
    show(context, agent::row(ready), rows, matches!(whose, Whose::Everybody))
}

/// Whether the file may be one that the agent could not read. It compares what runs with the file, so
/// where something runs unchanged the file is good, and need not be read a second time.
fn may_be_faulty(rows: &[ServiceRow]) -> bool {
    let good = |row: &ServiceRow| row.state != State::Down && row.changed == Some(false);
    !rows.iter().any(good)
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
                rows.retain(|row| project::has(&place, row));
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
    pick(&mut rows, names)?;
    cold::tell(context, ready);
    show(context, agent::row(ready), rows, matches!(whose, Whose::Everybody))
}

fn pick(rows: &mut Vec<ServiceRow>, names: &[String]) -> Result<(), Refusal> {
    if names.is_empty() {
        return Ok(());
    }
    if let Some(name) = names.iter().find(|name| rows.iter().all(|row| row.name != **name)) {
        let known: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
        return Err(Refusal::new(Code::NotFound, format!("no service `{name}` in this project"))
            .hint(format!("its services: {}", known.join(", "))));
    }
    rows.retain(|row| names.contains(&row.name));
    Ok(())
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
        output::print(table::of(context, &services, all).as_bytes())?;
    }
    Ok(0)
}
