//! `GET /v1/health`: 200 where every check is well, else 503.
//!
//! Invariant: it answers within little more than the bound of a check, whatever hangs. The agent's own
//! checks are asked side by side with the owner, which says how the services are.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{Response, StatusCode};
use hearth_api::{HealthReport, HealthStatus};
use hearth_lifecycle::health::Report;
use tokio::time::timeout;

use super::{Routes, json, query};
use crate::command::Command;
use crate::refuse::Refusal;
use crate::{rows, well};

pub(super) async fn answer(
    State(routes): State<Routes>,
    RawQuery(text): RawQuery,
) -> Result<Response<Body>, Refusal> {
    let project = query::project_only(text.as_deref())?;
    let nodes = routes.port.ask(|reply| Command::Health(project, reply));
    let (own, nodes) = tokio::join!(routes.well.run(), timeout(well::WITHIN, nodes));
    let mut checks = match nodes {
        Ok(nodes) => nodes?,
        // The check of the owner says so.
        Err(_) => BTreeMap::new(),
    };
    checks.extend(as_shown(own));
    let healthy = checks.values().all(|check| check.healthy);
    let uptime_s = routes.clock.uptime().as_secs_f64();
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &HealthReport { healthy, uptime_s, checks })
}

fn as_shown(own: Report) -> impl Iterator<Item = (String, hearth_api::Check)> {
    own.checked.into_iter().map(|checked| {
        let (status, message) = match checked.result {
            Ok(message) => (HealthStatus::Success, message),
            Err(message) => (HealthStatus::Failure, message),
        };
        (checked.name, rows::check(status, message, checked.at))
    })
}
