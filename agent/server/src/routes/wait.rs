//! `GET /v1/wait`: tell how it goes until these are ready; nothing is asked for by it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::Response;

use super::{Routes, query, stream, stream_place};
use crate::command::{Command, Wait};
use crate::refuse::Refusal;

const KNOWN: [&str; 4] = ["project", "service", "words", "stay"];

pub(super) async fn answer(
    State(routes): State<Routes>,
    RawQuery(text): RawQuery,
) -> Result<Response<Body>, Refusal> {
    let wait = read(&query::pairs(text.as_deref(), &KNOWN)?)?;
    let place = stream_place(&routes.handle).await?;
    let upstream = routes.port.ask(|reply| Command::Wait(wait, reply)).await??;
    Ok(stream(upstream, place))
}

fn read(pairs: &[query::Pair<'_>]) -> Result<Wait, Refusal> {
    let mut project: Option<Arc<str>> = None;
    let mut names = Vec::new();
    let (mut words, mut stay) = (None, None);
    for (name, value) in pairs {
        match &**name {
            "project" if project.is_some() => return Err(query::once(name)),
            "words" if words.is_some() => return Err(query::once(name)),
            "stay" if stay.is_some() => return Err(query::once(name)),
            "project" => project = Some(query::project(value)?),
            "words" => words = Some(query::truth(name, value)?),
            "stay" => stay = Some(query::truth(name, value)?),
            // One that was forgotten must not come to mean all.
            "service" if value.is_empty() => {
                return Err(Refusal::bad_request("`service` is empty: whose name?"));
            }
            "service" => {
                let listed = value.split(',').filter(|name| !name.is_empty());
                names.extend(listed.map(str::to_owned));
            }
            other => return Err(Refusal::bad_request(format!("unknown field `{other}`"))),
        }
    }
    let missing = || Refusal::bad_request("`project` is missing: whose services?");
    let (words, stay) = (words.unwrap_or(false), stay.unwrap_or(false));
    Ok(Wait { project: project.ok_or_else(missing)?, names, words, stay })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_must_be_said_and_names_may_be_repeated_or_listed() {
        let read = |text| read(&query::pairs(Some(text), &KNOWN).unwrap());
        let wait = read("project=&service=a&service=b,c").unwrap();
        assert_eq!((&*wait.project, wait.names.join(" ").as_str()), ("", "a b c"));
        assert!(!wait.words && !wait.stay);
        let wait = read("project=&stay=true&words=true").unwrap();
        assert!(wait.words && wait.stay);
        for (text, word) in [
            ("service=a", "missing"),
            ("project=/a&project=/b", "once"),
            ("project=/a&service=", "empty"),
            ("project=&stay=true&stay=true", "once"),
            ("project=&words=yes", "true or false"),
        ] {
            let Refusal(problem) = read(text).unwrap_err();
            assert!(problem.detail.contains(word), "{}", problem.detail);
        }
    }
}
