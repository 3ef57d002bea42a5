//! The client of one app: it knows the home, remembers that the agent is ready, and speaks JSON.
//!
//! Kept true here: what is remembered is remembered until a connection fails, and never longer; a client
//! is a value, so two apps, or two homes of one app, have each its own.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::{understood, unread};
use crate::ensure::{self, Options};
use crate::home::Blocked;
use crate::http::{Answer, Connection, Reply, Request};
use crate::ready::{ApiRange, Ready, State};
use crate::report::Report;
use crate::{
    App, CallError, Ended, Home, HomeError, Running, Stop, StopError, control, is_older, running,
    unit,
};

/// How long an agent may take for the reply to a JSON call.
pub const JSON_DEADLINE: Duration = Duration::from_secs(10);

/// A client of one app's agent, blocking: no runtime, no thread.
///
/// ```no_run
/// use hearth_lifecycle::{App, Client, Options};
///
/// const NOTES: App = App::new("notes", env!("CARGO_PKG_VERSION"));
///
/// let notes = Client::new(&NOTES)?;
/// let all: Vec<String> = notes.get("/v1/notes", &Options::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client {
    app: App,
    home: Home,
    // A std mutex is right: it is held for a look.
    ready: Mutex<Option<Arc<Ready>>>,
    /// What there is to tell a person; `None`: nothing is told. A pointer, so that an executable that tells
    /// nothing does not carry the words.
    notice: Option<Notice>,
    /// It is told once.
    told: AtomicBool,
}

type Notice = fn(&Ready, &App, &Home) -> Option<String>;

/// How much a verb needs its agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Need {
    /// One is started where there is none; where it can't be had, that is told and the verb goes on
    /// without.
    #[default]
    Auto,
    /// One is started where there is none; where it can't be had, the verb fails.
    Strict,
    /// None is started. One that is there is used.
    Never,
}

impl Need {
    /// By the app's variables: `PREFIX_STRICT`, else `PREFIX_NO_AUTOSPAWN`; set to `0` they are not. That
    /// none may be started holds whatever a verb needs.
    pub fn of_environment(app: &App) -> Self {
        match (app.var("STRICT").is_some_and(|value| value != "0"), app.spawn_forbidden()) {
            (true, _) => Need::Strict,
            (false, true) => Need::Never,
            (false, false) => Need::Auto,
        }
    }

    /// Whether it is this that forbids starting one; where a variable does, that is told instead.
    pub(crate) fn forbids(self, app: &App) -> bool {
        self == Need::Never && !app.spawn_forbidden()
    }
}

impl Client {
    /// Of the app's home by the rules ([`Home::resolve`]). Touches no file.
    pub fn new(app: &App) -> Result<Self, HomeError> {
        Ok(Self::at(app, Home::resolve(app, None)?))
    }

    /// The same where a person may have named the home (`--home`).
    pub fn in_home(app: &App, home: Option<&Path>) -> Result<Self, HomeError> {
        Ok(Self::at(app, Home::resolve(app, home)?))
    }

    /// Of this home.
    pub fn at(app: &App, home: Home) -> Self {
        let (ready, told) = (Mutex::new(None), AtomicBool::new(false));
        Self { app: app.clone(), home, ready, notice: None, told }
    }

    /// Whose agent.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Where.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Makes sure that an agent answers: starts one if there is none and `options` allow it. Once it is
    /// up or started that is remembered, until a connection fails or [`Client::forget`].
    pub fn ensure_ready(&self, options: &Options<'_>) -> Arc<Ready> {
        if let Some(ready) = self.remembered() {
            return ready;
        }
        self.remember(ensure::ensure_ready(&self.app, &self.home, options))
    }

    /// An open connection on which the agent has just said who it is; requests go over it one after the
    /// other.
    pub fn connect(&self, options: &Options<'_>) -> Result<Connection, CallError> {
        let opened = ensure::connect(&self.app, &self.home, options);
        let (ready, connection) = opened.inspect_err(|_| self.forget())?;
        self.remember(ready);
        Ok(connection)
    }

