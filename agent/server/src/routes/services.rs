//! `GET /v1/services`: how they are; with `measure=true` what they use, too.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{Response, StatusCode};
use hearth_api::{ServiceRow, Services};
use hearth_core::ServiceId;
use tracing::warn;

use super::{Routes, json, query};
use crate::command::Command;
use crate::refuse::Refusal;

pub(super) async fn answer(
    State(routes): State<Routes>,
    RawQuery(text): RawQuery,
) -> Result<Response<Body>, Refusal> {
    let (project, measured) = query::project_and_measure(text.as_deref())?;
    let of = project.clone();
    let mut services = routes.port.ask(|reply| Command::Rows(of, reply)).await?;
    if measured {
        measure(&routes, project, &mut services).await?;
    }
    json(StatusCode::OK, &Services { services })
}

/// Fills in what can be known; the rest stays null.
async fn measure(
    routes: &Routes,
    project: Option<Arc<str>>,
    services: &mut [ServiceRow],
) -> Result<(), Refusal> {
    let trees = routes.port.ask(Command::Trees).await?;
    let figures = match routes.measuring.measure(trees, project).await {
        Ok(figures) => figures,
        Err(error) => {
            warn!(%error, "what services use can't be measured");
            return Ok(());
        }
    };
    for row in services {
        let project = row.project.as_deref().unwrap_or_default();
        if let Some(found) = figures.get(&ServiceId::new(project, row.name.as_str())) {
            (row.cpu_percent, row.memory_bytes) = (found.cpu_percent, found.memory_bytes);
        }
    }
    Ok(())
}
