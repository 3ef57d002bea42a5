//! `GET /v1/services`: how they are.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{Response, StatusCode};
use hearth_api::Services;

use super::{Routes, json, query};
use crate::command::Command;
use crate::refuse::Refusal;

pub(super) async fn answer(
    State(routes): State<Routes>,
    RawQuery(text): RawQuery,
) -> Result<Response<Body>, Refusal> {
    let project = query::project_only(text.as_deref())?;
    let services = routes.port.ask(|reply| Command::Rows(project, reply)).await?;
    json(StatusCode::OK, &Services { services })
}
