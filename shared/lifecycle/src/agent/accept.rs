//! One connection: who speaks, which version, how much, how long; then the agent's own service.
//!
//! Only our own uid may speak, by the kernel's word. A body is bounded in size and time before the
//! service sees the request, so that no route has to think of it.

use std::convert::Infallible;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tracing::{debug, error, warn};

use super::flow::{Flow, Paced};
use super::handle::Counted;
use super::stream::{BoundedHeaders, Serving, has_gone};
use super::{AgentService, Handle, service};
use crate::Problem;
use crate::handover::PROTOCOL;
use crate::health::Checks;
use crate::problem::STOPPING;
use crate::ready::{ApiRange, Version};
use crate::record::Stage;

/// A request's body, at most.
const BODY: usize = 1024 * 1024;
/// Below this the kernel's word about the peer goes with each request; nowhere else, since it costs.
const SESSIONS: &str = "/v1/sessions";
/// By this the two sides find out about each other.
const VERSION: &str = "/v1/version";
/// Time for a request's body.
const BODY_TIME: Duration = Duration::from_secs(10);

pub(super) type BoxedError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Boxed = UnsyncBoxBody<Bytes, BoxedError>;
type Reply = Pin<Box<dyn Future<Output = Response<Boxed>> + Send>>;

/// The agent's own service with its types forgotten, so that nothing below has to repeat them.
pub(super) type Routes = Box<dyn Fn(Request<Full<Bytes>>) -> Reply + Send + Sync>;

/// Forgets the types of a service.
pub(super) fn routes<S: AgentService>(service: S) -> Routes {
    Box::new(move |request| {
        let mut service = service.clone();
        Box::pin(unless_it_panics(async move {
            let Ok(()) = std::future::poll_fn(|cx| service.poll_ready(cx)).await;
            let Ok(reply) = service.call(request).await;
            reply.map(|body| body.map_err(Into::into).boxed_unsync())
        }))
    })
}

/// A panic in a route is that request's alone, where the program is built to unwind: 500, and the agent
/// lives on.
async fn unless_it_panics(reply: impl Future<Output = Response<Boxed>> + Send) -> Response<Boxed> {
    let mut reply = std::pin::pin!(reply);
    std::future::poll_fn(move |cx| {
        // What it leaves half done is the service's own, as with every panic in a thread of its own.
        let polled = catch_unwind(AssertUnwindSafe(|| reply.as_mut().poll(cx)));
        polled.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<&str>().map(|it| (*it).to_owned());
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
            let said = said.unwrap_or_default();
            error!(said, "a request has made the service panic");
            let words = "this request has met a defect of the agent; others are not touched by it";
            Poll::Ready(refuse(Problem::new(500, "internal", words, "the agent's log tells more")))
        })
    })
    .await
}

/// What every connection needs.
pub(super) struct Front {
    pub(super) service: Routes,
    pub(super) handle: Handle,
    pub(super) version: Version,
    /// The header that tells what this process executes.
    pub(super) executable: Option<(header::HeaderName, header::HeaderValue)>,
    pub(super) api_header: String,
    /// A service manager listens, and has lent it.
    pub(super) is_given: bool,
    /// By whose word `GET /v1/health` is answered; `None`: that is the service's to do.
    pub(super) health: Option<Checks>,
}

/// Serves one connection to its end. It counts from the call on, before it is polled for the first time.
pub(super) fn serve_connection(
    front: Arc<Front>,
    stream: UnixStream,
) -> impl Future<Output = ()> + Send {
    let fresh = front.handle.begin_connection();
    serve(front, stream, fresh)
}

