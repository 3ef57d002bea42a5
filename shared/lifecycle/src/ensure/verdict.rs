//! What it comes to: the state, why, and what to type next.

use std::time::{Duration, Instant};

use super::Attempt;
use crate::CallError;
use crate::failures::Failures;
use crate::home::Blocked;
use crate::ready::{Ready, State, Version};
use crate::record::{Record, Stage};
use hearth_process::facts::boot_ms;

impl Attempt<'_> {
    pub(super) fn told(&self, state: State, reason: Option<String>, hint: Option<String>) -> Ready {
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

    pub(super) fn fail(
        &self,
        state: State,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) -> CallError {
        CallError::NotReady(Box::new(self.told(state, Some(reason.into()), Some(hint.into()))))
    }

    pub(super) fn blocked(&self, blocked: Blocked) -> CallError {
        self.fail(State::Blocked, blocked.reason, blocked.remedy)
    }

    pub(super) fn answered(&self, version: Version) -> Ready {
        let started = self.ours.as_ref() == Some(&version.instance);
        let state = if started { State::Started } else { State::Up };
        Ready { version: Some(version), ..self.told(state, None, None) }
    }

    pub(super) fn down(&self) -> CallError {
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

    pub(super) fn suppressed(&self, failures: &Failures, left: Duration) -> CallError {
        let ago = Duration::from_millis(boot_ms().saturating_sub(failures.at_ms));
        let why = format!(
            "the agent failed to start {} s ago ({} in a row), next try in {} s: {}",
            (ago.as_millis() + 500) / 1000,
            failures.count,
            left.as_millis().div_ceil(1000),
            with_tail(&failures.reason, &failures.log_tail),
        );
        let hint = format!("`{} daemon up` tries at once", self.app.name);
        let mut ready = self.told(State::SpawnSuppressed, Some(why), Some(hint));
        ready.retry_at = Some(std::time::SystemTime::now() + left);
        CallError::NotReady(Box::new(ready))
    }

    /// The deadline has passed while somebody held S or L: L's record says what they were at.
    pub(super) fn judge_late(&self) -> CallError {
        let name = self.app.name;
        let record = Record::read(&self.home.agent_lock());
        let living = record.filter(Record::lives);
        let Some(record) = living else {
            let why =
                format!("an agent is starting, and was not ready after {}", seconds(self.began));
            return self.fail(State::StillStarting, why, "try again: the next verb waits for it");
        };
        let pid = record.process.pid;
        // Elsewhere the same number is somebody else's: neither looked at nor to be signalled.
        let near = record.process.same_world().then_some(pid);
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
                    near.map_or("of another pid namespace", state_in_words),
                    seconds(self.began),
                    self.home.log().display()
                ),
                match near.and_then(hearth_process::facts::state_of) {
                    Some('T' | 't') => {
                        format!("`kill -CONT {pid}`, or `{name} daemon restart --force`")
                    }
                    None if near.is_none() => {
                        format!("`{name} daemon restart --force` where it runs")
                    }
                    Some(_) | None => {
                        format!("`{name} daemon restart --force` ends it and starts another")
                    }
                },
            ),
        }
    }

    /// L is held from a world in which our socket path means something else.
    pub(super) fn elsewhere(&self, record: &Record) -> Option<Blocked> {
        let ours = hearth_process::facts::mount_namespace();
        let unreachable = self.open.is_none() && !self.socket().exists();
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

    pub(super) fn foreign(&self, uid: u32) -> Blocked {
        let socket = self.socket();
        Blocked::new(
            format!(
                "uid {uid} listens on {}, and we are uid {}",
                socket.display(),
                crate::home::euid()
            ),
            "name another home with --home",
        )
    }

    pub(super) fn not_ours(&self, why: &str) -> Blocked {
        let socket = self.socket();
        Blocked::new(
            format!("what listens on {} is no agent of {}: {why}", socket.display(), self.app.name),
            "end it, or name another home with --home",
        )
    }
}

pub(super) fn with_tail(reason: &str, log_tail: &[String]) -> String {
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
    crate::notice::seconds(since.elapsed())
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
