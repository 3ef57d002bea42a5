//! The routes in one table. `/v1/version` and `/v1/shutdown` are the lifecycle's and never come
//! here; nor do bodies over the limit, foreign uids, or ranges of versions that do not meet.

mod down;
mod enable;
mod env;
mod events;
mod health;
mod leases;
mod logs;
mod query;
mod restart;
mod run;
mod services;
mod sessions;
mod up;
mod wait;
mod why;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post};
use hearth_api::{Code, Problem};
use hearth_lifecycle::agent::Handle;
use hearth_lifecycle::health::Checks;
use hearth_lifecycle::sessions::Sessions;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::command::Port;
use crate::events::Events;
use crate::measure::Measuring;
use crate::place::Place;
use crate::refuse::{Refusal, no_such_session};
use crate::upstream::Upstream;

/// What every route may use.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    /// The way to the owner.
    pub(crate) port: Port,
    /// The lifecycle.
    pub(crate) handle: Handle,
    /// Where things stand.
    pub(crate) place: Place,
    /// The time.
    pub(crate) clock: Clock,
    /// The agent's own checks.
    pub(crate) well: Checks,
    /// What happens.
    pub(crate) events: Events,
    /// Figures of services.
    pub(crate) measuring: Measuring,
    /// Who may hold leases.
    pub(crate) sessions: Sessions,
}

impl Routes {
    /// The session of a request. Errors: it has ended, or never was.
    fn session(&self, id: Option<String>) -> Result<Option<Arc<str>>, Refusal> {
        let known = |id: String| self.sessions.get(&id).ok_or_else(|| no_such_session(&id));
        Ok(id.map(known).transpose()?.map(|session| session.id))
    }
}

/// The table.
pub(crate) fn table(routes: Routes) -> Router {
    Router::new()
        .route("/v1/health", only("GET", get(health::answer)))
        .route("/v1/services", only("GET", get(services::answer)))
        .route("/v1/logs", only("GET", get(logs::answer)))
        .route("/v1/events", only("GET", get(events::answer)))
        .route("/v1/up", only("POST", post(up::answer)))
        .route("/v1/restart", only("POST", post(restart::answer)))
        .route("/v1/run", only("POST", post(run::answer)))
        .route("/v1/down", only("POST", post(down::answer)))
        .route("/v1/enable", only("POST", post(enable::answer)))
        .route("/v1/wait", only("GET", get(wait::answer)))
        .route("/v1/env", only("POST", post(env::answer)))
        .route("/v1/sessions", only("GET, POST", get(sessions::list).post(sessions::register)))
        .route("/v1/sessions/{id}", only("GET, DELETE", get(sessions::one).delete(sessions::end)))
        .route("/v1/leases", only("POST", post(leases::take)))
        .route("/v1/leases/{id}", only("DELETE", delete(leases::give_back)))
        .route("/v1/why", only("GET", get(why::answer)))
        .fallback(unknown)
        .with_state(routes)
}

/// The last part of a path, decoded. What is not UTF-8 is refused as everything else is.
struct Id(String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|error| Refusal::bad_request(error.body_text()))
    }
}

/// 405 for every method but these, which are as the header `Allow` has them.
fn only(methods: &'static str, route: MethodRouter<Routes>) -> MethodRouter<Routes> {
    route.fallback(move |uri: Uri, _: Method| async move {
        let words = format!("{} takes {methods} only", uri.path());
        let mut problem = Problem::new(Code::BadRequest, words, "");
        problem.status = StatusCode::METHOD_NOT_ALLOWED.as_u16();
        let mut reply = Refusal::from(problem).into_response();
        reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
        reply
    })
}

async fn unknown(uri: Uri) -> Refusal {
    let words = format!("there is no route {}", uri.path());
    Problem::new(Code::NotFound, words, "the API is at version 1; see /v1/version").into()
}

/// A body, or why it is none. An object: serde would take an array for one, field by field in an
/// order that nobody has promised.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::bad_request("the body must be a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(format!("the body: {error}")))
}

fn json(status: StatusCode, body: &impl Serialize) -> Result<Response<Body>, Refusal> {
    let body = serde_json::to_vec(body).map_err(|error| Refusal::internal(error.to_string()))?;
    let mut reply = Response::new(Body::from(body));
    *reply.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(reply)
}

fn json_lines(body: Body) -> Response<Body> {
    let mut reply = Response::new(body);
    let kind = HeaderValue::from_static("application/x-ndjson");
    reply.headers_mut().insert(header::CONTENT_TYPE, kind);
    reply
}

/// A place first: over the limit, a stream waits for one before anything is done.
async fn stream_place(handle: &Handle) -> Result<tokio::sync::OwnedSemaphorePermit, Refusal> {
    tokio::select! {
        place = handle.stream_place() => place.ok_or_else(Refusal::stopping),
        () = handle.stopping() => Err(Refusal::stopping()),
    }
}

fn stream(upstream: Upstream, place: tokio::sync::OwnedSemaphorePermit) -> Response<Body> {
    json_lines(Body::new(upstream.holding(Some(place))))
}
