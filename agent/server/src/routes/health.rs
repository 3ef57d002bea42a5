//! `GET /v1/health`: 200 where every check is well, else 503.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{Response, StatusCode};

use super::{Routes, json, query};
use crate::command::Command;
use crate::refuse::Refusal;

pub(super) async fn answer(
    State(routes): State<Routes>,
    RawQuery(text): RawQuery,
) -> Result<Response<Body>, Refusal> {
    let project = query::project_only(text.as_deref())?;
    let report = routes.port.ask(|reply| Command::Health(project, reply)).await?;
    let status = if report.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &report)
}
