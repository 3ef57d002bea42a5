//! `ensure_ready`: how a verb gets an agent. The client's side of the algorithm.
//!
//! Kept true here, whatever is killed at whatever moment:
//! - at most one agent lives in a home: an agent is only ever spawned under S and L, after a probe
//!   and a test of L made under S;
//! - nobody unlinks a socket from here: a client that timed out cannot delete a living one;
//! - a silent agent is not a dead one: the open connection is kept, since it is the fastest way to
//!   the answer when the agent comes back.
//!
//! The locks are taken in the order S, then L. Where a service manager's unit is in charge of the home,
//! none is taken and nothing is spawned (`unit.rs`).

pub(crate) mod locks;
mod replace;
mod socket;
mod start;
mod unit;
mod verdict;

pub(crate) use self::replace::replace;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hearth_process::locked::LockedFile;
use hearth_process::watch::DirWatch;

use self::socket::Probe;
use self::unit::{Charge, Unanswered};
use crate::http::{Connection, Reply, Request};
use crate::ready::{Ready, State};
use crate::wait::LockWait;
use crate::{App, CallError, Home, Renewal};

/// How long an agent may be silent before the slow path is taken; also when a wait is named.
const SILENCE: Duration = Duration::from_millis(500);

/// What a verb allows.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Never start an agent.
    pub no_spawn: bool,
    /// Bounds getting an agent, below the deadline of the app's [`crate::Budgets`].
    pub timeout: Option<Duration>,
    /// Start one although a recent failure is on record.
    pub past_backoff: bool,
    /// Called once, with the words for a person, when a wait takes more than 500 ms.
    pub on_wait: Option<&'a (dyn Fn(&str) + Sync)>,
}

/// Makes sure that an agent answers: starts one if there is none.
pub(crate) fn ensure_ready(app: &App, home: &Home, options: &Options<'_>) -> Ready {
    match Attempt::new(app, home, options, None).run() {
        Ok((ready, _)) => ready,
        Err(CallError::NotReady(ready)) => *ready,
        Err(CallError::Version { agent, ours })
            if replace::may_replace(options, app, &agent, ours) =>
        {
            match replace(app, home, options) {
                Ok(ready) => ready,
                Err(CallError::NotReady(ready)) => *ready,
                Err(_) => {
                    let attempt = Attempt::new(app, home, options, None);
                    Ready { version: Some(*agent), ..attempt.told(State::Up, None, None) }
                }
            }
        }
        Err(CallError::Version { agent, .. }) => {
            let attempt = Attempt::new(app, home, options, None);
            Ready { version: Some(*agent), ..attempt.told(State::Up, None, None) }
        }
        Err(error) => Attempt::new(app, home, options, None).told(
            State::Unresponsive,
            Some(error.to_string()),
            None,
        ),
    }
}

/// Gets an agent and sends `request` to it, both in one write when one is up.
///
/// An agent that is too old to be talked to is replaced first; one that is too new never is.
pub(crate) fn call(
    app: &App,
    home: &Home,
    options: &Options<'_>,
    request: &Request,
) -> Result<(Ready, Reply), CallError> {
    match Attempt::new(app, home, options, Some(request)).ask() {
        Err(CallError::Version { agent, ours })
            if replace::may_replace(options, app, &agent, ours) =>
        {
            let replaced = replace(app, home, options)?;
            let mut attempt = Attempt::new(app, home, options, Some(request));
            // Whoever is there now is the newest that there is.
            attempt.may_be_older = true;
            let (ready, reply) = attempt.ask().map_err(|error| match error {
                CallError::Version { agent, ours } => {
                    attempt.too_old(&agent, ours).unwrap_or(CallError::Version { agent, ours })
                }
                error => error,
            })?;
            Ok((Ready { state: replaced.state, duration: replaced.duration, ..ready }, reply))
        }
        answer => answer,
    }
}

/// Makes sure that an agent answers, and gives the connection on which it did.
pub(crate) fn connect(
    app: &App,
    home: &Home,
    options: &Options<'_>,
) -> Result<(Ready, Connection), CallError> {
    let open = |may_be_older| {
        let mut attempt = Attempt::new(app, home, options, None);
        attempt.may_be_older = may_be_older;
        let (ready, _) = attempt.run()?;
        let broken = || CallError::Broken(io::ErrorKind::UnexpectedEof.into());
        Ok((ready, attempt.answering.take().ok_or_else(broken)?))
    };
    match open(false) {
        Err(CallError::Version { agent, ours })
            if replace::may_replace(options, app, &agent, ours) =>
        {
            let replaced = replace(app, home, options)?;
            let (ready, connection) = open(true)?;
            let (state, duration) = (replaced.state, replaced.duration);
            Ok((Ready { state, duration, ..ready }, connection))
        }
        opened => opened,
    }
}

