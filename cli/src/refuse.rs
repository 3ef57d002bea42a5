//! Refusals: one type, mapped once to an exit code, to words for people and to one line of JSON.
//!
//! Kept true here: every refusal says what happened, why, and where there is something to do, what
//! to type next. The code comes from the closed list of `hearth-api`; nothing invents an exit code.

use std::io::Write;

use hearth_api::{Code, Problem};
use hearth_config::{LoadError, Ownership};
use hearth_lifecycle::agent::StartError;
use hearth_lifecycle::{Blocked, CallError, HomeError, Ready, State};
use serde::Serialize;
use serde_json::{Value, json};

/// Why a verb did not do what it was asked.
#[derive(Debug, Serialize)]
pub struct Refusal {
    /// Which of the closed list; decides the exit code.
    pub code: Code,
    /// What happened and why; may have several lines.
    pub message: String,
    /// What to type next; may be empty.
    pub hint: String,
    /// Facts for tools.
    pub details: Value,
}

/// One line of JSON: `{"error":{...}}`.
#[derive(Serialize)]
struct InJson<'a> {
    error: &'a Refusal,
}

/// Why this process did not become the agent.
pub fn of_start(error: StartError) -> Refusal {
    let (message, remedy) = (error.to_string(), error.remedy(crate::app()));
    let code = match error {
        StartError::Blocked(blocked) => return blocked.into(),
        StartError::AlreadyRunning { pid, .. } => {
            return Refusal::new(Code::AlreadyRunning, message)
                .hint(remedy)
                .details(json!({ "pid": pid }));
        }
        StartError::Config(_) => Code::BadConfig,
        StartError::Lock { .. } | StartError::Moved { .. } => Code::Blocked,
        StartError::NotInherited => Code::Usage,
        StartError::NotHandedOver { .. } => Code::SpawnFailed,
        StartError::GivenElsewhere { .. } => Code::Blocked,
    };
    Refusal::new(code, message).hint(remedy)
}

impl Refusal {
    /// One with neither hint nor facts.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: String::new(), details: json!({}) }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// The same with what to type next.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// The same with facts for tools.
    pub fn details(self, details: Value) -> Self {
        Self { details, ..self }
    }

    /// The same with the facts of exit code 3: no agent, for this reason.
    pub fn of_state(self, reason: &str) -> Self {
        let state = self.code.as_str();
        let details = json!({ "state": state, "duration_ms": null, "reason": reason, "log": null });
        self.details(details)
    }

    /// The same with further facts.
    pub fn and_details(mut self, more: Value) -> Self {
        if let (Value::Object(details), Value::Object(more)) = (&mut self.details, more) {
            details.extend(more);
        }
        self
    }

    /// Writes it to stderr in one write: one line of JSON, or lines for people.
    pub fn show(&self, json: bool) {
        let mut text = if json {
            serde_json::to_string(&InJson { error: self }).unwrap_or_default()
        } else if self.hint.is_empty() {
            format!("hearth: {}", self.message)
        } else {
            format!("hearth: {}\n  hint: {}", self.message, self.hint)
        };
        text.push('\n');
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// No agent: its state tells why. With `late`, the caller's own time was over first.
    pub fn not_ready(ready: &Ready, late: bool) -> Self {
        let state = ready.state;
        let code = if late { Code::Timeout } else { code_of(state) };
        let reason = ready.reason.as_deref().unwrap_or("no reason is known");
        let message = match (late, state) {
            (true, _) => format!("not in time: {reason}"),
            (false, State::Down) => reason.to_owned(),
            (false, _) => format!("{}: {reason}", in_words(state)),
        };
        let mut details = json!({
            "state": state.as_str(),
            "duration_ms": milliseconds(ready.duration),
            "reason": ready.reason,
            "log": ready.log,
        });
        if let Some(at) = ready.retry_at {
            details["retry_at"] = hearth_api::time::rfc3339(at).into();
        }
        // Of an agent that had no time to answer nothing is known that would have to be mended.
        let hint = match late {
            true => "a longer `--timeout`; `hearth daemon status` tells how it stands".to_owned(),
            false => ready.hint.clone().unwrap_or_default(),
        };
        Self::new(code, message).hint(hint).details(details)
    }

    /// A reply that refuses, whoever wrote it.
    pub fn of_reply(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => Self {
                code: problem.code,
                message: problem.detail,
                hint: problem.hint,
                details: if problem.details.is_null() { json!({}) } else { problem.details },
            },
            Err(_) => {
                let said = String::from_utf8_lossy(body);
                Self::new(Code::Internal, format!("the agent answered {status}: {}", said.trim()))
                    .hint("hearth daemon logs")
            }
        }
    }
}

/// A time in milliseconds, to the tenth.
pub fn milliseconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

