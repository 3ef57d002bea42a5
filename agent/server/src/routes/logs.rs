//! `GET /v1/logs`: what services wrote, as JSON lines; with `follow`, what they write from now on.
//!
//! Invariant: it costs the reader's pace and a fixed amount of memory, however much there is: what
//! is not taken yet stays on disk.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::Response;
use hearth_core::ServiceId;
use hearth_logs::Extent;

use super::{Routes, json_lines, query, stream_place};
use crate::command::Command;
use crate::logs::{self, Service};
use crate::refuse::{self, Refusal};

const KNOWN: [&str; 5] = ["project", "service", "n", "since", "follow"];

#[derive(Debug, Default, PartialEq)]
struct Asked {
    project: Option<Arc<str>>,
    services: Vec<String>,
    extent: Extent,
    follow: bool,
}

pub(super) async fn answer(
    State(routes): State<Routes>,
    RawQuery(text): RawQuery,
) -> Result<Response<Body>, Refusal> {
    let asked = read(&query::pairs(text.as_deref(), &KNOWN)?)?;
    let project = asked.project.clone();
    let names = routes.port.ask(|reply| Command::Names(project, reply)).await?;
    let services = choose(&asked, names)?;
    let place = stream_place(&routes.handle).await?;
    let services: Vec<Service> =
        services.into_iter().map(|id| Service { dir: routes.place.log(&id), id }).collect();
    let lines = match asked.follow {
        true => logs::follow(services, asked.extent, routes.handle.clone(), place),
        false => logs::now(services, asked.extent, place),
    };
    Ok(json_lines(Body::new(lines)))
}

fn read(pairs: &[query::Pair<'_>]) -> Result<Asked, Refusal> {
    let mut asked = Asked::default();
    for (name, value) in pairs {
        match &**name {
            "project" => asked.project = Some(query::project(value)?),
            "service" => {
                let names = value.split(',').filter(|name| !name.is_empty());
                asked.services.extend(names.map(str::to_owned));
            }
            "n" => asked.extent.last = Some(number(value)?),
            "since" => asked.extent.since = Some(since(value)?),
            "follow" => asked.follow = truth(value)?,
            other => return Err(Refusal::bad_request(format!("unknown field `{other}`"))),
        }
    }
    Ok(asked)
}

fn number(text: &str) -> Result<usize, Refusal> {
    let words =
        || Refusal::bad_request(format!("`n`: `{}` is no number of lines", text.escape_debug()));
    text.parse().map_err(|_| words())
}

fn truth(text: &str) -> Result<bool, Refusal> {
    match text {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Refusal::bad_request(format!(
            "`follow`: `{}` is neither true nor false",
            text.escape_debug()
        ))),
    }
}

/// A `+` that stands in a query as it is means a space; nobody means one here.
fn since(text: &str) -> Result<SystemTime, Refusal> {
    hearth_config::since::parse(&text.replace(' ', "+"), SystemTime::now())
        .map_err(|invalid| Refusal::bad_request(format!("`since`: {invalid}")))
}

/// Those that were named, or all.
fn choose(asked: &Asked, known: Vec<ServiceId>) -> Result<Vec<ServiceId>, Refusal> {
    for name in &asked.services {
        if !known.iter().any(|id| *id.name == **name) {
            let names: Vec<&str> = known.iter().map(|id| &*id.name).collect();
            let place = refuse::place(asked.project.as_deref());
            return Err(refuse::no_such_service(name, place, &names));
        }
    }
    let mine = |id: &ServiceId| {
        asked.services.is_empty() || asked.services.iter().any(|name| **name == *id.name)
    };
    Ok(known.into_iter().filter(mine).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Asked, Refusal> {
        read(&query::pairs(Some(text), &KNOWN)?)
    }

    #[test]
    fn names_may_be_repeated_or_listed() {
        let asked = asked("service=a&service=b,c&n=5&follow=true").unwrap();
        assert_eq!(asked.services, ["a", "b", "c"]);
        assert_eq!((asked.extent.last, asked.follow), (Some(5), true));
    }

    #[test]
    fn since_is_how_long_ago_or_when_also_with_an_offset_that_was_not_encoded() {
        let since = |text| asked(text).unwrap().extent.since.unwrap();
        let utc = since("since=2026-01-01T10:00:00Z");
        assert_eq!(since("since=2026-01-01T11:00:00%2B01:00"), utc);
        assert_eq!(since("since=2026-01-01T11:00:00+01:00"), utc);
        let then = since("since=1h30m");
        let ago = SystemTime::now().duration_since(then).unwrap();
        assert!((5400..5460).contains(&ago.as_secs()), "{ago:?}");
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let refusals = [
            ("n=x", "`n`"),
            ("follow=maybe", "`follow`"),
            ("since=10", "`since`"),
            ("since=2026-01-01", "`since`"),
            ("tail=1", "`tail`"),
        ];
        for (text, name) in refusals {
            let Refusal(problem) = asked(text).unwrap_err();
            assert_eq!(problem.status, 400);
            assert!(problem.detail.contains(name), "{}", problem.detail);
        }
    }
}
