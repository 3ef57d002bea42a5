//! One look at the socket: who answers, or how nobody does.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Attempt, SILENCE};
use crate::app::Sockets;
use crate::call::was_unread;
use crate::home::Blocked;
use crate::http::{ConnectError, Connection, Head, Reply, Request};
use crate::problem::{Problem, STOPPING};
use crate::ready::{ApiRange, Version};
use crate::version::is_older;
use crate::{CallError, wait};

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
    /// It is up, and has not answered the request within the request's own time.
    Overdue(Duration),
    /// It broke before the version had come.
    Broke,
    /// It broke before all of what was sent was read: the request was not carried out.
    Unread,
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
            None => match self.connect(patience.min(self.left())) {
                Ok(mut connection) => {
                    if self.spawn_lock.is_some() {
                        // A stopped agent does not empty its socket, and is waited for.
                        connection.send_within(self.left());
                    }
                    match connection.send(&self.first_write()) {
                        // It may have said why it takes no more (a body that is too long) before it went.
                        Err(error) if was_unread(&error) => {
                            return match self.read_answer(connection) {
                                Probe::Broke | Probe::Lost(_) => Probe::Unread,
                                answered => answered,
                            };
                        }
                        Err(_) => return Probe::Unread,
                        Ok(()) => connection,
                    }
                }
                Err(ConnectError::Missing { .. } | ConnectError::Stale { .. }) => {
                    return Probe::Nobody;
                }
                Err(ConnectError::Timeout { .. }) => return Probe::Full,
                Err(ConnectError::Refused { uid, .. }) => return Probe::Blocked(self.foreign(uid)),
                Err(ConnectError::Os { path, source }) => {
                    // A home that is wrong says more than the error of a path through it.
                    let home = self.home.prepare().err();
                    return Probe::Blocked(
                        home.unwrap_or_else(|| Blocked::io("connect to", &path, &source)),
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

    /// Where the agent listens, as far as we know.
    pub(super) fn socket(&self) -> PathBuf {
        self.elsewhere.clone().unwrap_or_else(|| self.home.socket())
    }

    /// Where an agent of this environment listens; else, for an app whose socket may stand elsewhere,
    /// where the one that lives says that it does.
    fn connect(&mut self, patience: Duration) -> Result<Connection, ConnectError> {
        let nobody = |error: &ConnectError| {
            matches!(error, ConnectError::Missing { .. } | ConnectError::Stale { .. })
        };
        let tried = match Connection::open(&self.socket(), patience) {
            Err(error) if nobody(&error) && self.app.sockets == Sockets::RuntimeDirectory => error,
            opened => return opened,
        };
        let (ours, published) = (self.home.socket(), self.home.published_socket());
        let others = [self.elsewhere.take().map(|_| ours.clone()), published];
        for place in others.into_iter().flatten() {
            if let Ok(connection) = Connection::open(&place, patience) {
                self.elsewhere = Some(place).filter(|place| *place != ours);
                return Ok(connection);
            }
        }
        Err(tried)
    }

    /// The version probe, and right behind it the verb's request, where whoever answers may do it.
    pub(super) fn first_write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        Request::get("/v1/version").write_to(&mut bytes, None);
        if self.may_be_older {
            self.write_request(&mut bytes);
        }
        bytes
    }

    fn write_request(&self, bytes: &mut Vec<u8>) {
        if let Some(request) = self.request {
            request.write_to(bytes, Some((&self.app.api_header(), self.app.api)));
        }
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
            Err(error) if was_unread(&error) => return Probe::Unread,
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
        if version.name != self.app.name {
            return Probe::Blocked(
                self.not_ours(&format!("it says that it is `{}`", version.name)),
            );
        }
        let ours = ApiRange { min: self.app.api.0, max: self.app.api.1 };
        let too_old = !self.may_be_older && is_older(&version.version, self.app.version);
        if too_old || !version.api.meets(ours) {
            return Probe::Refused(CallError::Version { agent: Box::new(version), ours });
        }
        let Some(request) = self.request else {
            connection.read_until(None);
            self.answering = Some(connection.of(self.app));
            return Probe::Answered(version, None);
        };
        let mut is_sent = true;
        if !self.may_be_older {
            let mut bytes = Vec::with_capacity(512);
            self.write_request(&mut bytes);
            match connection.send(&bytes) {
                Ok(()) => {}
                Err(error) if was_unread(&error) => is_sent = false,
                Err(_) => return Probe::Unread,
            }
        }
        // It is up. How long a command may take is the caller's to say; a question is answered at
        // once, or by nobody.
        let own = self.options.timeout.and_then(|it| self.began.checked_add(it));
        let within = request.within.and_then(|it| Instant::now().checked_add(it));
        let deadline = self.app.budgets.deadline;
        let at_most = || Instant::now().checked_add(deadline).filter(|_| request.method == "GET");
        connection.read_until(within.or(own).or_else(at_most));
        match connection.head() {
            // Between the two requests of one write it began to stop.
            Ok(head) if head.status == 503 && is_problem(&head) => {
                let body = match connection.whole(head.framing) {
                    Ok(body) => body,
                    Err(error) => return Probe::Lost(error),
                };
                let problem = serde_json::from_slice::<Problem>(&body);
                if problem.is_ok_and(|problem| problem.code == STOPPING) {
                    return Probe::Stopping;
                }
                // The service's own: for the caller to read.
                let head = connection.give_back(head, body);
                Probe::Answered(version, Some(Reply::new(connection, head)))
            }
            Ok(head) => {
                connection.read_until(within);
                Probe::Answered(version, Some(Reply::new(connection, head)))
            }
            Err(error) if is_late(&error) => request.within.map_or(Probe::Late, Probe::Overdue),
            Err(error) if !is_sent || was_unread(&error) => Probe::Unread,
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
    let version: Result<Version, _> = serde_json::from_slice(body);
    let version = version.map_err(|e| format!("its version cannot be read: {e}"))?;
    Ok(Version { executable: head.executable.clone(), ..version })
}

/// A refusal, as opposed to a health report that says no.
fn is_problem(head: &Head) -> bool {
    head.content_type.starts_with(Problem::CONTENT_TYPE)
}