fn code_of(state: State) -> Code {
    match state {
        State::Up | State::Started => Code::Internal,
        State::Down => Code::Down,
        State::SpawnFailed => Code::SpawnFailed,
        State::SpawnSuppressed => Code::SpawnSuppressed,
        State::StillStarting => Code::StillStarting,
        State::Stopping => Code::Stopping,
        State::Unresponsive => Code::Unresponsive,
        State::ServiceNotReady => Code::ServiceNotReady,
        State::Blocked => Code::Blocked,
    }
}

fn in_words(state: State) -> &'static str {
    match state {
        State::Up | State::Started => "the agent answers, and yet",
        State::Down => "no agent",
        State::SpawnFailed => "the agent could not be started",
        State::SpawnSuppressed => "the agent is not started again yet",
        State::StillStarting => "the agent is not ready yet",
        State::Stopping => "the agent is shutting down",
        State::Unresponsive => "the agent does not answer",
        State::ServiceNotReady => "the service manager did not bring the agent up",
        State::Blocked => "the home may not be used",
    }
}

/// Why a call got no reply, for a caller whose own time was `timeout`.
pub fn of_call(error: CallError, timeout: Option<std::time::Duration>) -> Refusal {
    match error {
        CallError::NotReady(ready) => {
            let waited = matches!(
                ready.state,
                State::StillStarting
                    | State::Stopping
                    | State::Unresponsive
                    | State::ServiceNotReady
            );
            let late = waited && timeout.is_some_and(|timeout| ready.duration >= timeout);
            Refusal::not_ready(&ready, late)
        }
        CallError::Version { agent, ours } => {
            let older = agent.api.max < ours.min;
            let side = if older { "older" } else { "newer" };
            let why = format!(
                "the agent (version {}, API {}-{}) is {side} than this command (version {}, API {}-{})",
                agent.version,
                agent.api.min,
                agent.api.max,
                crate::app().version(),
                ours.min,
                ours.max
            );
            let hint = if older { "hearth daemon restart" } else { "use the newer `hearth`" };
            Refusal::new(Code::Version, why.clone())
                .hint(hint)
                .details(json!({ "state": "up", "duration_ms": null, "reason": why, "log": null }))
        }
        CallError::Forbidden { .. } => Refusal::new(Code::Forbidden, error.to_string())
            .hint("without --no-spawn, and not from below an agent: `hearth daemon restart`"),
        CallError::Newer { .. } => {
            let why = error.to_string();
            let details = json!({ "state": "up", "duration_ms": 0.0, "reason": why, "log": null });
            Refusal::new(Code::Version, why).details(details).hint(
                "use the newer `hearth`; if the older one is meant: `hearth daemon down`, then \
                 `hearth daemon up`",
            )
        }
        CallError::Timeout { .. } => {
            Refusal::new(Code::Timeout, error.to_string()).hint("hearth daemon status")
        }
        CallError::Refused(_)
        | CallError::BadRequest { .. }
        | CallError::Status { .. }
        | CallError::Protocol { .. }
        | CallError::Broken(_) => Refusal::new(Code::Internal, error.to_string())
            .hint("try again; the agent's log: `hearth daemon logs`"),
    }
}

impl From<HomeError> for Refusal {
    fn from(error: HomeError) -> Self {
        Self::usage(error.to_string()).hint("name an absolute path with --home or HEARTH_HOME")
    }
}

impl From<Blocked> for Refusal {
    fn from(blocked: Blocked) -> Self {
        let details = json!({
            "state": "blocked", "duration_ms": null, "reason": blocked.reason, "log": null,
        });
        Self::new(Code::Blocked, format!("{}: {}", in_words(State::Blocked), blocked.reason))
            .hint(blocked.remedy)
            .details(details)
    }
}

impl From<Ownership> for Refusal {
    fn from(why: Ownership) -> Self {
        Self::new(Code::Forbidden, format!("the project is not trusted: {why}"))
            .hint("if you trust it as it is: name its directory with -C")
    }
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Missing { .. } => {
                Self::new(Code::NotFound, error.to_string()).hint("hearth init")
            }
            LoadError::Unreadable { .. } => Self::new(Code::BadConfig, error.to_string())
                .hint("a file that you may read is needed there: `ls -l` shows what it is"),
            LoadError::Faulty(faults) => {
                let list = faults.as_slice();
                let count = match list.len() {
                    1 => "one fault".to_owned(),
                    count => format!("{count} faults"),
                };
                let file = list.first().map(|fault| fault.file.display().to_string());
                let message =
                    format!("{} is faulty: {count}\n\n{faults}\n", file.unwrap_or_default());
                Self::new(Code::BadConfig, message)
                    .hint("mend it, then look again with `hearth config check`")
                    .details(json!({ "faults": list }))
            }
        }
    }
}
