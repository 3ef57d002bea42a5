//! A refusal: what happened, why, what to type next, and the exit code that goes with it.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use crate::notice::milliseconds;
use crate::unit::Refused;
use crate::{App, CallError, HomeError, Ready, State, StopError};

/// Why a verb did not do what it was asked.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Stable, for programs: as the error's own `code()`.
    pub code: String,
    /// What happened and why.
    pub message: String,
    /// What to type next; may be empty.
    pub hint: String,
    /// Facts for programs.
    pub details: Value,
}

impl Refusal {
    /// One without facts.
    pub fn new(code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self { code: code.to_owned(), message, hint, details: json!({}) }
    }

    pub(super) fn of_home(app: &App, error: &HomeError) -> Self {
        let hint = format!("name an absolute path with --home or {}", app.var_name("HOME"));
        Self::new(error.code(), error.to_string(), hint)
    }

    pub(super) fn of_manager(refused: Refused) -> Self {
        Self::new("service-not-ready", refused.words, refused.remedy)
    }

    /// There is no agent to be had. `timeout`: what the caller himself has allowed for it, which may be what
    /// was over.
    pub fn not_ready(ready: &Ready, timeout: Option<Duration>) -> Self {
        let state = ready.state.as_str();
        let reason = ready.reason.clone().unwrap_or_default();
        let details = json!({
            "state": state,
            "duration_ms": milliseconds(ready.duration),
            "reason": ready.reason,
            "log": ready.log,
            "retry_at": ready.retry_at.map(|at| humantime::format_rfc3339_millis(at).to_string()),
        });
        let waited = match ready.state {
            State::StillStarting
            | State::Stopping
            | State::Unresponsive
            | State::ServiceNotReady => true,
            State::Up
            | State::Started
            | State::Down
            | State::SpawnFailed
            | State::SpawnSuppressed
            | State::Blocked => false,
        };
        if waited && timeout.is_some_and(|timeout| ready.duration >= timeout) {
            // Of one that had no time to answer nothing is known that would have to be mended.
            let hint = "a longer --timeout; `daemon status` tells how it stands";
            return Self {
                details,
                ..Self::new("timeout", format!("not in time: {reason}"), hint)
            };
        }
        let hint = ready.hint.clone().unwrap_or_default();
        let message = match ready.state {
            // The reason says just that.
            State::Down => reason,
            _ => format!("{state}: {reason}"),
        };
        Self { details, ..Self::new(state, message, hint) }
    }

    /// 1: refused by what is there; 2: wrong usage or a faulty file; 3: no agent; 4: not in time; 5: no such thing.
    pub fn exit(&self) -> u8 {
        match self.code.as_str() {
            "relative-home" | "no-home" | "bad-home" | "usage" | "bad-config" | "bad-request"
            | "forbidden" => 2,
            "down" | "spawn-failed" | "spawn-suppressed" | "still-starting" | "stopping"
            | "unresponsive" | "service-not-ready" | "blocked" | "version" => 3,
            "timeout" | "shutdown-timeout" => 4,
            "not-found" => 5,
            _ => 1,
        }
    }

    /// Writes it to stderr in one write, as a line of JSON or for people; the exit code.
    pub fn show(&self, app: &App, json: bool) -> ExitCode {
        let Self { code, message, hint, details } = self;
        let text = match (json, hint.is_empty()) {
            (true, _) => {
                let error =
                    json!({ "code": code, "message": message, "hint": hint, "details": details });
                json!({ "error": error }).to_string()
            }
            (false, true) => format!("{}: {message}", app.name()),
            (false, false) => format!("{}: {message}\n  hint: {hint}", app.name()),
        };
        let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
        ExitCode::from(self.exit())
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        match &error {
            CallError::NotReady(ready) => Self::not_ready(ready, None),
            CallError::Version { .. }
            | CallError::Newer { .. }
            | CallError::Forbidden { .. }
            | CallError::BadRequest { .. }
            | CallError::Status { .. }
            | CallError::Refused(_)
            | CallError::Timeout { .. }
            | CallError::Protocol { .. }
            | CallError::Broken(_) => Self::new(error.code(), error.to_string(), error.hint()),
        }
    }
}

impl Refusal {
    /// An agent was not ended, within `timeout` where the caller gave one.
    pub(super) fn of_stop(app: &App, error: StopError, timeout: Option<Duration>) -> Self {
        let name = app.name();
        let hint = match &error {
            StopError::NotReady(ready) => {
                let refusal = Self::not_ready(ready, timeout);
                return match refusal.code.as_str() {
                    "timeout" => {
                        let hint = format!("`{name} daemon down --force` kills it");
                        Self { code: "shutdown-timeout".to_owned(), hint, ..refusal }
                    }
                    _ => refusal,
                };
            }
            StopError::Late { .. } => format!("`{name} daemon down --force` kills it"),
            StopError::Failed(_) => format!("`{name} daemon logs` tells more"),
            StopError::Blocked(blocked) => blocked.remedy.clone(),
        };
        let refusal = Self::new(error.code(), error.to_string(), hint);
        match error {
            StopError::Late { record: Some(record), after } => {
                let (pid, hung) = (record.process.pid, &record.hung);
                let details = json!({ "pid": pid, "after_ms": milliseconds(after), "hung": hung });
                Self { details, ..refusal }
            }
            _ => refusal,
        }
    }
}
