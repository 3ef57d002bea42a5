//! `POST /v1/up`: want up, and tell how it goes until all is ready or one has failed.

use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use hearth_api::UpRequest;
use hearth_config::Project;

use super::{Routes, no_session, parse, query, stream, stream_place};
use crate::capture::Capture;
use crate::command::{Command, Up};
use crate::refuse::{self, Refusal};

/// The header that makes a request repeatable.
const REQUEST: &str = "hearth-request";
/// Longest id of a request.
const LONGEST: usize = 128;

pub(super) async fn answer(
    State(routes): State<Routes>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Refusal> {
    begin(&routes, &headers, &body, false).await
}

/// `up` and `restart` differ in one thing only.
pub(super) async fn begin(
    routes: &Routes,
    headers: &HeaderMap,
    body: &[u8],
    restart: bool,
) -> Result<Response<Body>, Refusal> {
    let mut request: UpRequest = parse(body)?;
    no_session(request.session.as_deref())?;
    let place = stream_place(&routes.handle).await?;
    let asked = query::project(&request.project)?;
    let file = hearth_config::load(Path::new(&*asked))?;
    let project = root(&file)?;
    let targets = targets(&file, &request.services)?;
    let capture = Capture::of(&mut request)?;
    let request = request_id(headers)?;
    let up = Up { project, file: Arc::new(file), targets, capture, restart, request };
    let upstream = routes.port.ask(|reply| Command::Up(up, reply)).await??;
    Ok(stream(upstream, place))
}

fn root(file: &Project) -> Result<Arc<str>, Refusal> {
    let root = file.root.to_str();
    root.map(Arc::from).ok_or_else(|| Refusal::bad_request("`project`: its path is not UTF-8"))
}

/// The names, each once. Errors: one that the file does not have.
fn targets(file: &Project, names: &[String]) -> Result<Vec<Arc<str>>, Refusal> {
    let mut targets: Vec<Arc<str>> = Vec::new();
    for name in names {
        let Some(service) = file.service(name) else {
            let known: Vec<&str> =
                file.services.iter().map(|service| service.name.as_str()).collect();
            return Err(refuse::no_such_service(name, &file.file.display().to_string(), &known));
        };
        if !targets.iter().any(|target| **target == *service.name) {
            targets.push(Arc::from(service.name.as_str()));
        }
    }
    Ok(targets)
}

fn request_id(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get(REQUEST) else { return Ok(None) };
    match value.to_str() {
        Ok(id) if !id.is_empty() && id.len() <= LONGEST => Ok(Some(id.to_owned())),
        Ok(_) | Err(_) => Err(Refusal::bad_request(format!(
            "the header Hearth-Request must be 1 to {LONGEST} ASCII characters"
        ))),
    }
}
