//! Starting one: nobody lives, and we hold S.

use std::time::Instant;

use hearth_process::locked::{LockedFile, TryError};

use super::Attempt;
use super::locks::no_flock;
use super::verdict::with_tail;
use crate::CallError;
use crate::failures::{Executable, Failures, Verdict};
use crate::home::Blocked;
use crate::ready::State;
use crate::record;
use crate::spawn::{self, Became};
use hearth_process::facts::boot_ms;

impl Attempt<'_> {
    /// Nobody lives: whatever socket file there is, is stale by construction.
    pub(super) fn start(&mut self) -> Result<(), CallError> {
        if self.may_not_start() {
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
        self.wait_no_more();
        let path = self.home.agent_lock();
        let file = record::open(&path).map_err(|e| self.blocked(Blocked::io("open", &path, &e)))?;
        let agent_lock = match LockedFile::try_exclusive(file) {
            Ok(lock) => lock,
            Err((_, TryError::Held)) => return Ok(()), // `daemon run` was faster: look again
            Err((_, TryError::Unsupported(e))) => {
                return Err(self.blocked(no_flock(self.app, self.home, &e)));
            }
            Err((_, TryError::Os(e))) => return Err(self.blocked(Blocked::io("lock", &path, &e))),
        };
        let Some(spawn_lock) = self.spawn_lock.take() else { return Ok(()) };
        self.claim(&spawn_lock, &agent_lock).map_err(|b| self.blocked(b))?;
        let mut spawned = spawn::spawn(self.app, self.home, spawn_lock, Some(agent_lock))
            .map_err(|b| self.blocked(b))?;
        let budget = self.deadline.min(Instant::now() + self.app.budgets.spawn);
        let became = spawned.wait(budget).map_err(CallError::Broken)?;
        self.after_spawn(became, last, executable, boot)
    }

    /// Writes who tries into S, and makes sure that both records have their blocks on the disk, so
    /// that a full one is told here, with its name, and not by a child that dies of it.
    pub(super) fn claim(
        &self,
        spawn_lock: &LockedFile,
        agent_lock: &LockedFile,
    ) -> Result<(), Blocked> {
        let path = self.home.spawn_lock();
        let pid = std::process::id();
        let who = format!("{{\"pid\":{pid},\"since_boot_ms\":{}}}", boot_ms());
        spawn_lock.write(who.as_bytes()).map_err(|e| Blocked::io("write", &path, &e))?;
        let path = self.home.agent_lock();
        let fresh = std::fs::metadata(&path).is_ok_and(|found| found.len() == 0);
        if fresh {
            agent_lock.write(b"").map_err(|e| Blocked::io("write", &path, &e))?;
        }
        Ok(())
    }

    pub(super) fn after_spawn(
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
            // Nothing to be noted: the next look is at what stands there now.
            Became::Moved => Ok(()),
            Became::Starting(pid) => {
                let why =
                    format!("the agent (pid {pid}) was started and is not ready yet; it lives on");
                Err(self.fail(State::StillStarting, why, "try again: the next verb waits for it"))
            }
            Became::Failed { reason, log_tail } => {
                // It has noted that itself, where it had a word for it: one failure is one.
                let noted = Failures::read(&self.home.failures())
                    .filter(|now| last.as_ref() != Some(now) && !now.succeeded);
                let failures = match noted {
                    Some(noted) => Failures { log_tail: log_tail.clone(), ..noted },
                    None => Failures::after(
                        last,
                        executable,
                        boot,
                        boot_ms(),
                        reason.clone(),
                        log_tail.clone(),
                    ),
                };
                let _ = failures.write(&self.home.failures());
                let hint = format!(
                    "mend that, then `{0} daemon up`; the whole log: `{0} daemon logs`",
                    self.app.name
                );
                Err(self.fail(State::SpawnFailed, with_tail(&reason, &log_tail), hint))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Home;
    use crate::app::tests::APP;
    use crate::ensure::Options;

    /// Else it would get L while it waits for S, behind one that has S and waits for L.
    #[test]
    fn who_goes_on_to_start_one_waits_no_longer_for_the_lock_of_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::resolve(&APP, Some(&directory.path().join("home"))).unwrap();
        home.prepare().unwrap();
        let other = LockedFile::try_exclusive(record::open(&home.agent_lock()).unwrap()).unwrap();
        let options = Options::default();
        let mut verb = Attempt::new(&APP, &home, &options, None);
        assert!(verb.take_spawn_lock().unwrap());
        verb.under_spawn_lock().unwrap();
        assert!(verb.agent_lock_wait.is_some(), "it waits");
        // What follows when it has found L free, which it is not, so that nothing is started.
        verb.start().unwrap();
        assert!(verb.agent_lock_wait.is_none());
        drop(other);
    }
}
