//! `hearth health`: the agent's checks and the project's. Exit 1 where one does not hold.

use clap::{ArgMatches, Command};
use hearth_api::{Code, HealthReport};
use hearth_lifecycle::Request;
use serde_json::{Value, json};

use crate::agent::{self, Wish};
use crate::args::Context;
use crate::refuse::{self, Refusal};
use crate::{output, project, table};

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("health")
        .about("Check the agent and the project's services; exit 1 where one fails")
}

/// In no project: the agent's own checks.
pub fn run(context: &Context, _: &ArgMatches) -> Result<u8, Refusal> {
    let path = match project::find(context)? {
        Some(place) => agent::path("/v1/health", &[("project", &place.id)]),
        None => "/v1/health".to_owned(),
    };
    let wish = Wish { start: true, ..Wish::default() };
    let (_, mut reply) = agent::ask(context, wish, &Request::get(path))
        .map_err(|error| refuse::of_call(error, None))?;
    let body = agent::body(&mut reply)?;
    // 503 is an answer here: unhealthy. Only a report is one.
    let Ok(report) = serde_json::from_slice::<HealthReport>(&body) else {
        return Err(Refusal::of_reply(reply.status, &body));
    };
    if context.json {
        output::print_json(&agent::parse::<Value>(&body)?)?;
    } else {
        output::print(table(context, &report).as_bytes())?;
    }
    if report.healthy {
        return Ok(0);
    }
    let failing = report.checks.iter().filter(|(_, check)| !check.healthy);
    let failing: Vec<_> =
        failing.map(|(name, check)| (name.as_str(), check.message.as_str())).collect();
    let words: Vec<_> =
        failing
            .iter()
            .map(|(name, message)| {
                if message.is_empty() { (*name).to_owned() } else { format!("{name} ({message})") }
            })
            .collect();
    let names: Vec<_> = failing.iter().map(|(name, _)| *name).collect();
    Err(Refusal::new(Code::HealthFailed, format!("not healthy: {}", words.join(", ")))
        .hint("hearth status")
        .details(json!({ "failing": names })))
}

fn table(context: &Context, report: &HealthReport) -> String {
    let line = |(name, check): (&String, &hearth_api::Check)| {
        let message = anstream::adapter::strip_str(&check.message).to_string();
        // More lines of it are under each other, in the same column.
        let mut parts = message.lines();
        let status = table::health_in_word(check.status).to_owned();
        let first = parts.next().unwrap_or_default().to_owned();
        let mut lines =
            vec![vec![(name.clone(), ""), (status, table::paint(check.status)), (first, "")]];
        let empty = || (String::new(), "");
        lines.extend(parts.map(|part| vec![empty(), empty(), (part.to_owned(), "")]));
        lines
    };
    let lines: Vec<_> = report.checks.iter().flat_map(line).collect();
    table::aligned(&lines, output::color(context))
}