async fn serve(front: Arc<Front>, stream: UnixStream, fresh: Counted) {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == crate::home::euid() => {}
        Ok(peer) => {
            warn!(uid = peer.uid(), pid = peer.pid(), "refused a connection: another uid");
            return;
        }
        Err(error) => {
            warn!(%error, "refused a connection: the kernel does not tell whose it is");
            return;
        }
    }
    let fd = stream.as_raw_fd();
    let _busy = front.handle.busy();
    let serving = Serving::default();
    let flow = Flow::default();
    let io = TokioIo::new(BoundedHeaders::new(stream, serving.clone(), flow.clone()));
    let handle = front.handle.clone();
    let (requests, refused) = (serving.clone(), Arc::new(AtomicBool::new(false)));
    let fresh = Mutex::new(Some(fresh));
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        // SAFETY: hyper calls this while it reads requests from the stream, which it gives away
        // only after the reply to an upgrade; so the descriptor is open, and is this connection's.
        let stream = unsafe { BorrowedFd::borrow_raw(fd) };
        let gone = has_gone(stream);
        if request.uri().path().starts_with(SESSIONS) {
            attach_peer(&mut request, stream);
        }
        // Who asks for the version has mostly asked for something else in the same write.
        let asks = request.uri().path() != VERSION;
        let was_fresh = asks.then(|| fresh.lock().unwrap_or_else(PoisonError::into_inner).take());
        let (front, guard, flow) = (Arc::clone(&front), requests.begin(), flow.clone());
        let refused = Arc::clone(&refused);
        async move {
            let mut reply = match gone || refused.load(Ordering::Relaxed) {
                // It was told that it is not answered (this agent stops, or was stopped, or is very busy), and
                // acts upon that: what it asked for is not done behind its back.
                true => stopping(&front),
                false => answer(&front, request).await,
            };
            if reply.extensions().get::<Stopping>().is_some() {
                refused.store(true, Ordering::Relaxed);
                if !asks {
                    // hyper would drop both replies where it closes with a request unread.
                    reply.headers_mut().remove(header::CONNECTION);
                }
            }
            drop(was_fresh);
            // The guard lives in the body, so that it falls when the last byte is out.
            Ok::<_, Infallible>(reply.map(|body| Paced::new(body, flow, guard)))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.pipeline_flush(true).half_close(true).max_buf_size(64 * 1024);
    let mut connection = std::pin::pin!(builder.serve_connection(io, service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = handle.closing() => {
            serving.close();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}

/// Whoever wants to know it finds an `Arc<hearth_process::Peer>` among the request's extensions.
fn attach_peer(request: &mut Request<Incoming>, stream: BorrowedFd<'_>) {
    match hearth_process::peer(stream) {
        Ok(peer) => {
            request.extensions_mut().insert(Arc::new(peer));
        }
        Err(error) => warn!(%error, "the kernel does not tell who asks"),
    }
}

async fn answer(front: &Front, mut request: Request<Incoming>) -> Response<Boxed> {
    if front.handle.stage() != Stage::Running {
        return stopping(front);
    }
    if let Err(problem) = check_version(front, &request) {
        return refuse(*problem);
    }
    match own_route(front, &request) {
        Route::Reply(reply) => return reply,
        Route::Stop => {}
        Route::Replace if front.is_given => return not_ours_to_give(front),
        Route::Replace => return upgrade(front, &mut request),
        Route::Health(checks) => return health(&checks).await,
        Route::Elsewhere => return pass_on(front, request).await,
    }
    match read_body(request.into_body()).await {
        Ok(body) if is_empty_object(&body) => {
            front.handle.stop();
            json(202, br#"{"stage":"stopping"}"#.to_vec())
        }
        Ok(_) => refuse(Problem::new(400, "bad-request", "the body must be {} or empty", "")),
        Err(problem) => refuse(*problem),
    }
}

/// 200 where every check holds, else 503.
async fn health(checks: &Checks) -> Response<Boxed> {
    let report = checks.run().await;
    let status = if report.healthy() { 200 } else { 503 };
    json(status, serde_json::to_vec(&report).unwrap_or_default())
}

/// Marks what [`stopping`] says: whatever comes behind it on its connection is told the same.
#[derive(Clone)]
struct Stopping;

fn stopping(front: &Front) -> Response<Boxed> {
    let words = format!("the agent (pid {}) is shutting down", front.version.pid);
    let mut reply = refuse(Problem::new(503, STOPPING, words, "try again in a moment"));
    reply.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    reply.extensions_mut().insert(Stopping);
    reply
}

async fn pass_on(front: &Front, request: Request<Incoming>) -> Response<Boxed> {
    let (head, body) = request.into_parts();
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(problem) => return refuse(*problem),
    };
    // A body may take seconds, and another may be the agent by now.
    if front.handle.stage() != Stage::Running {
        return stopping(front);
    }
    let in_service = front.handle.begin_service();
    let reply = (front.service)(Request::from_parts(head, Full::new(body))).await;
    // What was done before anything was packed is packed with it; and until this one is not counted any more,
    // nothing is.
    let is_packed = !front.handle.is_handing_over();
    drop(in_service);
    // Else it would be told that something was done of which the next agent knows nothing.
    if is_packed || front.handle.goes_on().await { reply } else { stopping(front) }
}

/// What a manager has lent is not ours to pass on, and its unit would be another process's than it
/// thinks.
fn not_ours_to_give(front: &Front) -> Response<Boxed> {
    let name = &front.version.name;
    let words =
        "a service manager runs this agent, and listens for it: no other can take its place";
    let hint = format!("`{name} daemon restart` has the manager restart its unit");
    refuse(Problem::new(403, "forbidden", words, hint))
}

/// The connection of a successor: what follows on it is not HTTP.
fn upgrade(front: &Front, request: &mut Request<Incoming>) -> Response<Boxed> {
    let wanted = request.headers().get(header::UPGRADE).map(header::HeaderValue::as_bytes);
    if wanted != Some(PROTOCOL.as_bytes()) {
        let words = format!("a successor asks with the header `upgrade: {PROTOCOL}`");
        let hint = format!("`{} daemon restart` replaces the agent", front.version.name);
        return refuse(Problem::new(400, "bad-request", words, hint));
    }
    let (upgraded, heirs) = (hyper::upgrade::on(request), front.handle.0.heirs.clone());
    tokio::spawn(async move {
        // Gone before it was answered: nothing was lent.
        let Ok(upgraded) = upgraded.await else { return };
        if let Ok(parts) = upgraded.downcast::<TokioIo<BoundedHeaders>>() {
            let _ = heirs.send(parts.io.into_inner().into_stream());
        }
    });
    let mut reply = json(101, Vec::new());
    reply.headers_mut().clear();
    reply.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
    reply.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static(PROTOCOL));
    reply
}

enum Route {
    Reply(Response<Boxed>),
    Stop,
    Replace,
    Health(Checks),
    Elsewhere,
}

/// The routes of the pair itself.
fn own_route(front: &Front, request: &Request<Incoming>) -> Route {
    let not_allowed = |allow: &'static str| {
        let words = format!("{} takes {allow} only", request.uri().path());
        let mut reply = refuse(Problem::new(405, "bad-request", words, ""));
        reply.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
        Route::Reply(reply)
    };
    match (request.uri().path(), request.method()) {
        (VERSION, &Method::GET) => {
            let mut reply = json(200, serde_json::to_vec(&front.version).unwrap_or_default());
            reply.headers_mut().extend(front.executable.clone());
            Route::Reply(reply)
        }
        (VERSION, _) => not_allowed("GET"),
        ("/v1/shutdown", &Method::POST) => Route::Stop,
        ("/v1/shutdown", _) => not_allowed("POST"),
        ("/v1/replace", &Method::POST) => Route::Replace,
        ("/v1/replace", _) => not_allowed("POST"),
        ("/v1/health", method) => match &front.health {
            Some(checks) if *method == Method::GET => Route::Health(checks.clone()),
            Some(_) => not_allowed("GET"),
            None => Route::Elsewhere,
        },
        (_, _) => Route::Elsewhere,
    }
}

/// Before anything is done: the two sides must have a version in common.
fn check_version(front: &Front, request: &Request<Incoming>) -> Result<(), Box<Problem>> {
    if request.uri().path() == VERSION {
        // By this the two sides find out: it is answered to whoever asks.
        return Ok(());
    }
    let Some(value) = request.headers().get(front.api_header.as_str()) else { return Ok(()) };
    let header = &front.api_header;
    let theirs = value.to_str().ok().and_then(parse_range);
    let Some(theirs) = theirs else {
        let words = format!("the header {header} must be MIN-MAX, such as 1-1");
        return Err(Box::new(Problem::new(400, "bad-request", words, "")));
    };
    let ours = front.version.api;
    if ours.meets(theirs) {
        return Ok(());
    }
    let words = format!(
        "this agent (version {}) speaks versions {}-{} of the API, and the caller {}-{}",
        front.version.version, ours.min, ours.max, theirs.min, theirs.max
    );
    let hint = format!(
        "`{} daemon restart` starts the agent of the installed version",
        front.version.name
    );
    Err(Box::new(Problem::new(426, "version", words, hint)))
}

fn parse_range(text: &str) -> Option<ApiRange> {
    let (min, max) = text.trim().split_once('-')?;
    let range = ApiRange { min: min.trim().parse().ok()?, max: max.trim().parse().ok()? };
    (range.min <= range.max).then_some(range)
}

async fn read_body(body: Incoming) -> Result<Bytes, Box<Problem>> {
    let whole = tokio::time::timeout(BODY_TIME, Limited::new(body, BODY).collect());
    let refused =
        |status, words: String| Err(Box::new(Problem::new(status, "bad-request", words, "")));
    match whole.await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => refused(413, "the body is over 1 MiB".into()),
        Ok(Err(e)) => refused(400, format!("the body cannot be read: {e}")),
        Err(_) => refused(408, "the body did not come within 10 s".into()),
    }
}

fn is_empty_object(body: &[u8]) -> bool {
    body.is_empty()
        || serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body)
            .is_ok_and(|fields| fields.is_empty())
}

fn refuse(problem: Problem) -> Response<Boxed> {
    service::refuse(&problem).map(boxed)
}

fn json(status: u16, body: Vec<u8>) -> Response<Boxed> {
    service::reply(status, "application/json", body).map(boxed)
}

fn boxed(body: Full<Bytes>) -> Boxed {
    body.map_err(|never| match never {}).boxed_unsync()
}
