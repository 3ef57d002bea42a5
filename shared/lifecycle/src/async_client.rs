//! The client for programs that are async themselves: on hyper and hyperlocal, with connections that are
//! kept and reused.
//!
//! Kept true here: who answers was made sure of by the blocking probe (in a thread), whose user it is and
//! which versions it speaks; what was remembered of that is forgotten when a connection fails. No thread of
//! the runtime blocks.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Response, header};
use hyper_util::client::legacy;
use hyperlocal::{UnixClientExt, UnixConnector, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::call::{self, understood};
use crate::{Answer, CallError, Client, JSON_DEADLINE, Options, Problem, Ready, Request};

/// An async client of one app's agent. Clones share connections and what is remembered.
///
/// ```no_run
/// # use hearth_lifecycle::{App, AsyncClient, Client, Options};
/// # const NOTES: App = App::new("notes", "1.0.0");
/// # async fn all() -> Result<Vec<String>, Box<dyn std::error::Error>> {
/// let notes = AsyncClient::new(Client::new(&NOTES)?);
/// Ok(notes.get("/v1/notes", &Options::default()).await?)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncClient {
    client: Arc<Client>,
    http: legacy::Client<UnixConnector, Full<Bytes>>,
}

impl AsyncClient {
    /// Over a blocking one, which it asks in a thread whether there is an agent.
    pub fn new(client: Client) -> Self {
        Self { client: Arc::new(client), http: legacy::Client::unix() }
    }

    /// The blocking one.
    pub fn blocking(&self) -> &Client {
        &self.client
    }

    /// As [`Client::ensure_ready`]. [`Options::on_wait`] is not called: it may be of another thread.
    pub async fn ensure_ready(&self, options: &Options<'_>) -> Arc<Ready> {
        let (client, wanted) = (Arc::clone(&self.client), Allowed::of(options));
        let ready = spawn_blocking(move || client.ensure_ready(&wanted.options()));
        match ready.await {
            Ok(ready) => ready,
            // Nobody ends such a task: it has panicked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Gets an agent and sends `request` to it; the reply's body may be read as it comes.
    ///
    /// [`Request::within`] bounds the time until the reply's head. One whose connection breaks before the
    /// reply is sent again once where it may be repeated, or was not read by the agent.
    pub async fn call(
        &self,
        options: &Options<'_>,
        request: &Request,
    ) -> Result<Response<Incoming>, CallError> {
        request.check()?;
        let mut again = false;
        loop {
            let ready = self.ensure_ready(options).await;
            if !ready.state.is_ready() {
                return Err(CallError::NotReady(Box::new((*ready).clone())));
            }
            let sent = self.http.request(self.wire(request)?);
            let got = match request.within {
                Some(within) => timeout(within, sent).await.map_err(|_| self.late(within))?,
                None => sent.await,
            };
            match got {
                Ok(reply) if is_stopping(&reply) && !again => {
                    again = true;
                    self.client.forget();
                }
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    self.client.forget();
                    let unread = error.is_connect() || was_unread(&error);
                    if again || !(unread || request.repeatable) {
                        let reset = std::io::ErrorKind::ConnectionReset;
                        let kind = if unread { reset } else { std::io::ErrorKind::Other };
                        return Err(CallError::Broken(std::io::Error::new(kind, error)));
                    }
                    again = true;
                }
            }
        }
    }

    /// The same, with the reply read as JSON; see [`Client::json`].
    pub async fn json<T: DeserializeOwned>(
        &self,
        options: &Options<'_>,
        request: &Request,
    ) -> Result<T, CallError> {
        let within = request.within.unwrap_or(JSON_DEADLINE);
        let whole = async {
            let reply = self.call(options, &Request { within: None, ..request.clone() }).await?;
            let (status, content_type) = (reply.status().as_u16(), kind_of(&reply).to_owned());
            let body = reply.into_body().collect().await;
            let body = body.map_err(|error| CallError::Broken(std::io::Error::other(error)))?;
            Ok(Answer { status, content_type, body: body.to_bytes().to_vec() })
        };
        let answer = timeout(within, whole).await.map_err(|_| self.late(within))??;
        understood(self.client.home(), &answer)
    }

    /// Asks for something.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        options: &Options<'_>,
    ) -> Result<T, CallError> {
        self.json(options, &Request::get(path)).await
    }