    /// Gets an agent and sends `request` to it, both in one write when one is up. The reply may be read as
    /// it comes.
    ///
    /// An agent that is too old to be talked to is replaced first ([`crate::Renewal`]); one that is too
    /// new never is.
    pub fn call(
        &self,
        options: &Options<'_>,
        request: &Request,
    ) -> Result<(Arc<Ready>, Reply), CallError> {
        request.check()?;
        let answer = ensure::call(&self.app, &self.home, options, request);
        let (ready, reply) = answer.inspect_err(|_| self.forget())?;
        Ok((self.remember(ready), reply))
    }

    /// The same, with the reply read as JSON. Without a deadline of its own the request gets
    /// [`JSON_DEADLINE`]. An empty body is JSON's `null`.
    ///
    /// Errors: also [`CallError::Refused`] where the agent says no, in its own words,
    /// [`CallError::Timeout`] and [`CallError::Protocol`].
    pub fn json<T: DeserializeOwned>(
        &self,
        options: &Options<'_>,
        request: &Request,
    ) -> Result<T, CallError> {
        understood(&self.home, &self.answer(options, request)?)
    }

    /// The same with the reply as it is, whatever its status: a health report that says no, for example.
    pub fn answer(&self, options: &Options<'_>, request: &Request) -> Result<Answer, CallError> {
        let within = request.within.unwrap_or(JSON_DEADLINE);
        let request = request.clone().within(within);
        let (_, reply) = self.call(options, &request)?;
        let answer = reply.whole().map_err(|error| unread(&self.home, Some(within), error));
        answer.inspect_err(|_| self.forget())
    }

