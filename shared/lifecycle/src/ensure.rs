//! `ensure_ready`: how a verb gets an agent. The client's side of the algorithm.
//!
//! Kept true here, whatever is killed at whatever moment:
//! - at most one agent lives in a home: an agent is only ever spawned under S and L, after a probe
//!   and a test of L made under S;
//! - nobody unlinks a socket from here: a client that timed out cannot delete a living one;
//! - a silent agent is not a dead one: the open connection is kept, since it is the fastest way to
//!   the answer when the agent comes back.
//!
//! The locks are taken in the order S, then L.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hearth_process::locked::{LockedFile, TryError};
use hearth_process::watch::DirWatch;

use crate::failures::{Executable, Failures, Verdict, boot_ms};
use crate::home::Blocked;
use crate::http::{ConnectError, Connection, Head, Reply, Request};
use crate::ready::{ApiRange, Ready, State, Version};
use crate::record::{self, Record, Stage};
use crate::spawn::{self, Became};
use crate::wait::{self, LockWait};
use crate::{App, Home};

/// A verb's time for getting an agent.
const DEADLINE: Duration = Duration::from_secs(10);
/// A new agent's time for becoming ready, inside the deadline.
const SPAWN_BUDGET: Duration = Duration::from_secs(3);
/// How long an agent may be silent before the slow path is taken; also when a wait is named.
const SILENCE: Duration = Duration::from_millis(500);

/// What a verb allows.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Never start an agent.
    pub no_spawn: bool,
    /// Bounds getting an agent, below the 10 s that it may take anyway.
    pub timeout: Option<Duration>,
    /// Start one although a recent failure is on record.
    pub past_backoff: bool,
    /// Called once, with the words for a person, when a wait takes more than 500 ms.
    pub on_wait: Option<&'a dyn Fn(&str)>,
}

/// Why a request got no reply.
#[derive(Debug)]
pub enum CallError {
    /// There is no agent to be had: its state tells why.
    NotReady(Box<Ready>),
    /// The two sides have no version of the API in common. Nothing was done.
    Version {
        /// The agent.
        agent: Version,
        /// What we speak.
        ours: ApiRange,
    },
    /// The connection broke before the reply, and the request may not be sent again.
    Broken(io::Error),
}

/// Makes sure that an agent answers: starts one if there is none.
pub fn ensure_ready(app: &App, home: &Home, options: &Options<'_>) -> Ready {
    match Attempt::new(app, home, options, None).run() {
        Ok((ready, _)) => ready,
        Err(CallError::NotReady(ready)) => *ready,
        Err(CallError::Version { agent, .. }) => {
            let attempt = Attempt::new(app, home, options, None);
            Ready { version: Some(agent), ..attempt.told(State::Up, None, None) }
        }
        Err(CallError::Broken(e)) => Attempt::new(app, home, options, None).told(
            State::Unresponsive,
            Some(format!("the agent broke the connection: {e}")),
            None,
        ),
    }
}

