//! `POST /v1/down`: want down, and tell how it goes until the trees are empty.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Response;
use hearth_api::DownRequest;

use super::{Routes, no_session, parse, query, stream, stream_place};
use crate::command::{Command, Down};
use crate::refuse::Refusal;

pub(super) async fn answer(
    State(routes): State<Routes>,
    body: Bytes,
) -> Result<Response<Body>, Refusal> {
    // `force` is about leases, of which there are none yet: it changes nothing.
    let DownRequest { project, services, force: _, session } = parse(&body)?;
    no_session(session.as_deref())?;
    let project = project.as_deref().map(query::project).transpose()?;
    let place = stream_place(&routes.handle).await?;
    let down = Down { project, names: services };
    let upstream = routes.port.ask(|reply| Command::Down(down, reply)).await??;
    Ok(stream(upstream, place))
}
