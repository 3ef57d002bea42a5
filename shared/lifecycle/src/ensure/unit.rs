//! A unit is in charge: its manager brings the agent up, and nobody else does.
//!
//! Kept true here: neither S nor L is taken and nothing is spawned, so a verb and a manager never
//! start two; a verb that may not start one does not even connect where nobody lives, since the
//! manager would hear it; nothing spins: the manager is asked to start once and to mend once, and
//! what is waited for is a descriptor. What it comes to is told in the manager's own words.

mod verdict;

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hearth_process::watch::DirWatch;
use hearth_process::{ProcessHandle, ProcessId};

use super::locks::UNTOLD;
use super::{Attempt, SILENCE};
use crate::CallError;
use crate::control::StopError;
use crate::home::Blocked;
use crate::http::Connection;
use crate::ready::Version;
use crate::record::{Record, Stage};
use crate::unit::{self, Refused, Standing, Unit};
use crate::wait::LockWait;

/// More agents than this do not come and go within the manager's time: somebody else ends connections.
const MANY: u32 = 200;

/// The unit that is in charge, and what has been tried with it.
pub(super) struct Charge {
    unit: Unit,
    started: bool,
    mended: bool,
    /// How often who listened has ended the connection.
    ended: u32,
    /// Who lived when it did so last.
    ended_by: Option<ProcessId>,
    /// Where the agent's log ended before.
    log_start: u64,
}

/// What a verb does that finds nobody.
enum Step {
    Start,
    Mend,
    Wait,
}

/// How nobody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// Nobody listens.
    Nobody,
    /// The connection ended, or it is shutting down: another one is to come.
    Ended,
    /// Connected, and not a byte.
    Silent,
    /// The queue is full.
    Full,
}

