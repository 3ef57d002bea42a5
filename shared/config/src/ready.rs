//! Readiness tests as the file asks for them. Only what is to be tested and how often stands
//! here; who tests is the agent, and what follows is decided by its core.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::project::Run;

/// One readiness test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// What is looked at.
    pub probe: Probe,
    /// Pause between tries until the service is ready, and again while it fails; more than 0.
    pub every: Duration,
    /// Pause between tries while it is ready; more than 0.
    pub then_every: Duration,
    /// Bound of one try; more than 0.
    pub timeout: Duration,
    /// How long after its start a service that is not ready is reported as starting.
    pub grace: Duration,
    /// How many tries in a row must fail; at least 1.
    pub failures: u32,
    /// What health says when it passes, instead of the probe's own words.
    pub ok: Option<String>,
    /// What health says when it fails, instead of the probe's own words.
    pub failing: Option<String>,
}

impl Test {
    /// A test with every default.
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            every: Duration::from_secs(1),
            then_every: Duration::from_secs(30),
            timeout: Duration::from_secs(2),
            grace: Duration::from_secs(5),
            failures: 3,
            ok: None,
            failing: None,
        }
    }
}

/// Tests as they are built in code. What they hold is checked by [`crate::Builder::build`].
impl Test {
    fn later(kind: LaterKind, text: &str) -> Self {
        let (text, base) = (text.to_owned(), PathBuf::new());
        Self::new(Probe::Later(Later { kind, text, base, status: Probe::STATUS, body: None }))
    }

    /// Connects to a port of this machine.
    pub fn tcp(port: u16) -> Self {
        Self::new(Probe::Tcp { host: "localhost".to_owned(), port })
    }

    /// Connects to `host:port`.
    pub fn tcp_at(address: &str) -> Self {
        Self::later(LaterKind::Tcp, address)
    }

    /// Gets an `http://` URL.
    pub fn http(url: &str) -> Self {
        Self::later(LaterKind::Http, url)
    }

    /// Connects to the socket of this path.
    pub fn unix(path: &str) -> Self {
        Self::later(LaterKind::Unix, path)
    }

    /// A file of this path exists.
    pub fn file(path: &str) -> Self {
        Self::later(LaterKind::File, path)
    }

    /// Runs a command.
    pub fn exec(run: impl Into<Run>) -> Self {
        Self::new(Probe::Exec(run.into()))
    }

    /// Looks for a pattern in the lines of the output.
    pub fn log(pattern: &str) -> Self {
        Self::new(Probe::Log(pattern.to_owned()))
    }

    /// Waits for `READY=1` of the service.
    pub fn notify() -> Self {
        Self::new(Probe::Notify)
    }

    /// Passes after this long.
    pub fn delay(delay: Duration) -> Self {
        Self::new(Probe::Delay(delay))
    }

    /// Pause between tries until it passes, and while it fails.
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// Pause between tries while it passes.
    pub fn then_every(self, then_every: Duration) -> Self {
        Self { then_every, ..self }
    }

    /// Bound of one try.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// How long a failure after the start is told as starting.
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// How many tries in a row must fail.
    pub fn failures(self, failures: u32) -> Self {
        Self { failures, ..self }
    }

    /// What health says when it passes.
    pub fn ok(self, message: &str) -> Self {
        Self { ok: Some(message.to_owned()), ..self }
    }

    /// What health says when it fails.
    pub fn failing(self, message: &str) -> Self {
        Self { failing: Some(message.to_owned()), ..self }
    }

    /// First and last status that passes; of `http` alone, and of no meaning elsewhere.
    pub fn status(mut self, first: u16, last: u16) -> Self {
        if let Probe::Http { status, .. } | Probe::Later(Later { status, .. }) = &mut self.probe {
            *status = (first, last);
        }
        self
    }

    /// The pattern that must be found in the body; of `http` alone, and of no meaning elsewhere.
    pub fn body(mut self, pattern: &str) -> Self {
        if let Probe::Http { body, .. } | Probe::Later(Later { body, .. }) = &mut self.probe {
            *body = Some(pattern.to_owned());
        }
        self
    }
}

/// What a test looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Connects. A bare port in the file is `localhost`, which may stand for several addresses:
    /// one that accepts is enough.
    Tcp {
        /// Name or address, v6 without brackets.
        host: String,
        /// From 1.
        port: u16,
    },
    /// Sends a GET and looks at the answer.
    Http {
        /// Where to.
        url: Http,
        /// First and last status that passes, both included.
        status: (u16, u16),
        /// A pattern (see [`crate::pattern`]) that must be found in the body.
        body: Option<String>,
    },
    /// Runs a command: exit 0 passes, 75 means still at work.
    Exec(Run),
    /// A pattern (see [`crate::pattern`]) that must be found in a line of the output.
    Log(String),
    /// Passes by itself, this long after the start.
    Delay(Duration),
    /// Waits for `READY=1` from the service itself (`sd_notify(3)`).
    Notify,
    /// Connects to a socket of that path (`unix(7)`, stream); absolute.
    Unix(PathBuf),
    /// A file of that path exists; absolute.
    File(PathBuf),
    /// One with `${...}` in its text: it becomes one of the others when a life begins, see
    /// [`crate::Service::resolve`].
    Later(Later),
}

/// A probe whose text is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Later {
    /// What it becomes.
    pub kind: LaterKind,
    /// As it stands in the file.
    pub text: String,
    /// Of `unix` and `file`: what a relative path starts from.
    #[serde(default)]
    pub base: PathBuf,
    /// Of `http`: first and last status that passes.
    pub status: (u16, u16),
    /// Of `http`: the pattern for the body.
    pub body: Option<String>,
}

/// Kinds of probe whose text may have `${...}` in it and can't be read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaterKind {
    /// [`Probe::Tcp`].
    Tcp,
    /// [`Probe::Http`].
    Http,
    /// [`Probe::Unix`].
    Unix,
    /// [`Probe::File`].
    File,
}

impl Probe {
    /// The statuses that pass when the file names none.
    pub const STATUS: (u16, u16) = (200, 399);

    /// The port of this machine that it connects to, if it does.
    pub fn local_port(&self) -> Option<u16> {
        let (host, port) = match self {
            Self::Tcp { host, port } => (host, *port),
            Self::Http { url, .. } => (&url.host, url.port),
            Self::Exec(_)
            | Self::Log(_)
            | Self::Delay(_)
            | Self::Notify
            | Self::Unix(_)
            | Self::File(_)
            | Self::Later(_) => return None,
        };
        crate::address::is_local(host).then_some(port)
    }
}

/// An `http://` URL in its parts (RFC 3986, 3.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Name or address to connect to, v6 without brackets.
    pub host: String,
    /// 80 where the URL has none.
    pub port: u16,
    /// Path and query, as the request line has them; begins with `/`.
    pub path: String,
    /// The `Host` header: host and port as they were written.
    pub host_header: String,
}
