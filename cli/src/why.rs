//! `hearth why SERVICE`: who holds it, and through whom.

use std::time::SystemTime;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgMatches, Command};
use hearth_api::session::Reason;
use hearth_api::{HeldBy, Why};
use hearth_lifecycle::Request;

use crate::agent::{self, Wish};
use crate::args::Context;
use crate::refuse::Refusal;
use crate::{clock, output, project, table};

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("why").about("Tell who keeps a service up, and through whom").arg(
        Arg::new("service")
            .value_name("SERVICE")
            .required(true)
            .value_parser(NonEmptyStringValueParser::new())
            .help("Which one"),
    )
}

/// Goes by what runs: a faulty file is told in one line.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let wish = Wish { start: true, ..Wish::default() };
    let name = matches.get_one::<String>("service").map_or("", String::as_str);
    let place = match project::find(context)? {
        Some(place) => {
            project::load_or_tell(context, &place);
            place
        }
        None => project::that_runs(context, wish)?,
    };
    let path = agent::path("/v1/why", &[("project", &place.id), ("service", name)]);
    let (_, body) = agent::fetch(context, wish, &Request::get(path))?;
    if context.json {
        return output::print_json(&agent::parse::<serde_json::Value>(&body)?).map(|()| 0);
    }
    let why: Why = agent::parse(&body)?;
    output::print(words(&why, SystemTime::now()).as_bytes()).map(|()| 0)
}

/// A line for each who holds it; how it is, where nobody does.
fn words(why: &Why, now: SystemTime) -> String {
    if why.held_by.is_empty() {
        let message = match table::harmless(&why.message) {
            message if message.is_empty() => format!("nobody wants {}", why.service),
            message => message,
        };
        return format!("{message}\n");
    }
    let line =
        |reason| format!("{} is kept by {}\n", why.service, holder(reason, &why.service, now));
    why.held_by.iter().map(line).collect()
}

/// `zsh (pid 4100, since 10:02) through web, which needs db`.
fn holder(reason: &Reason, service: &str, now: SystemTime) -> String {
    let who = match &reason.holder {
        HeldBy::Up => "up".to_owned(),
        HeldBy::Lease { pid, name, .. } => {
            let at = reason.since.as_deref().and_then(hearth_api::time::parse_rfc3339);
            let since = at.and_then(|at| clock::since(at, now));
            let since = since.map(|since| format!(", since {since}")).unwrap_or_default();
            format!("{} (pid {pid}{since})", table::harmless(name))
        }
        HeldBy::Dependent { service } => service.clone(),
    };
    let mut way = reason.through.iter().map(String::as_str).chain([service]);
    match way.next() {
        Some(first) if !reason.through.is_empty() => {
            let needs: String = way.map(|next| format!(", which needs {next}")).collect();
            format!("{who} through {first}{needs}")
        }
        Some(_) | None => who,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(held_by: Vec<Reason>, message: &str) -> Why {
        Why { project: None, service: "db".into(), held_by, message: message.into() }
    }

    #[test]
    fn each_holder_has_its_line_and_its_way() {
        let now = SystemTime::now();
        let lease = HeldBy::Lease { session: "s-1".into(), pid: 4100, name: "zsh".into() };
        let through = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let up = Reason { holder: HeldBy::Up, since: None, through: through(&[]) };
        let since = Some(hearth_api::time::rfc3339(now));
        let zsh = Reason { holder: lease, since, through: through(&["web", "api"]) };
        let at = clock::since(now, now).unwrap();
        assert_eq!(
            words(&why(vec![up, zsh], "ready"), now),
            format!(
                "db is kept by up\n\
                 db is kept by zsh (pid 4100, since {at}) through web, which needs api, which needs db\n"
            )
        );
    }

    #[test]
    fn where_nobody_holds_it_is_told_how_it_is() {
        let now = SystemTime::now();
        assert_eq!(words(&why(Vec::new(), ""), now), "nobody wants db\n");
        let lingers = "nobody holds db any more: it goes in 8 s";
        assert_eq!(words(&why(Vec::new(), lingers), now), format!("{lingers}\n"));
    }
}