    /// Asks for something.
    pub fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        options: &Options<'_>,
    ) -> Result<T, CallError> {
        self.json(options, &Request::get(path))
    }

    /// Has something done. Sent once: where it may be repeated, say so by [`Request::repeatable`] and
    /// [`Client::json`].
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        options: &Options<'_>,
    ) -> Result<T, CallError> {
        self.json(options, &Request::json(path, body)?)
    }

    /// Has something removed. Sent once.
    pub fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        options: &Options<'_>,
    ) -> Result<T, CallError> {
        self.json(options, &Request::delete(path))
    }

    /// Whether an agent lives, without asking it.
    pub fn running(&self) -> Result<Running, Blocked> {
        running(&self.home)
    }

    /// Has the agent stop and waits for its end; see [`Stop`].
    pub fn stop(&self, how: Stop) -> Result<Ended, StopError> {
        self.forget();
        control::stop(&self.app, &self.home, how)
    }

    /// Kills the agent that lives, through a verified handle, and waits until the kernel says that it is
    /// gone, within 5 s.
    pub fn kill(&self) -> Result<Ended, StopError> {
        self.forget();
        control::kill(&self.home)
    }

    /// Puts an agent of this executable into the place of the one that lives, with no client refused
    /// meanwhile; where none does, starts one. What is under way at the old one is finished or ended with
    /// the word that it was replaced. Where a unit is in charge, its manager is told to restart it, and
    /// runs what was installed.
    ///
    /// Errors: those of [`Client::call`]; [`State::SpawnFailed`] where the new one failed, hung or died,
    /// and the old one goes on; one that does not answer is [`State::Unresponsive`], and stays but with
    /// `force`, which kills it and starts another.
    /// One that is newer than this app is not replaced: [`CallError::Newer`].
    pub fn replace(&self, options: &Options<'_>, force: bool) -> Result<Arc<Ready>, CallError> {
        self.forget();
        self.refuse_what_may_not_be(options)?;
        self.refuse_newer()?;
        let stuck =
            |state| matches!(state, State::Unresponsive | State::Stopping | State::StillStarting);
        match ensure::replace(&self.app, &self.home, options) {
            Ok(ready) => Ok(self.remember(ready)),
            Err(CallError::NotReady(ready)) if force && stuck(ready.state) => {
                if let Err(error) = self.kill() {
                    let reason = Some(format!("it could not be killed: {error}"));
                    return Err(CallError::NotReady(Box::new(Ready { reason, ..*ready })));
                }
                // What it has taken to find out that it hangs is not the next one's time.
                let options = Options { past_backoff: true, timeout: None, ..*options };
                let ready = self.ensure_ready(&options);
                match ready.state.is_ready() {
                    true => Ok(ready),
                    false => Err(CallError::NotReady(Box::new((*ready).clone()))),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Before one that does not answer is killed for another that may not be started.
    fn refuse_what_may_not_be(&self, options: &Options<'_>) -> Result<(), CallError> {
        let why = match (self.app.spawn_forbidden(), options.no_spawn) {
            (true, _) => format!("{} forbids starting another", self.app.var_name("NO_AUTOSPAWN")),
            (false, true) => "this call may not start another".to_owned(),
            (false, false) => return Ok(()),
        };
        match self.running() {
            Ok(Running::Living(_)) => Err(CallError::Forbidden { why }),
            Ok(Running::Gone(_) | Running::Died(_)) | Err(_) => Ok(()),
        }
    }

    /// A manager runs what was installed, whoever asks it to.
    fn refuse_newer(&self) -> Result<(), CallError> {
        // By its record: one that does not answer is not waited for twice.
        let Ok(Running::Living(Some(agent))) = self.running() else { return Ok(()) };
        let ours = self.app.version;
        let is_newer = is_older(ours, &agent.version);
        if is_newer && unit::in_charge(&self.app, &self.home).is_none() {
            return Err(CallError::Newer { agent: Box::new(agent), ours });
        }
        Ok(())
    }

    /// How it stands, without starting anything.
    pub fn report(&self) -> Report {
        let options = Options { no_spawn: true, ..Options::default() };
        let ready = ensure::ensure_ready(&self.app, &self.home, &options);
        Report::of(&self.home, &ready)
    }

    /// Warms the agent for a verb that can do without, or asks it only later: makes sure that it answers as
    /// far as the verb needs it. Where none is to be had and the verb goes on, a client that is
    /// [`Client::telling`] says why. A verb that asks at once needs no warming: its question does that.
    ///
    /// `None`: there is none, and the verb goes on without it. Errors: [`CallError::NotReady`] where the
    /// verb can't ([`Need::Strict`]).
    pub fn warm(&self, need: Need, options: &Options<'_>) -> Result<Option<Arc<Ready>>, CallError> {
        let options = Options { no_spawn: options.no_spawn || need.forbids(&self.app), ..*options };
        let ready = self.ensure_ready(&options);
        let usable = self.speaks(&ready);
        match (usable, need) {
            (Ok(()), _) => Ok(Some(ready)),
            (Err(error), Need::Strict) => Err(error),
            (Err(_), Need::Auto) => {
                self.tell(&ready);
                Ok(None)
            }
            (Err(_), Need::Never) => Ok(None),
        }
    }

    /// The same client, which tells a person in one line on stderr, once, what he should know beside the
    /// answer to whatever is asked of it: that an agent was started, or is of another version
    /// ([`Ready::notice`]). Silent where all is as always.
    pub fn telling(mut self) -> Self {
        self.notice = Some(Ready::notice);
        self
    }

    /// Whether it answers, and can be talked to.
    fn speaks(&self, ready: &Ready) -> Result<(), CallError> {
        let ours = ApiRange { min: self.app.api.0, max: self.app.api.1 };
        match &ready.version {
            _ if !ready.state.is_ready() => Err(CallError::NotReady(Box::new(ready.clone()))),
            Some(agent) if !agent.api.meets(ours) => {
                Err(CallError::Version { agent: Box::new(agent.clone()), ours })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn tell(&self, ready: &Ready) {
        // What is told is told once; what there is nothing to tell of may come to be told.
        if let Some(notice) = self.notice
            && !self.told.load(Ordering::Relaxed)
            && let Some(notice) = notice(ready, &self.app, &self.home)
            && !self.told.swap(true, Ordering::Relaxed)
        {
            // Stderr that is closed or full stops nobody.
            let _ = std::io::stderr().write_all(format!("{notice}\n").as_bytes());
        }
    }

    /// Forgets that the agent was ready: it is looked at anew.
    pub fn forget(&self) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn remembered(&self) -> Option<Arc<Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, ready: Ready) -> Arc<Ready> {
        let ready = Arc::new(ready);
        let kept = ready.state.is_ready().then(|| Arc::clone(&ready));
        if kept.is_some() {
            self.tell(&ready);
        }
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        ready
    }
}
