//! One look at who listens at a home's socket, for who wants to know and not to have an agent.
//!
//! Kept true here: no lock is taken, nothing is started, made or repaired, and it is over in time,
//! whoever listens. Connecting alone may start an agent where a service manager listens for it: whoever
//! does not want that tests L first.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::http::{ConnectError, Connection, Request};
use crate::ready::Version;
use crate::{App, Home, wait};

/// What one look told.
#[derive(Clone, Debug)]
pub enum Knock {
    /// Nobody listens.
    Nobody,
    /// Somebody does, and the queue is full.
    Full,
    /// Somebody does, and says nothing in time.
    Silent,
    /// Somebody of this uid does.
    Foreign(u32),
    /// It is shutting down.
    Stopping,
    /// Somebody does who is no agent of this app; why.
    NotOurs(String),
    /// It can't be connected to; why.
    Cannot(String),
    /// An agent.
    Answered {
        /// Who it is.
        version: Box<Version>,
        /// Status and body of the answer to the request; `None`: it did not come in time.
        reply: Option<(u16, Vec<u8>)>,
    },
}

/// Connects, asks for the version and, in the same write, `request`, and waits so long for all of it.
pub fn knock(app: &App, home: &Home, request: &Request, patience: Duration) -> Knock {
    let until = Instant::now() + patience;
    let mut connection = match Connection::open(&socket_of(home), patience) {
        Ok(connection) => connection,
        Err(ConnectError::Missing { .. } | ConnectError::Stale { .. }) => return Knock::Nobody,
        Err(ConnectError::Timeout { .. }) => return Knock::Full,
        Err(ConnectError::Refused { uid, .. }) => return Knock::Foreign(uid),
        Err(ConnectError::Os { source, .. }) => return Knock::Cannot(source.to_string()),
    };
    let mut bytes = Vec::new();
    Request::get("/v1/version").write_to(&mut bytes, None);
    request.write_to(&mut bytes, Some((&app.api_header(), app.api)));
    if let Err(error) = connection.send(&bytes) {
        return Knock::NotOurs(format!("it hangs up: {error}"));
    }
    match wait::any_readable(&[connection.as_fd()], until) {
        Ok(readable) if readable[0] => {}
        Ok(_) | Err(_) => return Knock::Silent,
    }
    connection.read_until(Some(until));
    let (status, body) = match next(&mut connection) {
        Ok(answer) => answer,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => return Knock::Silent,
        Err(error) => return Knock::NotOurs(error.to_string()),
    };
    match status {
        200 => {}
        503 => return Knock::Stopping,
        other => return Knock::NotOurs(format!("it answers {other} to GET /v1/version")),
    }
    match serde_json::from_slice::<Version>(&body) {
        Ok(version) if version.name == app.name => {
            Knock::Answered { version: Box::new(version), reply: next(&mut connection).ok() }
        }
        Ok(version) => Knock::NotOurs(format!("it says that it is `{}`", version.name)),
        Err(error) => Knock::NotOurs(format!("its version cannot be read: {error}")),
    }
}

/// Where the agent that lives says that it listens; else where one would.
fn socket_of(home: &Home) -> PathBuf {
    home.published_socket().filter(|socket| socket.exists()).unwrap_or_else(|| home.socket())
}

fn next(connection: &mut Connection) -> io::Result<(u16, Vec<u8>)> {
    let head = connection.head()?;
    let body = connection.whole(head.framing)?;
    Ok((head.status, body))
}