impl Attempt<'_> {
    pub(super) fn may_not_start(&self) -> bool {
        self.options.no_spawn || self.app.spawn_forbidden()
    }

    /// Whether a unit is in charge; looked for once.
    pub(super) fn has_unit(&mut self) -> bool {
        if !self.looked {
            self.looked = true;
            self.charge = unit::in_charge(self.app, self.home).map(|unit| Charge {
                unit,
                started: false,
                mended: false,
                ended: 0,
                ended_by: None,
                log_start: fs::metadata(self.home.log()).map_or(0, |found| found.len()),
            });
        }
        self.charge.is_some()
    }

    /// For a verb that may not start one: ends it where none lives, before it connects.
    pub(super) fn leave_the_manager_alone(&mut self) -> Result<(), CallError> {
        if self.open.is_some() || !self.has_unit() {
            return Ok(());
        }
        let path = self.home.agent_lock();
        let held = hearth_process::locked::is_held(&path)
            .map_err(|e| self.blocked(Blocked::io("test the lock of", &path, &e)))?;
        if !held {
            return Err(self.down());
        }
        let record = Record::read(&path);
        let ends = record.filter(|it| matches!(it.stage, Stage::Stopping | Stage::Stopped));
        let Some(handle) = ends.and_then(|record| ProcessHandle::open(&record.process).ok()) else {
            return Ok(());
        };
        // Who came to it now would be heard by the manager when it has ended.
        let words = self.what_it_does();
        if self.wait_for(&[handle.as_fd()], &words, self.deadline)[0] {
            return Err(self.down());
        }
        Err(self.judge_late())
    }

    /// Step 4. `None`: no unit is in charge, go on with S. Else what is to be done before the next look
    /// has been done, and that one may take so long.
    pub(super) fn by_manager(&mut self, seen: Unanswered) -> Result<Option<Duration>, CallError> {
        if !self.has_unit() {
            return Ok(None);
        }
        self.home.prepare().map_err(|b| self.blocked(b))?;
        let left = self.budget().saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.manager_late());
        }
        match seen {
            Unanswered::Full => return Ok(Some(left)),
            Unanswered::Silent => self.await_answer()?,
            Unanswered::Ended | Unanswered::Nobody if self.may_not_start() => {
                self.await_change()?
            }
            Unanswered::Ended => self.come_again()?,
            Unanswered::Nobody => self.have_it_started()?,
        }
        Ok(Some(SILENCE))
    }

    /// Until when the manager has time.
    fn budget(&self) -> Instant {
        self.deadline.min(self.began + self.app.budgets.manager)
    }

    /// The connection is kept: whoever listens for the agent has it in a queue.
    fn await_answer(&mut self) -> Result<(), CallError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let words = self.what_it_does();
        let answers = self.wait_for(&[open.as_fd()], &words, self.budget())[0];
        self.open = Some(open);
        if answers { Ok(()) } else { Err(self.manager_late()) }
    }

    /// It ended while we spoke. The way back is the queue of whoever listens for the next one: at once,
    /// for as long as each time another agent was ended. Where the same one sends us away again, or
    /// nobody knows who does, something has to happen first.
    fn come_again(&mut self) -> Result<(), CallError> {
        let record = Record::read(&self.home.agent_lock()).filter(Record::lives);
        let Some(charge) = &mut self.charge else { return Ok(()) };
        charge.ended += 1;
        let by = record.map(|record| record.process);
        let same = by.is_some() && by == charge.ended_by;
        charge.ended_by = by;
        if charge.ended == 1 || (!same && charge.ended < MANY) {
            return Ok(());
        }
        match self.given_up() {
            Some(error) => Err(error),
            None => self.await_change(),
        }
    }

    /// Of many verbs that find nobody, one goes to the manager and the others find what came of it: it
    /// cancels what one has begun when another asks for the contrary, and how it stands meanwhile says
    /// nothing.
    fn have_it_started(&mut self) -> Result<(), CallError> {
        let turn = self.turn();
        if Connection::open(&self.home.socket(), SILENCE.min(self.left())).is_ok() {
            return Ok(());
        }
        match self.step()? {
            Step::Start => self.start_it(),
            Step::Mend => self.mend(),
            Step::Wait => {
                drop(turn);
                self.await_change()
            }
        }
    }

    /// Waits for its turn: a lock on the unit's own file, let go of when this is dropped.
    fn turn(&mut self) -> Option<LockWait> {
        let unit = &self.charge.as_ref()?.unit;
        let words = format!("another verb is at the manager of {}", unit.name);
        let turn = File::open(unit.file()).and_then(LockWait::begin).ok()?;
        let budget = self.budget();
        self.wait_for(&[turn.as_fd()], &words, budget);
        Some(turn)
    }

    fn step(&self) -> Result<Step, CallError> {
        let Some(charge) = &self.charge else { return Ok(Step::Wait) };
        // Who has seen it end asks first how it stands.
        if !charge.started && charge.ended == 0 {
            return Ok(Step::Start);
        }
        let answer = charge.unit.ask(self.budget()).map_err(|refused| self.refused(&refused))?;
        let listens = charge.unit.files.len() > 1;
        match answer.standing {
            // Failed: our own connection may have been the one too many for its socket.
            Standing::Inactive | Standing::Listening | Standing::Failed if !charge.started => {
                Ok(Step::Start)
            }
            Standing::Listening | Standing::Running { .. } if listens && !charge.mended => {
                Ok(Step::Mend)
            }
            // It is being run on a socket that has lost its path: it would be ready, and nobody told.
            Standing::Starting | Standing::Stopping
                if listens && !charge.mended && self.path_is_gone() =>
            {
                Ok(Step::Mend)
            }
            Standing::Starting | Standing::Running { .. } | Standing::Stopping => Ok(Step::Wait),
            Standing::Listening
            | Standing::Inactive
            | Standing::Failed
            | Standing::NotLoaded
            | Standing::Masked => Err(self.not_brought_up(&answer.words)),
        }
    }

    fn path_is_gone(&self) -> bool {
        fs::symlink_metadata(self.home.socket())
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    }

    fn start_it(&mut self) -> Result<(), CallError> {
        let Some(charge) = &mut self.charge else { return Ok(()) };
        charge.started = true;
        let forgive = self.options.past_backoff;
        self.order(&move |unit, until| {
            // Where nothing has failed there is nothing to forget. One that hangs leaves no time.
            if forgive
                && let Err(refused) = unit.forgive(until)
                && Instant::now() >= until
            {
                return Err(refused);
            }
            unit.start(until)
        })
    }

    /// Somebody has removed the socket's path, and the manager listens on where nobody can come.
    fn mend(&mut self) -> Result<(), CallError> {
        let Some(charge) = &mut self.charge else { return Ok(()) };
        charge.mended = true;
        self.order(&Unit::mend)
    }

    /// Has the manager do something, and names the wait where it takes long.
    fn order(
        &mut self,
        what: &(dyn Fn(&Unit, Instant) -> Result<(), Refused> + Sync),
    ) -> Result<(), CallError> {
        let budget = self.budget();
        let Some(Charge { unit, .. }) = &self.charge else { return Ok(()) };
        let say = self.options.on_wait.filter(|_| !self.named);
        let mut named = self.named;
        // A condition and not a channel, which would be a twentieth of what the pair adds to an executable.
        let (done, told) = (Mutex::new(None), Condvar::new());
        let trouble = thread::scope(|scope| {
            let asking = || {
                *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(what(unit, budget));
                told.notify_one();
            };
            if let Err(error) = thread::Builder::new().spawn_scoped(scope, asking) {
                return Some(Refused {
                    words: format!("no thread can be had to ask the service manager by: {error}"),
                    remedy: "end something, or raise `ulimit -u`".into(),
                });
            }
            let is_open = |done: &mut Option<_>| done.is_none();
            let waiting = done.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = told.wait_timeout_while(waiting, SILENCE, is_open);
            if waited.is_ok_and(|(_, waited)| waited.timed_out()) {
                if let Some(say) = say {
                    say(&format!("the service manager has not answered about {}", unit.name));
                }
                named = true;
            }
            // The end of the scope waits for the thread.
            None
        });
        self.named = named;
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (trouble, done) {
            (Some(refused), _) | (None, Some(Err(refused))) => Err(self.refused(&refused)),
            (None, Some(Ok(())) | None) => Ok(()),
        }
    }

    /// Waits until the socket's directory changes or the agent that lives ends: the caller looks again.
    /// The first time it only subscribes.
    fn await_change(&mut self) -> Result<(), CallError> {
        if !self.subscribed {
            self.subscribed = true;
            // A user's watches may be used up (inotify(7)): then the wait does without.
            self.watch = DirWatch::names(self.home.sockets()).ok();
            return Ok(());
        }
        let words = self.what_it_does();
        let record = Record::read(&self.home.agent_lock());
        let lives = record.and_then(|record| ProcessHandle::open(&record.process).ok());
        let watch = self.watch.take();
        let mut fds: Vec<_> = watch.iter().map(AsFd::as_fd).collect();
        fds.extend(lives.iter().map(AsFd::as_fd));
        let untold = watch.is_none().then(|| Instant::now() + UNTOLD);
        let until = self.budget().min(untold.unwrap_or(self.budget()));
        let changed = self.wait_for(&fds, &words, until).contains(&true);
        if let Some(watch) = &watch {
            let _ = watch.drain();
        }
        self.watch = watch;
        if changed || Instant::now() < self.budget() { Ok(()) } else { Err(self.manager_late()) }
    }

    /// Ends the agent that lives and has the manager run the one that it has installed. What listens
    /// stays, so nobody is refused meanwhile.
    pub(super) fn restarted_by_manager(&mut self, old: &Version) -> Result<(), CallError> {
        let Some(Charge { unit, .. }) = &self.charge else { return Ok(()) };
        let until = self.deadline;
        let answer = unit.ask(until).map_err(|refused| self.refused(&refused))?;
        if answer.standing.has(Some(old.pid)) {
            return self.order(&Unit::restart);
        }
        // It was there before the unit, or beside it: it goes first.
        let stopped = crate::control::stop_directly(self.app, self.home, self.left());
        stopped.map_err(|error| match error {
            StopError::NotReady(ready) => CallError::NotReady(ready),
            StopError::Blocked(blocked) => self.blocked(blocked),
            StopError::Late { .. } | StopError::Failed(_) => self.judge_late(),
        })?;
        self.order(&Unit::start)
    }

    /// Polls, and names the wait once it takes long.
    fn wait_for(&mut self, fds: &[BorrowedFd<'_>], words: &str, until: Instant) -> Vec<bool> {
        let (ready, named) = self.poll_until(fds, words, self.named, until);
        self.named = named;
        ready
    }
}
