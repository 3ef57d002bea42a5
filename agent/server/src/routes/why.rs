//! `GET /v1/why`: because of whom a service is wanted, himself or through others.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{Response, StatusCode};
use hearth_core::ServiceId;

use super::{Routes, json, query};
use crate::command::Command;
use crate::refuse::Refusal;

pub(super) async fn answer(
    State(routes): State<Routes>,
    RawQuery(text): RawQuery,
) -> Result<Response<Body>, Refusal> {
    let id = read(text.as_deref())?;
    let why = routes.port.ask(|reply| Command::Why(id, reply)).await??;
    json(StatusCode::OK, &why)
}

fn read(text: Option<&str>) -> Result<ServiceId, Refusal> {
    let mut project: Option<Arc<str>> = None;
    let mut service: Option<Arc<str>> = None;
    for (name, value) in query::pairs(text, &["project", "service"])? {
        let (place, value) = match &*name {
            "project" => (&mut project, query::project(&value)?),
            _ => (&mut service, Arc::from(&*value)),
        };
        if place.replace(value).is_some() {
            return Err(query::once(&name));
        }
    }
    let missing = |name: &str| Refusal::bad_request(format!("`{name}` is missing"));
    let project = project.ok_or_else(|| missing("project"))?;
    Ok(ServiceId::new(project, service.ok_or_else(|| missing("service"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_must_be_said_and_once() {
        let id = read(Some("project=&service=db")).unwrap();
        assert_eq!((&*id.project, &*id.name), ("", "db"));
        for text in
            ["project=/a", "service=a", "project=/a&service=a&service=b", "project=a&service=b"]
        {
            assert!(read(Some(text)).is_err(), "{text}");
        }
        assert!(read(None).is_err());
    }
}
