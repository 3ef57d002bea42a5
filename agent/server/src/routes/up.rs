//! `POST /v1/up`: want up, and tell how it goes until all is ready or one has failed.

use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Response};
use hearth_api::UpRequest;
use hearth_config::Project;

use super::{Routes, parse, query, stream, stream_place};
use crate::capture::Taken;
use crate::command::{Command, Up};
use crate::files;
use crate::refuse::Refusal;

/// The header that makes a request repeatable.
const REQUEST: &str = "hearth-request";
/// Longest id of a request.
const LONGEST: usize = 128;

pub(super) async fn answer(
    State(routes): State<Routes>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Refusal> {
    begin(&routes, text.as_deref(), &headers, &body, false).await
}

/// `up` and `restart` differ in one thing only.
pub(super) async fn begin(
    routes: &Routes,
    text: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
    restart: bool,
) -> Result<Response<Body>, Refusal> {
    let UpRequest { project, services: names, env, umask, limits, session } = parse(body)?;
    let session = routes.session(session)?;
    let words = query::words_only(text)?;
    let place = stream_place(&routes.handle).await?;
    let (project, file) = load(&project)?;
    let taken = Taken::of(env, umask, limits)?;
    let request = request_id(headers)?;
    let up = Up { project, file, names, taken, restart, session, request, words };
    let upstream = routes.port.ask(|reply| Command::Up(up, reply)).await??;
    Ok(stream(upstream, place))
}

/// A project and its file; the empty one has none. Errors: no file, or one that is not right.
pub(super) fn load(project: &str) -> Result<(Arc<str>, Arc<Project>), Refusal> {
    let asked = query::project(project)?;
    if asked.is_empty() {
        return Ok((asked, Arc::new(files::no_project())));
    }
    let file = hearth_config::load(Path::new(&*asked))?;
    let root = file.root.to_str().map(Arc::from);
    let root = root.ok_or_else(|| Refusal::bad_request("`project`: its path is not UTF-8"))?;
    Ok((root, Arc::new(file)))
}

/// What makes it repeatable, if anything does.
pub(super) fn request_id(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get(REQUEST) else { return Ok(None) };
    match value.to_str() {
        Ok(id) if !id.is_empty() && id.len() <= LONGEST => Ok(Some(id.to_owned())),
        Ok(_) | Err(_) => Err(Refusal::bad_request(format!(
            "the header Hearth-Request must be 1 to {LONGEST} ASCII characters"
        ))),
    }
}
