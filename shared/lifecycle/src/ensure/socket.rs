//! One look at the socket: who answers, or how nobody does.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::{Attempt, CallError, DEADLINE, SILENCE};
use crate::home::Blocked;
use crate::http::{ConnectError, Connection, Head, Reply, Request};
use crate::problem::Problem;
use crate::ready::{ApiRange, Version};
use crate::wait;

/// What one look at the socket told.
pub(super) enum Probe {
    /// It answered, and the reply to the request, if there was one, has begun.
    Answered(Version, Option<Reply>),
    /// It answered, and breaks the contract or refuses.
    Refused(CallError),
    /// It answered 503: it is shutting down.
    Stopping,
    /// It answered 503: it may not serve, and says why. A manager gave it the socket.
    Declined(Problem),
    /// Connected, and not a byte for 500 ms. The connection is kept.
    Silent,
    /// Its queue is full.
    Full,
    /// Nobody listens.
    Nobody,
    /// It broke before the first byte of the version.
    Broke,
    /// It began to answer, and went silent beyond the deadline.
    Late,
    /// It broke between the version and the first byte of the reply.
    Lost(io::Error),
    /// And that is the end.
    Blocked(Blocked),
}

impl Attempt<'_> {
    pub(super) fn probe(&mut self, patience: Duration) -> Probe {
        let connection = match self.open.take() {
            Some(connection) => connection,
            None => match Connection::open(&self.home.socket(), patience.min(self.left())) {
                Ok(mut connection) => {
                    if self.spawn_lock.is_some() {
                        // A stopped agent does not empty its socket, and is waited for.
                        connection.send_within(self.left());
                    }
                    if connection.send(&self.first_write()).is_err() {
                        return Probe::Broke;
                    }
                    connection
                }
                Err(ConnectError::Nobody) => return Probe::Nobody,
                Err(ConnectError::Full) => return Probe::Full,
                Err(ConnectError::Foreign(uid)) => return Probe::Blocked(self.foreign(uid)),
                Err(ConnectError::Os(e)) => {
                    // A home that is wrong says more than the error of a path through it.
                    let home = self.home.prepare().err();
                    return Probe::Blocked(
                        home.unwrap_or_else(|| Blocked::io("connect to", &self.home.socket(), &e)),
                    );
                }
            },
        };
        let quiet = Instant::now() + SILENCE.min(self.left());
        match wait::any_readable(&[connection.as_fd()], quiet) {
            Ok(readable) if readable[0] => self.read_answer(connection),
            Ok(_) | Err(_) => {
                self.open = Some(connection);
                Probe::Silent
            }
        }
    }

    /// The version probe, and right behind it the verb's request.
    pub(super) fn first_write(&self) -> Vec<u8> {
        let header = self.app.api_header();
        let mut bytes = Vec::with_capacity(512);
        Request::get("/v1/version").write_to(&mut bytes, None);
        if let Some(request) = self.request {
            request.write_to(&mut bytes, Some((&header, self.app.api)));
        }
        bytes
    }

    pub(super) fn read_answer(&mut self, mut connection: Connection) -> Probe {
        let is_late = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        connection.read_until(Some(self.deadline));
        let answer = connection.head().and_then(|head| {
            let body = connection.whole(head.framing)?;
            Ok((head, body))
        });
        let (head, body) = match answer {
            Ok(answer) => answer,
            Err(error) if is_late(&error) => return Probe::Late,
            Err(_) => return Probe::Broke,
        };
        if head.status == 503 {
            let problem = serde_json::from_slice::<Problem>(&body).ok();
            let permanent =
                |problem: &Problem| matches!(&*problem.code, "spawn-failed" | "already-running");
            return problem.filter(permanent).map_or(Probe::Stopping, Probe::Declined);
        }
        let version = match read_version(&head, &body) {
            Ok(version) => version,
            Err(why) => return Probe::Blocked(self.not_ours(&why)),
        };
        let ours = ApiRange { min: self.app.api.0, max: self.app.api.1 };
        if !version.api.meets(ours) {
            return Probe::Refused(CallError::Version { agent: version, ours });
        }
        if self.request.is_none() {
            return Probe::Answered(version, None);
        }
        // It is up. How long a command may take is the caller's to say; a question is answered at
        // once, or by nobody.
        let own = self.options.timeout.and_then(|it| self.began.checked_add(it));
        let asks = self.request.is_some_and(|request| request.method == "GET");
        let at_most = || Instant::now().checked_add(DEADLINE).filter(|_| asks);
        connection.read_until(own.or_else(at_most));
        match connection.head() {
            // Between the two requests of one write it began to stop.
            Ok(head) if head.status == 503 && is_stopping(&head) => Probe::Stopping,
            Ok(head) => {
                connection.read_until(None);
                Probe::Answered(version, Some(Reply::new(connection, head)))
            }
            Err(error) if is_late(&error) => Probe::Late,
            Err(error) => Probe::Lost(error),
        }
    }

    pub(super) fn repeat_or_fail(&mut self, error: io::Error) -> Result<(), CallError> {
        let may = self.request.is_some_and(|request| request.repeatable);
        let most = if self.has_unit() { super::REPEATS_BY_MANAGER } else { 1 };
        if self.repeated >= most || !may {
            return Err(CallError::Broken(error));
        }
        self.repeated += 1;
        Ok(())
    }
}

fn read_version(head: &Head, body: &[u8]) -> Result<Version, String> {
    if head.status != 200 {
        return Err(format!("it answers {} to GET /v1/version", head.status));
    }
    serde_json::from_slice(body).map_err(|e| format!("its version cannot be read: {e}"))
}

/// A 503 of the agent's own, as opposed to a health report that says no.
fn is_stopping(head: &Head) -> bool {
    head.content_type.starts_with("application/problem+json")
}
