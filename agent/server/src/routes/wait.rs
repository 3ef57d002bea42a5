//! `GET /v1/wait`: tell how it goes until these are ready; nothing is asked for by it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::Response;

use super::{Routes, query, stream, stream_place};
use crate::command::{Command, Wait};
use crate::refuse::Refusal;

const KNOWN: [&str; 2] = ["project", "service"];

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
    for (name, value) in pairs {
        match &**name {
            "project" if project.is_some() => {
                return Err(Refusal::bad_request("`project` may stand once"));
            }
            "project" => project = Some(query::project(value)?),
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
    Ok(Wait { project: project.ok_or_else(missing)?, names })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_must_be_said_and_names_may_be_repeated_or_listed() {
        let read = |text| read(&query::pairs(Some(text), &KNOWN).unwrap());
        let wait = read("project=&service=a&service=b,c").unwrap();
        assert_eq!((&*wait.project, wait.names.join(" ").as_str()), ("", "a b c"));
        let wrong = [
            ("service=a", "missing"),
            ("project=/a&project=/b", "once"),
            ("project=/a&service=", "empty"),
        ];
        for (text, word) in wrong {
            let Refusal(problem) = read(text).unwrap_err();
            assert!(problem.detail.contains(word), "{}", problem.detail);
        }
    }
}
