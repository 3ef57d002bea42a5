//! What it comes to where a manager is in charge: its own words, and what to type next.

use std::time::{Duration, Instant};

use super::Attempt;
use crate::CallError;
use crate::ensure::verdict::with_tail;
use crate::problem::Problem;
use crate::ready::{ApiRange, State, Version};
use crate::record::{Record, Stage};
use crate::spawn;
use crate::unit::{Refused, Standing};

/// How long the manager may take to say how it stands.
const WORDS: Duration = Duration::from_millis(1500);

impl Attempt<'_> {
    /// The manager could not be asked, or did not do it.
    pub(super) fn refused(&self, refused: &Refused) -> CallError {
        // Of a job that has failed `systemctl` says no more than that.
        if refused.words.starts_with("Job")
            && let Some(error) = self.given_up()
        {
            return error;
        }
        self.service_not_ready(&refused.words, &refused.remedy)
    }

    /// The manager has given up, or knows nothing of it.
    pub(super) fn not_brought_up(&self, words: &str) -> CallError {
        let Some(charge) = &self.charge else { return self.judge_late() };
        let unit = &charge.unit;
        let look = format!("`{}`", unit.look());
        if !unit.executable.exists() {
            let why = format!(
                "{} is not there, which {} runs ({words})",
                unit.executable.display(),
                unit.name
            );
            let hint = format!("put it back, or `{} install` from where it is now", unit.app);
            return self.service_not_ready(&why, &hint);
        }
        self.service_not_ready(words, &look)
    }

    /// The words of the manager where it has given up; `None`: it has not, or does not say.
    pub(in crate::ensure) fn given_up(&self) -> Option<CallError> {
        let charge = self.charge.as_ref()?;
        let until = self.budget().min(Instant::now() + WORDS);
        let answer = charge.unit.ask(until).ok()?;
        match answer.standing {
            Standing::Failed | Standing::NotLoaded | Standing::Masked => {
                Some(self.not_brought_up(&answer.words))
            }
            Standing::Inactive
            | Standing::Listening
            | Standing::Starting
            | Standing::Running { .. }
            | Standing::Stopping => None,
        }
    }

    /// Its time is over. Who lives and runs is unresponsive, who lives and stops is stopping; else it is
    /// the manager's to say.
    pub(super) fn manager_late(&self) -> CallError {
        let Some(charge) = &self.charge else { return self.judge_late() };
        let record = Record::read(&self.home.agent_lock());
        let stage = record.filter(|it| it.lives()).map(|record| record.stage);
        match stage {
            Some(Stage::Running | Stage::Stopping) => return self.judge_late(),
            Some(Stage::Starting | Stage::Stopped) | None => {}
        }
        let waited = crate::notice::seconds(self.began.elapsed());
        if self.left().is_zero() {
            // The caller's own time is over, and nobody is asked beyond it.
            let why = format!("{} has not brought it up within {waited}", charge.unit.name);
            return self.service_not_ready(&why, &format!("`{}`", charge.unit.look()));
        }
        match charge.unit.ask(self.deadline.min(Instant::now() + WORDS)) {
            Ok(answer) => self.not_brought_up(&format!("not within {waited}: {}", answer.words)),
            Err(refused) => {
                let why = format!("not within {waited}, and nobody says why: {}", refused.words);
                self.service_not_ready(&why, &refused.remedy)
            }
        }
    }

    /// The manager runs what was installed, and that is too old for this command.
    pub(in crate::ensure) fn too_old(
        &mut self,
        agent: &Version,
        ours: ApiRange,
    ) -> Option<CallError> {
        if !self.has_unit() {
            return None;
        }
        let unit = &self.charge.as_ref()?.unit;
        let why = format!(
            "{} runs {}, which is of version {} (API {}-{}) and too old for this command (version {}, API {}-{})",
            unit.name,
            unit.executable.display(),
            agent.version,
            agent.api.min,
            agent.api.max,
            self.app.version,
            ours.min,
            ours.max
        );
        let hint = format!("`{} install` has it run this one", unit.app);
        Some(self.fail(State::ServiceNotReady, why, hint))
    }

    /// The agent that the manager runs may not serve, and tells each verb why.
    pub(in crate::ensure) fn declined(&self, problem: &Problem) -> CallError {
        self.service_not_ready(&problem.detail, &problem.hint)
    }

    fn service_not_ready(&self, words: &str, hint: &str) -> CallError {
        let start = self.charge.as_ref().map(|charge| charge.log_start);
        let tail = start.map(|start| spawn::tail(&self.home.log(), start)).unwrap_or_default();
        self.fail(State::ServiceNotReady, with_tail(words, &tail), hint)
    }
}
