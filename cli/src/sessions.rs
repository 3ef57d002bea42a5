//! `hearth sessions`: who needs services.

use clap::{ArgMatches, Command};
use hearth_api::{SessionRow, Sessions};
use hearth_lifecycle::Request;

use crate::agent::{self, Wish};
use crate::args::Context;
use crate::refuse::Refusal;
use crate::{output, table};

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("sessions").about("Show the sessions, and what is leased to them")
}

/// All of the home, whatever the project.
pub fn run(context: &Context, _: &ArgMatches) -> Result<u8, Refusal> {
    let wish = Wish { start: true, ..Wish::default() };
    let (_, body) = agent::fetch(context, wish, &Request::get("/v1/sessions"))?;
    if context.json {
        return output::print_json(&agent::parse::<serde_json::Value>(&body)?).map(|()| 0);
    }
    let Sessions { sessions } = agent::parse(&body)?;
    output::print(of(context, &sessions).as_bytes()).map(|()| 0)
}

fn of(context: &Context, sessions: &[SessionRow]) -> String {
    if sessions.is_empty() {
        return "no sessions\n".to_owned();
    }
    let head = ["ID", "KIND", "NAME", "PID", "SINCE", "LEASES"];
    let mut lines = vec![head.map(|title| (title.to_owned(), table::DIM)).to_vec()];
    lines.extend(sessions.iter().map(|row| cells(row).map(|text| (text, "")).to_vec()));
    table::aligned(&lines, output::color(context))
}

fn cells(row: &SessionRow) -> [String; 6] {
    let since = table::ago(&row.started_at).unwrap_or_else(|| "-".to_owned());
    let name = table::harmless(&row.name);
    [row.id.clone(), table::harmless(&row.kind), name, row.pid.to_string(), since, leases(row)]
}

/// `db, web in /src/app; redis`: what belongs to no project stands without one.
fn leases(row: &SessionRow) -> String {
    let held = row.leases.iter().filter(|lease| !lease.services.is_empty());
    let words: Vec<String> = held
        .map(|lease| {
            let services = lease.services.join(", ");
            match lease.project.as_deref().filter(|project| !project.is_empty()) {
                Some(project) => format!("{services} in {project}"),
                None => services,
            }
        })
        .collect();
    if words.is_empty() { "-".to_owned() } else { words.join("; ") }
}

#[cfg(test)]
mod tests {
    use hearth_api::LeaseRow;

    use super::*;

    #[test]
    fn a_row_tells_what_is_leased_and_where() {
        let lease = |project: Option<&str>, services: &[&str]| LeaseRow {
            id: "l-1".into(),
            project: project.map(str::to_owned),
            services: services.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut row = SessionRow {
            id: "s-1".into(),
            pid: 7,
            started_at: String::new(),
            kind: "shell".into(),
            name: "zsh\x1b[2J".into(),
            cwd: None,
            leases: vec![lease(Some("/a"), &[])],
        };
        let bare = cells(&row);
        assert_eq!((bare[2].as_str(), bare[4].as_str(), bare[5].as_str()), ("zsh", "-", "-"));
        row.leases = vec![lease(Some("/a"), &["db", "web"]), lease(None, &["redis"])];
        assert_eq!(cells(&row)[5], "db, web in /a; redis");
    }
}
