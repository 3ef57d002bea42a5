//! What an agent serves by, for who brings neither tower nor axum: a function, or any service of hyper's;
//! and the replies of which most services are made.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes};
use hyper::{StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower_service::Service;

use crate::Problem;

/// A request as a service gets it: its body is there, and 1 MiB at most.
pub type Request = hyper::Request<Full<Bytes>>;
/// A reply of one piece.
pub type Response = hyper::Response<Full<Bytes>>;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What an agent serves by: any service of tower's that takes a [`Request`], never fails, and can be cloned
/// for each. Nobody has to implement this: whatever is one, has it.
pub trait AgentService:
    Service<
        Request,
        Response = hyper::Response<<Self as AgentService>::Body>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static
{
    /// Of its replies.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> AgentService for S
where
    S: Service<Request, Response = hyper::Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
}

/// A service that is a function of the request.
///
/// ```
/// use hearth_lifecycle::Problem;
/// use hearth_lifecycle::agent::{self, Request};
///
/// let service = agent::service_fn(|request: Request| async move {
///     match request.uri().path() {
///         "/v1/hello" => agent::json(200, &"hello"),
///         path => agent::refuse(&Problem::new(404, "not-found", format!("no route {path}"), "")),
///     }
/// });
/// # let _ = service;
/// ```
pub fn service_fn<F, R>(function: F) -> ServiceFn<F>
where
    F: Fn(Request) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response> + Send + 'static,
{
    ServiceFn(function)
}

/// See [`service_fn`].
#[derive(Clone, Copy, Debug)]
pub struct ServiceFn<F>(F);

impl<F, R> Service<Request> for ServiceFn<F>
where
    F: Fn(Request) -> R,
    R: Future<Output = Response> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let reply = (self.0)(request);
        Box::pin(async move { Ok(reply.await) })
    }
}

/// A service of hyper's ([`hyper::service::Service`]) as one of tower's, which is what
/// [`super::Agent::serve`] takes.
pub fn tower<S>(service: S) -> FromHyper<S>
where
    S: hyper::service::Service<Request> + Clone,
{
    FromHyper(service)
}

/// See [`tower`].
#[derive(Clone, Copy, Debug)]
pub struct FromHyper<S>(S);

impl<S: hyper::service::Service<Request>> Service<Request> for FromHyper<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.0.call(request)
    }
}

/// A request's body, read as JSON; an empty one is `null`. Errors: a refusal to be given back (400).
pub async fn body<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let Ok(body) = request.into_body().collect().await;
    let body = body.to_bytes();
    let text = if body.is_empty() { b"null" } else { &body[..] };
    serde_json::from_slice(text).map_err(|error| {
        Problem::new(400, "bad-request", format!("the body can't be understood: {error}"), "")
    })
}

/// A reply with this as JSON.
pub fn json(status: u16, value: &impl Serialize) -> Response {
    reply(status, "application/json", serde_json::to_vec(value).unwrap_or_default())
}

/// A refusal (RFC 9457), of its own status.
pub fn refuse(problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    reply(problem.status, "application/problem+json", body)
}

pub(super) fn reply(status: u16, kind: &'static str, body: Vec<u8>) -> Response {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    reply
}