struct Attempt<'a> {
    app: &'a App,
    home: &'a Home,
    /// Where the agent was found to listen, where that is not where one of our environment would.
    elsewhere: Option<PathBuf>,
    options: &'a Options<'a>,
    request: Option<&'a Request>,
    began: Instant,
    deadline: Instant,
    open: Option<Connection>,
    /// The one on which the agent has said who it is, where nothing was asked beside that.
    answering: Option<Connection>,
    /// An agent of an older version is good enough.
    may_be_older: bool,
    spawn_lock: Option<LockedFile>,
    watch: Option<DirWatch>,
    agent_lock_wait: Option<LockWait>,
    ours: Option<String>,
    charge: Option<Charge>,
    looked: bool,
    subscribed: bool,
    repeated: u32,
    named: bool,
}

type Answer = (Ready, Option<Reply>);

/// How often a request is sent again where a service manager brings the next agent at once, however the
/// last one ended; where verbs start agents it is once, so that none that kills them goes on doing so.
pub const REPEATS_BY_MANAGER: u32 = 20;

impl<'a> Attempt<'a> {
    fn new(
        app: &'a App,
        home: &'a Home,
        options: &'a Options<'a>,
        request: Option<&'a Request>,
    ) -> Self {
        let began = Instant::now();
        let most = app.budgets.deadline;
        let deadline = began + options.timeout.unwrap_or(most).min(most);
        Self {
            app,
            home,
            options,
            request,
            began,
            deadline,
            elsewhere: None,
            open: None,
            answering: None,
            may_be_older: app.renewal != Renewal::Older
                || options.no_spawn
                || app.spawn_forbidden(),
            spawn_lock: None,
            watch: None,
            agent_lock_wait: None,
            ours: None,
            charge: None,
            looked: false,
            subscribed: false,
            repeated: 0,
            named: false,
        }
    }

    fn ask(&mut self) -> Result<(Ready, Reply), CallError> {
        match self.run()? {
            (ready, Some(reply)) => Ok((ready, reply)),
            (_, None) => Err(CallError::Broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// The whole algorithm. The first probe is the warm path: no lock, no other file touched.
    fn run(&mut self) -> Result<Answer, CallError> {
        let _ = hearth_process::stdio::ensure_open();
        let mut patience = SILENCE;
        loop {
            if self.may_not_start() {
                self.leave_the_manager_alone()?;
            }
            let probe = self.probe(patience);
            patience = SILENCE;
            let unanswered = match probe {
                Probe::Answered(version, reply) => return Ok((self.answered(version), reply)),
                Probe::Refused(error) => return Err(error),
                Probe::Declined(problem) => return Err(self.declined(&problem)),
                Probe::Blocked(blocked) => return Err(self.blocked(blocked)),
                Probe::Late => return Err(self.judge_late()),
                Probe::Overdue(after) => {
                    return Err(CallError::Timeout { path: self.socket(), after });
                }
                Probe::Lost(error) => {
                    self.repeat_or_fail(error)?;
                    Unanswered::Ended
                }
                // Both requests went out in one write: the second may have been carried out.
                Probe::Broke if self.request.is_some_and(|request| !request.repeatable) => {
                    let broken = || CallError::Broken(io::ErrorKind::UnexpectedEof.into());
                    return Err(self.given_up().unwrap_or_else(broken));
                }
                Probe::Nobody => {
                    // A socket that is none looks to connect(2) like one where nobody listens.
                    self.home.foreign_at_socket().map_err(|b| self.blocked(b))?;
                    Unanswered::Nobody
                }
                Probe::Broke | Probe::Unread | Probe::Stopping => Unanswered::Ended,
                Probe::Silent => Unanswered::Silent,
                Probe::Full => Unanswered::Full,
            };
            if let Some(longer) = self.by_manager(unanswered)? {
                patience = longer;
                continue;
            }
            if self.spawn_lock.is_none() {
                if self.take_spawn_lock()? {
                    continue;
                }
                return Err(self.judge_late());
            }
            if unanswered == Unanswered::Full {
                // Under S the kernel may hold us in its queue for as long as there is time.
                patience = self.left();
            }
            self.under_spawn_lock()?;
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}