    /// Has something done. Sent once.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        options: &Options<'_>,
    ) -> Result<T, CallError> {
        self.json(options, &Request::json(path, body)?).await
    }

    /// Has something removed. Sent once.
    pub async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        options: &Options<'_>,
    ) -> Result<T, CallError> {
        self.json(options, &Request::delete(path)).await
    }

    fn wire(&self, request: &Request) -> Result<hyper::Request<Full<Bytes>>, CallError> {
        let (app, socket) = (self.client.app(), self.socket());
        let (min, max) = app.api_range();
        let mut wire = hyper::Request::builder()
            .method(request.method)
            .uri(hyper::Uri::from(Uri::new(&socket, &request.path)))
            .header(app.api_header(), format!("{min}-{max}"));
        for (name, value) in &request.headers {
            wire = wire.header(*name, value);
        }
        if request.body.is_some() {
            wire = wire.header(header::CONTENT_TYPE, "application/json");
        }
        let body = request.body.clone().unwrap_or_default();
        wire.body(Full::new(Bytes::from(body)))
            .map_err(|error| CallError::Protocol { path: socket, why: error.to_string() })
    }

    /// Where the agent was found to listen.
    fn socket(&self) -> PathBuf {
        let home = self.client.home();
        let ours = home.socket();
        if ours.exists() { ours } else { home.published_socket().unwrap_or(ours) }
    }

    fn late(&self, after: Duration) -> CallError {
        CallError::Timeout { path: self.socket(), after }
    }
}

/// [`Options`] without what belongs to the caller's thread.
#[derive(Clone, Copy)]
struct Allowed {
    no_spawn: bool,
    timeout: Option<Duration>,
    past_backoff: bool,
}

impl Allowed {
    fn of(options: &Options<'_>) -> Self {
        let Options { no_spawn, timeout, past_backoff, on_wait: _ } = *options;
        Self { no_spawn, timeout, past_backoff }
    }

    fn options(self) -> Options<'static> {
        let Self { no_spawn, timeout, past_backoff } = self;
        Options { no_spawn, timeout, past_backoff, on_wait: None }
    }
}

/// What the connection failed with, below the words of who used it.
fn was_unread(error: &legacy::Error) -> bool {
    let own: &(dyn Error + 'static) = error;
    let mut chain = std::iter::successors(Some(own), |&error| error.source());
    chain.any(|error| error.downcast_ref().is_some_and(call::was_unread))
}

fn kind_of(reply: &Response<Incoming>) -> &str {
    let kind = reply.headers().get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default()
}

/// The refusal of an agent that is shutting down, which ends the connection with it; a service's own 503
/// does not.
fn is_stopping(reply: &Response<Incoming>) -> bool {
    let closes = reply.headers().get(header::CONNECTION).is_some_and(|value| value == "close");
    reply.status() == 503 && closes && kind_of(reply).starts_with(Problem::CONTENT_TYPE)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    #[tokio::test]
    async fn what_nobody_has_read_is_told_from_what_somebody_has() {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let reads = std::thread::spawn(move || {
            for reads in [false, true] {
                let (mut stream, _) = listener.accept().unwrap();
                // Until there is something to read.
                let fds = [stream.as_fd()];
                let far = std::time::Instant::now() + Duration::from_secs(60);
                crate::wait::any_readable(&fds, far).unwrap();
                if reads {
                    assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
                }
            }
        });
        let http: legacy::Client<UnixConnector, Full<Bytes>> = legacy::Client::unix();
        for unread in [true, false] {
            let wire = hyper::Request::post(hyper::Uri::from(Uri::new(&socket, "/")));
            let wire = wire.body(Full::new(Bytes::from_static(b"{}"))).unwrap();
            let error = http.request(wire).await.unwrap_err();
            assert_eq!(was_unread(&error), unread, "{error:?}");
        }
        reads.join().unwrap();
    }
}
