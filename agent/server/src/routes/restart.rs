//! `POST /v1/restart`: a new life for what is named, with the environment of who asks.

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Response};

use super::{Routes, up};
use crate::refuse::Refusal;

pub(super) async fn answer(
    State(routes): State<Routes>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Refusal> {
    up::begin(&routes, text.as_deref(), &headers, &body, true).await
}
