//! Replacing the agent that lives: no client is refused meanwhile, nothing that it looks after notices.
//!
//! The new one is started under S, like any other, but without L, which it gets from the one that it
//! replaces. Kept true here: whatever becomes of the new one, an agent serves afterwards; and an
//! agent is never replaced by an older one unasked.
//!
//! Where a service manager's unit is in charge, the manager does it, and what it runs is what was
//! installed: that may be as old as before, which is no reason to try again.

use super::{Attempt, Options};
use crate::ready::{ApiRange, Ready, State, Version};
use crate::spawn::{self, Became};
use crate::version::is_older;
use crate::{App, CallError, Home, Renewal};

/// See [`crate::Client::replace`].
pub(crate) fn replace(app: &App, home: &Home, options: &Options<'_>) -> Result<Ready, CallError> {
    let mut attempt = Attempt::new(app, home, options, None);
    attempt.may_be_older = true;
    let old = match attempt.run() {
        // Whoever was started this moment is of the newest executable.
        Ok((ready, _)) if ready.state == State::Started => return Ok(ready),
        Ok((ready, _)) => ready.version,
        Err(CallError::Version { agent, .. }) => Some(*agent),
        Err(error) => return Err(error),
    };
    if options.no_spawn || app.spawn_forbidden() {
        return Err(attempt.down());
    }
    match old {
        Some(old) if attempt.has_unit() => attempt.by_restart(&old),
        old => attempt.under_new_management(old),
    }
}

/// Whether `call` may put a newer agent in the place of this one: it has no version in common with it, or
/// the app wants none that is older. One that is newer is never replaced.
pub(super) fn may_replace(
    options: &Options<'_>,
    app: &App,
    agent: &Version,
    ours: ApiRange,
) -> bool {
    let wanted = match app.renewal {
        Renewal::Incompatible => ours.min > agent.api.max,
        Renewal::Older => ours.min > agent.api.max || is_older(&agent.version, app.version),
        Renewal::Never => false,
    };
    wanted && !options.no_spawn && !app.spawn_forbidden()
}

impl Attempt<'_> {
    fn under_new_management(&mut self, old: Option<Version>) -> Result<Ready, CallError> {
        (self.open, self.answering) = (None, None);
        self.wait_no_more();
        while self.spawn_lock.is_none() {
            if !self.take_spawn_lock()? {
                return Err(self.judge_late());
            }
        }
        let Some(spawn_lock) = self.spawn_lock.take() else { return Err(self.judge_late()) };
        let mut spawned =
            spawn::spawn(self.app, self.home, spawn_lock, None).map_err(|b| self.blocked(b))?;
        match spawned.wait(self.deadline).map_err(CallError::Broken)? {
            Became::Ready(instance) => {
                let mut next = Attempt::new(self.app, self.home, self.options, None);
                next.may_be_older = true;
                let (mut ready, _) = next.run()?;
                let ours = ready.version.as_ref().is_some_and(|v| v.instance == instance);
                if ours && ready.state == State::Up {
                    ready.state = State::Started;
                }
                ready.duration = self.began.elapsed();
                Ok(ready)
            }
            Became::Starting(_) => {
                // Not the agent yet, or it would have said so: the old one goes on without it.
                spawned.kill();
                let waited = crate::notice::seconds(self.began.elapsed());
                let why = format!("the new agent was not ready within {waited}, and was ended");
                Err(self.stays(&why, old))
            }
            Became::Moved => Err(self.stays("its home was removed meanwhile", old)),
            Became::Failed { reason, log_tail } => {
                Err(self.stays(&super::verdict::with_tail(&reason, &log_tail), old))
            }
        }
    }

    /// Its manager ends it and runs another one, behind the socket that it holds.
    fn by_restart(&mut self, old: &Version) -> Result<Ready, CallError> {
        (self.open, self.answering) = (None, None);
        self.restarted_by_manager(old)?;
        let mut next = Attempt::new(self.app, self.home, self.options, None);
        next.may_be_older = true;
        next.deadline = self.deadline;
        let mut ready = match next.run() {
            Ok((ready, _)) => ready,
            Err(CallError::Version { agent, .. }) => {
                Ready { version: Some(*agent), ..next.told(State::Up, None, None) }
            }
            Err(error) => return Err(error),
        };
        if ready.version.as_ref().is_some_and(|new| new.instance != old.instance) {
            ready.state = State::Started;
        }
        ready.duration = self.began.elapsed();
        Ok(ready)
    }

    fn stays(&self, why: &str, old: Option<Version>) -> CallError {
        let name = self.app.name;
        let who = old.map_or("the agent".into(), |old| {
            format!("the agent (pid {}, version {})", old.pid, old.version)
        });
        let hint = format!("mend that and repeat it; `{name} daemon status` shows how it stands");
        self.fail(
            State::SpawnFailed,
            format!("{who} could not be replaced and goes on: {why}"),
            hint,
        )
    }
}
