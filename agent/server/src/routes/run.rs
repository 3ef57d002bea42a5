//! `POST /v1/run`: a service that is in no file, told of as `up` tells.

use std::path::Path;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Response};
use hearth_api::{Code, Problem, RunReady, RunRequest};
use hearth_config::LooseReady;

use super::{Routes, parse, query, stream, stream_place, up};
use crate::capture::Taken;
use crate::command::{Command, Run};
use crate::refuse::Refusal;

pub(super) async fn answer(
    State(routes): State<Routes>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Refusal> {
    let RunRequest { project, name, run, dir, ready, env, umask, limits, session } = parse(&body)?;
    let session = routes.session(session)?;
    let ready = ready.as_ref().map(|ready| match ready {
        RunReady::Tcp(text) => LooseReady::Tcp(text),
        RunReady::Http(text) => LooseReady::Http(text),
        RunReady::Log(text) => LooseReady::Log(text),
    });
    let service = hearth_config::loose(&name, run, Path::new(&dir), ready).map_err(|invalid| {
        let hint = "hearth run --help";
        Refusal::from(Problem::new(Code::BadRequest, invalid.to_string(), hint))
    })?;
    let words = query::words_only(text.as_deref())?;
    let place = stream_place(&routes.handle).await?;
    let (project, file) = up::load(project.as_deref().unwrap_or_default())?;
    let taken = Taken::of(env, umask, limits)?;
    let request = up::request_id(&headers)?;
    let run = Box::new(Run { project, file, service, taken, session, request, words });
    let upstream = routes.port.ask(|reply| Command::Run(run, reply)).await??;
    Ok(stream(upstream, place))
}
