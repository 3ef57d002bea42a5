//! `POST /v1/down`: want down, and tell how it goes until the trees are empty.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Response;
use hearth_api::DownRequest;

use super::{Routes, parse, query, stream, stream_place};
use crate::command::{Command, Down};
use crate::refuse::Refusal;

pub(super) async fn answer(
    State(routes): State<Routes>,
    body: Bytes,
) -> Result<Response<Body>, Refusal> {
    let DownRequest { project, services, force, session } = parse(&body)?;
    let session = routes.session(session)?;
    let project = project.as_deref().map(query::project).transpose()?;
    let place = stream_place(&routes.handle).await?;
    let down = Down { project, names: services, session, force };
    let upstream = routes.port.ask(|reply| Command::Down(down, reply)).await??;
    Ok(stream(upstream, place))
}