/// Gets an agent and sends `request` to it, both in one write when one is up.
pub fn call(
    app: &App,
    home: &Home,
    options: &Options<'_>,
    request: &Request,
) -> Result<(Ready, Reply), CallError> {
    let mut attempt = Attempt::new(app, home, options, Some(request));
    match attempt.run()? {
        (ready, Some(reply)) => Ok((ready, reply)),
        (_, None) => Err(CallError::Broken(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// What one look at the socket told.
enum Probe {
    /// It answered, and the reply to the request, if there was one, has begun.
    Answered(Version, Option<Reply>),
    /// It answered, and breaks the contract or refuses.
    Refused(CallError),
    /// It answered 503: it is shutting down.
    Stopping,
    /// Connected, and not a byte for 500 ms. The connection is kept.
    Silent,
    /// Its queue is full.
    Full,
    /// Nobody listens.
    Nobody,
    /// It broke before the first byte of the version.
    Broke,
    /// It broke between the version and the first byte of the reply.
    Lost(io::Error),
    /// And that is the end.
    Blocked(Blocked),
}

struct Attempt<'a> {
    app: &'a App,
    home: &'a Home,
    options: &'a Options<'a>,
    request: Option<&'a Request>,
    began: Instant,
    deadline: Instant,
    open: Option<Connection>,
    spawn_lock: Option<LockedFile>,
    watch: Option<DirWatch>,
    agent_lock_wait: Option<LockWait>,
    ours: Option<String>,
    repeated: bool,
    named: bool,
}

type Answer = (Ready, Option<Reply>);

impl<'a> Attempt<'a> {
    fn new(
        app: &'a App,
        home: &'a Home,
        options: &'a Options<'a>,
        request: Option<&'a Request>,
    ) -> Self {
        let began = Instant::now();
        let deadline = began + options.timeout.unwrap_or(DEADLINE).min(DEADLINE);
        Self {
            app,
            home,
            options,
            request,
            began,
            deadline,
            open: None,
            spawn_lock: None,
            watch: None,
            agent_lock_wait: None,
            ours: None,
            repeated: false,
            named: false,
        }
    }

    /// The whole algorithm. The first probe is the warm path: no lock, no other file touched.
    fn run(&mut self) -> Result<Answer, CallError> {
        let _ = hearth_process::stdio::ensure_open();
        let mut patience = SILENCE;
        loop {
            let probe = self.probe(patience);
            patience = SILENCE;
            match probe {
                Probe::Answered(version, reply) => return Ok((self.answered(version), reply)),
                Probe::Refused(error) => return Err(error),
                Probe::Blocked(blocked) => return Err(self.blocked(blocked)),
                Probe::Lost(error) => self.repeat_or_fail(error)?,
                // A socket that is none looks to connect(2) like one where nobody listens.
                Probe::Nobody => self.home.foreign_at_socket().map_err(|b| self.blocked(b))?,
                // Under S the kernel may hold us in its queue for as long as there is time.
                Probe::Full if self.spawn_lock.is_some() => patience = self.left(),
                Probe::Broke | Probe::Stopping | Probe::Silent | Probe::Full => {}
            }
            if self.spawn_lock.is_none() {
                if self.take_spawn_lock()? {
                    continue;
                }
                return Err(self.judge_late());
            }
            self.under_spawn_lock()?;
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    // ----- the socket ------------------------------------------------------------------------

    fn probe(&mut self, patience: Duration) -> Probe {
        let connection = match self.open.take() {
            Some(connection) => connection,
            None => match Connection::open(&self.home.socket(), patience.min(self.left())) {
                Ok(mut connection) => {
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
    fn first_write(&self) -> Vec<u8> {
        let header = self.app.api_header();
        let mut bytes = Vec::with_capacity(512);
        Request::get("/v1/version").write_to(&mut bytes, &header, self.app.api);
        if let Some(request) = self.request {
            request.write_to(&mut bytes, &header, self.app.api);
        }
        bytes
    }

    fn read_answer(&mut self, mut connection: Connection) -> Probe {
        let Ok(head) = connection.head() else { return Probe::Broke };
        let Ok(body) = connection.whole(head.framing) else { return Probe::Broke };
        if head.status == 503 {
            return Probe::Stopping;
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
        match connection.head() {
            // Between the two requests of one write it began to stop.
            Ok(head) if head.status == 503 && is_stopping(&head) => Probe::Stopping,
            Ok(head) => Probe::Answered(version, Some(Reply::new(connection, head))),
            Err(error) => Probe::Lost(error),
        }
    }

    fn repeat_or_fail(&mut self, error: io::Error) -> Result<(), CallError> {
        let may = self.request.is_some_and(|request| request.repeatable);
        if self.repeated || !may {
            return Err(CallError::Broken(error));
        }
        self.repeated = true;
        Ok(())
    }

    // ----- S ---------------------------------------------------------------------------------

    /// Takes S, or finds that the kept connection answers. False: neither by the deadline.
    fn take_spawn_lock(&mut self) -> Result<bool, CallError> {
        let forbidden = self.options.no_spawn || self.app.spawn_forbidden();
        if forbidden && !self.home.spawn_lock().exists() {
            // Nothing was ever started here: leave no trace.
            return Err(self.down());
        }
        self.home.prepare().map_err(|b| self.blocked(b))?;
        let path = self.home.spawn_lock();
        let cannot = |e: &io::Error| Blocked::io("open", &path, e);
        let file = record::open(&path).map_err(|e| self.blocked(cannot(&e)))?;
        match LockedFile::try_exclusive(file) {
            Ok(lock) => self.spawn_lock = Some(lock),
            Err((_, TryError::Unsupported(e))) => return Err(self.blocked(no_flock(self.home, &e))),
            Err((_, TryError::Os(e))) => return Err(self.blocked(Blocked::io("lock", &path, &e))),
            Err((file, TryError::Held)) => {
                let waiting = LockWait::begin(file).map_err(|e| self.blocked(cannot(&e)))?;
                return self.wait_for_spawn_lock(&waiting);
            }
        }
        Ok(true)
    }

    fn wait_for_spawn_lock(&mut self, waiting: &LockWait) -> Result<bool, CallError> {
        let words = "another verb is starting the agent";
        let ready = {
            let mut fds = vec![waiting.as_fd()];
            fds.extend(self.open.as_ref().map(AsFd::as_fd));
            let named = self.named;
            let (ready, now_named) = self.poll(&fds, words, named);
            drop(fds);
            self.named = now_named;
            ready
        };
        if ready.get(1) == Some(&true) {
            return Ok(true);
        }
        if !ready[0] {
            return Ok(false);
        }
        let path = self.home.spawn_lock();
        match waiting.take() {
            Some(Ok(lock)) => self.spawn_lock = Some(lock),
            Some(Err(e)) => return Err(self.blocked(Blocked::io("lock", &path, &e))),
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Polls until the deadline; names the wait once it takes more than 500 ms.
    fn poll(
        &self,
        fds: &[std::os::fd::BorrowedFd<'_>],
        words: &str,
        named: bool,
    ) -> (Vec<bool>, bool) {
        let none = || vec![false; fds.len()];
        if !named {
            let soon = self.deadline.min(Instant::now() + SILENCE);
            let ready = wait::any_readable(fds, soon).unwrap_or_else(|_| none());
            if ready.contains(&true) || soon == self.deadline {
                return (ready, false);
            }
            if let Some(say) = self.options.on_wait {
                say(words);
            }
        }
        (wait::any_readable(fds, self.deadline).unwrap_or_else(|_| none()), true)
    }

    // ----- L, under S ------------------------------------------------------------------------

    /// Tests L: an agent lives, and we wait for its next step; or none lives, and we start one.
    fn under_spawn_lock(&mut self) -> Result<(), CallError> {
        let path = self.home.agent_lock();
        let held = hearth_process::locked::is_held(&path)
            .map_err(|e| self.blocked(Blocked::io("test the lock of", &path, &e)))?;
        if held { self.wait_on_agent() } else { self.start() }
    }

    /// Somebody holds L. Subscribes, looks once more, and only then waits.
    fn wait_on_agent(&mut self) -> Result<(), CallError> {
        let Some(watch) = &self.watch else {
            let sockets = self.home.sockets();
            let watch = DirWatch::names(sockets);
            self.watch = Some(watch.map_err(|e| self.blocked(Blocked::io("watch", sockets, &e)))?);
            let path = self.home.agent_lock();
            let waiting = record::open(&path).and_then(LockWait::begin);
            self.agent_lock_wait =
                Some(waiting.map_err(|e| self.blocked(Blocked::io("lock", &path, &e)))?);
            return Ok(());
        };
        let Some(waiting) = &self.agent_lock_wait else { return Ok(()) };
        let words = match Record::read(&self.home.agent_lock()) {
            Some(record) => match record.stage {
                Stage::Starting => format!("the agent (pid {}) is starting", record.process.pid),
                Stage::Stopping | Stage::Stopped => {
                    format!("the agent (pid {}) is shutting down", record.process.pid)
                }
                Stage::Running => format!("the agent (pid {}) does not answer", record.process.pid),
            },
            None => "the agent is starting".to_owned(),
        };
        let mut named = self.named;
        loop {
            let mut fds = vec![watch.as_fd(), waiting.as_fd()];
            fds.extend(self.open.as_ref().map(AsFd::as_fd));
            let (ready, now_named) = self.poll(&fds, &words, named);
            named = now_named;
            if ready.get(2) == Some(&true) {
                break;
            }
            if ready[1] {
                // L is free: let go of it at once, and start one the ordinary way.
                self.agent_lock_wait = None;
                self.watch = None;
                break;
            }
            if !ready[0] {
                return Err(self.judge_late());
            }
            let changes = watch.drain().unwrap_or_default();
            if changes
                .iter()
                .any(|change| change.name.as_deref().is_none_or(|name| name == "agent.sock"))
            {
                break;
            }
        }
        self.named = named;
        Ok(())
    }

    /// Nobody lives: whatever socket file there is, is stale by construction.
    fn start(&mut self) -> Result<(), CallError> {
        if self.options.no_spawn || self.app.spawn_forbidden() {
            return Err(self.down());
        }
        let executable = Executable::of(&spawn::executable());
        let last = Failures::read(&self.home.failures());
        let boot = hearth_process::facts::boot_id().to_string();
        if let Some(failures) = &last
            && !self.options.past_backoff
            && let Verdict::Suppressed(left) = failures.verdict(&executable, &boot, boot_ms())
        {
            return Err(self.suppressed(failures, left));
        }
        let path = self.home.agent_lock();
        let file = record::open(&path).map_err(|e| self.blocked(Blocked::io("open", &path, &e)))?;
        let agent_lock = match LockedFile::try_exclusive(file) {
            Ok(lock) => lock,
            Err((_, TryError::Held)) => return Ok(()), // `daemon run` was faster: look again
            Err((_, TryError::Unsupported(e))) => return Err(self.blocked(no_flock(self.home, &e))),
            Err((_, TryError::Os(e))) => return Err(self.blocked(Blocked::io("lock", &path, &e))),
        };
        let Some(spawn_lock) = self.spawn_lock.take() else { return Ok(()) };
        self.claim(&spawn_lock, &agent_lock).map_err(|b| self.blocked(b))?;
        let spawned = spawn::spawn(self.app, self.home, spawn_lock, agent_lock)
            .map_err(|b| self.blocked(b))?;
        let budget = self.deadline.min(Instant::now() + SPAWN_BUDGET);
        let became = spawned.wait(budget).map_err(CallError::Broken)?;
        self.after_spawn(became, last, executable, boot)
    }

    /// Writes who tries into S, and makes sure that both records have their blocks on the disk, so
    /// that a full one is told here, with its name, and not by a child that dies of it.
    fn claim(&self, spawn_lock: &LockedFile, agent_lock: &LockedFile) -> Result<(), Blocked> {
        let path = self.home.spawn_lock();
        let who = serde_json::json!({ "pid": std::process::id(), "since_boot_ms": boot_ms() });
        spawn_lock
            .write(who.to_string().as_bytes())
            .map_err(|e| Blocked::io("write", &path, &e))?;
        let path = self.home.agent_lock();
        let fresh = std::fs::metadata(&path).is_ok_and(|found| found.len() == 0);
        if fresh {
            agent_lock.write(b"").map_err(|e| Blocked::io("write", &path, &e))?;
        }
        Ok(())
    }

    fn after_spawn(
        &mut self,
        became: Became,
        last: Option<Failures>,
        executable: Executable,
        boot: String,
    ) -> Result<(), CallError> {
        match became {
            Became::Ready(instance) => {
                if let Some(last) = last.filter(|last| !last.succeeded) {
                    let _ = Failures { succeeded: true, ..last }.write(&self.home.failures());
                }
                self.ours = Some(instance);
                Ok(())
            }
            Became::Starting(pid) => {
                let why =
                    format!("the agent (pid {pid}) was started and is not ready yet; it lives on");
                Err(self.fail(State::StillStarting, why, "try again: the next verb waits for it"))
            }
            Became::Failed { reason, log_tail } => {
                let failures = Failures::after(
                    last,
                    executable,
                    boot,
                    boot_ms(),
                    reason.clone(),
                    log_tail.clone(),
                );
                let _ = failures.write(&self.home.failures());
                let hint = format!(
                    "mend that, then `{0} daemon up`; the whole log: `{0} daemon logs`",
                    self.app.name
                );
                Err(self.fail(State::SpawnFailed, with_tail(&reason, &log_tail), hint))
            }
        }
    }

    // ----- what it comes to ------------------------------------------------------------------

    fn told(&self, state: State, reason: Option<String>, hint: Option<String>) -> Ready {
        Ready {
            state,
            duration: self.began.elapsed(),
            reason,
            hint,
            retry_at: None,
            version: None,
            log: self.home.log(),
        }
    }

    fn fail(&self, state: State, reason: impl Into<String>, hint: impl Into<String>) -> CallError {
        CallError::NotReady(Box::new(self.told(state, Some(reason.into()), Some(hint.into()))))
    }

    fn blocked(&self, blocked: Blocked) -> CallError {
        self.fail(State::Blocked, blocked.reason, blocked.remedy)
    }

    fn answered(&self, version: Version) -> Ready {
        let started = self.ours.as_ref() == Some(&version.instance);
        let state = if started { State::Started } else { State::Up };
        Ready { version: Some(version), ..self.told(state, None, None) }
    }

    fn down(&self) -> CallError {
        let home = self.home.dir().display();
        let name = self.app.name;
        if self.app.spawn_forbidden() && !self.options.no_spawn {
            let variable = self.app.var_name("NO_AUTOSPAWN");
            let why = format!("no agent runs in {home}, and {variable} forbids starting one");
            return self.fail(
                State::Down,
                why,
                format!("unset {variable}, or `{name} daemon up` elsewhere"),
            );
        }
        let why = format!("no agent runs in {home}, and this call may not start one");
        self.fail(State::Down, why, format!("`{name} daemon up` starts one"))
    }

    fn suppressed(&self, failures: &Failures, left: Duration) -> CallError {
        let ago = Duration::from_millis(boot_ms().saturating_sub(failures.at_ms));
        let why = format!(
            "the agent failed to start {:.0} s ago ({} in a row), next try in {:.0} s: {}",
            ago.as_secs_f64(),
            failures.count,
            left.as_secs_f64().ceil(),
            with_tail(&failures.reason, &failures.log_tail),
        );
        let hint = format!("`{} daemon up` tries at once", self.app.name);
        let mut ready = self.told(State::SpawnSuppressed, Some(why), Some(hint));
        ready.retry_at = Some(std::time::SystemTime::now() + left);
        CallError::NotReady(Box::new(ready))
    }

    /// The deadline has passed while somebody held S or L: L's record says what they were at.
    fn judge_late(&self) -> CallError {
        let name = self.app.name;
        let record = Record::read(&self.home.agent_lock());
        let living = record.filter(|record| {
            use hearth_process::Liveness;
            matches!(
                record.process.living(),
                Liveness::Living | Liveness::Unknown | Liveness::OtherWorld
            )
        });
        let Some(record) = living else {
            let why =
                format!("an agent is starting, and was not ready after {}", seconds(self.began));
            return self.fail(State::StillStarting, why, "try again: the next verb waits for it");
        };
        let pid = record.process.pid;
        if let Some(blocked) = self.elsewhere(&record) {
            return self.blocked(blocked);
        }
        match record.stage {
            Stage::Starting => self.fail(
                State::StillStarting,
                format!(
                    "the agent (pid {pid}) is starting, and was not ready after {}",
                    seconds(self.began)
                ),
                "try again: the next verb waits for it",
            ),
            Stage::Stopping | Stage::Stopped => self.fail(
                State::Stopping,
                format!(
                    "the agent (pid {pid}) was still shutting down after {}{}",
                    seconds(self.began),
                    hung(&record)
                ),
                format!("try again, or `{name} daemon down --force`"),
            ),
            Stage::Running => self.fail(
                State::Unresponsive,
                format!(
                    "the agent (pid {pid}, {}) lives and did not answer for {}; its log: {}",
                    state_in_words(pid),
                    seconds(self.began),
                    self.home.log().display()
                ),
                match hearth_process::facts::state_of(pid) {
                    Some('T' | 't') => {
                        format!("`kill -CONT {pid}`, or `{name} daemon restart --force`")
                    }
                    Some(_) | None => {
                        format!("`{name} daemon restart --force` ends it and starts another")
                    }
                },
            ),
        }
    }

    /// L is held from a world in which our socket path means something else.
    fn elsewhere(&self, record: &Record) -> Option<Blocked> {
        let ours = hearth_process::facts::mount_namespace();
        let unreachable = self.open.is_none() && !self.home.socket().exists();
        (unreachable && record.mount_ns != ours).then(|| {
            Blocked::new(
                format!(
                    "the agent of {} runs in another mount namespace (pid {} there, host {})",
                    self.home.dir().display(),
                    record.process.pid,
                    record.hostname
                ),
                format!("use another home in here: `{}=DIR`", self.app.var_name("HOME")),
            )
        })
    }

    fn foreign(&self, uid: u32) -> Blocked {
        let socket = self.home.socket();
        Blocked::new(
            format!(
                "uid {uid} listens on {}, and we are uid {}",
                socket.display(),
                crate::home::euid()
            ),
            "name another home with --home",
        )
    }

    fn not_ours(&self, why: &str) -> Blocked {
        let socket = self.home.socket();
        Blocked::new(
            format!("what listens on {} is no agent of {}: {why}", socket.display(), self.app.name),
            "end it, or name another home with --home",
        )
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

fn no_flock(home: &Home, error: &io::Error) -> Blocked {
    Blocked::new(
        format!("the file system of {} cannot lock files: {error}", home.dir().display()),
        "name a home on a local file system with HEARTH_HOME",
    )
}

fn with_tail(reason: &str, log_tail: &[String]) -> String {
    if log_tail.is_empty() {
        return reason.to_owned();
    }
    format!("{reason}\nlast lines of its log:\n  {}", log_tail.join("\n  "))
}

fn hung(record: &Record) -> String {
    if record.hung.is_empty() {
        String::new()
    } else {
        format!(", waiting for {}", record.hung.join(", "))
    }
}

fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}

fn state_in_words(pid: u32) -> &'static str {
    match hearth_process::facts::state_of(pid) {
        Some('T' | 't') => "stopped by a signal",
        Some('D') => "waiting for the disk",
        Some('R') => "running",
        Some('S') => "sleeping",
        Some('Z' | 'X') => "a zombie",
        Some(_) | None => "state unknown",
    }
}
