//! A request that is answered by JSON lines: `up`, `down` and `restart` wait on such a stream.
//!
//! Kept true here: whatever ends the wait (the outcome, the caller's time, Ctrl-C, the agent's
//! death) is told in one outcome, and none of it touches a service. An agent that goes away before
//! the outcome is asked once more through the ordinary way.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hearth_api::stream::OutcomeAgent;
use hearth_api::{Code, Failed, Line, Outcome, Result as Word, ServiceRow, State};
use hearth_lifecycle::{CallError, Ready, Request};
use serde_json::json;

use crate::agent::{self, Wish};
use crate::args::Context;
use crate::lines::{Bell, Lines, Next};
use crate::progress::{self, Progress};
use crate::refuse::{self, Refusal};
use crate::{interrupt, output};

/// How often an agent that was replaced, or died, in the middle of a wait is asked again.
const REPLACED: usize = 5;
const DIED: usize = 1;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Everything asked for is ready.
    Ready,
    /// Everything asked for is down.
    Down,
}

impl Goal {
    fn in_word(self) -> &'static str {
        match self {
            Goal::Ready => "ready",
            Goal::Down => "down",
        }
    }

    /// Whether a service in this state has come to it.
    fn is_met_by(self, state: State) -> bool {
        match self {
            Goal::Ready => matches!(state, State::Ready | State::Done),
            Goal::Down => matches!(state, State::Down | State::Done | State::Failed),
        }
    }
}

/// What a verb comes to where there is no agent.
pub type Cold<'a> = dyn Fn(&Ready) -> Result<u8, Refusal> + 'a;

/// A wait on a stream.
pub struct Wait<'a> {
    /// What holds for every verb.
    pub context: &'a Context,
    /// What is allowed for getting an agent.
    pub wish: Wish,
    /// To be sent; must be one that can be sent again.
    pub request: Request,
    /// What is waited for.
    pub goal: Goal,
    /// Return as soon as the request is taken.
    pub no_wait: bool,
    /// What it comes to where there is no agent; without, that is a refusal.
    pub cold: Option<&'a Cold<'a>>,
}

/// How one stream ended.
enum Ended {
    Outcome(Outcome),
    Taken,
    Broke,
    Interrupted,
    Late,
}

impl Wait<'_> {
    /// Sends the request and waits. The exit code, or why not.
    pub fn run(&self) -> Result<u8, Refusal> {
        let began = Instant::now();
        let deadline = self.wish.timeout.and_then(|timeout| began.checked_add(timeout));
        let bell = Bell::new().map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
        let mut seen = Seen { states: BTreeMap::new(), progress: Progress::new(self.context) };
        let (mut died, mut replaced) = (0, 0);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let wish = Wish { timeout: left, ..self.wish };
            let (ready, mut reply) =
                match (agent::ask(self.context, wish, &self.request), self.cold) {
                    (Ok(answer), _) => answer,
                    (Err(CallError::NotReady(ready)), Some(cold)) => return cold(&ready),
                    (Err(error), _) => return Err(self.not_ready(error, left)),
                };
            let ours = agent::outcome(&ready);
            if !reply.is_success() {
                let body = agent::body(&mut reply)?;
                return Err(Refusal::of_reply(reply.status, &body));
            }
            match self.read(&mut seen, Lines::of(reply, &bell), deadline)? {
                Ended::Taken => return Ok(0),
                Ended::Outcome(outcome)
                    if outcome.result == Word::Replaced && replaced < REPLACED =>
                {
                    replaced += 1;
                }
                Ended::Outcome(outcome) => return self.finish(&mut seen, outcome, ours, began),
                Ended::Broke if died < DIED => died += 1,
                Ended::Broke => {
                    seen.progress.end("");
                    let why = "the agent ended twice in the middle of the request";
                    return Err(Refusal::new(Code::Internal, why)
                        .hint("`hearth daemon logs` tells why; services run on"));
                }
                Ended::Interrupted => return self.interrupted(&mut seen, ours),
                Ended::Late => return self.late(&mut seen, ours),
            }
        }
    }

    fn read(
        &self,
        seen: &mut Seen,
        lines: Lines<'_>,
        deadline: Option<Instant>,
    ) -> Result<Ended, Refusal> {
        loop {
            match lines.next(deadline, seen.progress.tick_after()) {
                Next::Line(mut bytes) => {
                    // A line of a kind that this version does not know is for `--json` alone.
                    let line = serde_json::from_slice::<Line>(&bytes).ok();
                    if let Some(Line::Outcome(outcome)) = line {
                        return Ok(Ended::Outcome(outcome));
                    }
                    if self.context.json {
                        bytes.push(b'\n');
                        output::print(&bytes)?;
                    }
                    if let Some(line) = line {
                        seen.take(line);
                    }
                    if self.no_wait {
                        return Ok(Ended::Taken);
                    }
                }
                Next::End => return Ok(Ended::Broke),
                Next::Interrupted => return Ok(Ended::Interrupted),
                Next::Late => return Ok(Ended::Late),
                Next::Tick => seen.progress.tick(),
            }
        }
    }

    fn finish(
        &self,
        seen: &mut Seen,
        outcome: Outcome,
        agent: OutcomeAgent,
        began: Instant,
    ) -> Result<u8, Refusal> {
        let outcome = Outcome { agent: Some(agent), ..outcome };
        self.print(&outcome)?;
        let count = match seen.at_goal(self.goal) {
            1 => "1 service".to_owned(),
            count => format!("{count} services"),
        };
        let took = in_short(began.elapsed());
        match (outcome.result, self.goal) {
            (Word::Ready, _) => {
                seen.progress.end(&format!("{count} ready in {took}"));
                Ok(0)
            }
            (Word::Down, Goal::Down) => {
                seen.progress.end(&format!("{count} down in {took}"));
                Ok(0)
            }
            (Word::Failed, _) => {
                seen.progress.end("");
                Err(failed(&outcome))
            }
            (Word::Interrupted | Word::Replaced, _) if outcome.not_ready.is_empty() => {
                seen.progress.end("");
                let why = match outcome.result {
                    Word::Replaced => "the agent was replaced again and again while this waited",
                    _ => "the agent was told to stop while this waited",
                };
                let left = seen.left(self.goal);
                let goal = self.goal.in_word();
                let message = format!("{why}; not {goal} yet: {}", left.join(", "));
                Err(Refusal::new(Code::Stopping, message)
                    .hint("services and what is wanted of them stay: `hearth status`")
                    .details(json!({
                        "state": "stopping",
                        "duration_ms": refuse::milliseconds(began.elapsed()),
                        "reason": why,
                        "log": self.context.home.log(),
                        "not_ready": left,
                    })))
            }
            (Word::Down | Word::Interrupted | Word::Timeout | Word::Replaced, _) => {
                seen.progress.end("");
                let names = outcome.not_ready.join(", ");
                let goal = self.goal.in_word();
                let why = format!(
                    "another request ended this one before its services were {goal}: {names}"
                );
                Err(Refusal::new(Code::ServiceFailed, why)
                    .hint("hearth status")
                    .details(json!({ "failed": outcome.failed, "not_ready": outcome.not_ready })))
            }
        }
    }

    fn interrupted(&self, seen: &mut Seen, agent: OutcomeAgent) -> Result<u8, Refusal> {
        seen.progress.end("");
        self.print(&ended(Word::Interrupted, seen.left(self.goal), agent))?;
        match self.goal {
            Goal::Ready => output::tell(interrupt::WORDS),
            Goal::Down => output::tell("hearth: interrupted; what was asked for goes on"),
        }
        Ok(interrupt::EXIT)
    }

    fn late(&self, seen: &mut Seen, agent: OutcomeAgent) -> Result<u8, Refusal> {
        seen.progress.end("");
        let left = seen.left(self.goal);
        let states: Vec<_> = (seen.states.iter())
            .filter(|(_, state)| !self.goal.is_met_by(**state))
            .map(|((_, name), state)| format!("{name} ({})", progress::in_word(*state)))
            .collect();
        self.print(&ended(Word::Timeout, left.clone(), agent))?;
        let timeout = self.wish.timeout.map(hearth_config::duration::format).unwrap_or_default();
        let goal = self.goal.in_word();
        let why = format!("not {goal} within {timeout}: {}", states.join(", "));
        Err(Refusal::new(Code::Timeout, why)
            .hint("they go on meanwhile: `hearth status`, `hearth logs NAME`")
            .details(json!({ "not_ready": left })))
    }

    /// No agent, no stream; the outcome tells why all the same.
    fn not_ready(&self, error: CallError, timeout: Option<Duration>) -> Refusal {
        let agent = match &error {
            CallError::NotReady(ready) => Some(agent::outcome(ready)),
            CallError::Version { .. } | CallError::Broken(_) => None,
        };
        let refusal = refuse::of_call(error, timeout);
        if let Some(agent) = agent {
            let word = if refusal.code == Code::Timeout { Word::Timeout } else { Word::Failed };
            if let Err(refusal) = self.print(&ended(word, Vec::new(), agent)) {
                return refusal;
            }
        }
        refusal
    }

    fn print(&self, outcome: &Outcome) -> Result<(), Refusal> {
        if self.context.json { output::print_json(&Line::Outcome(outcome.clone())) } else { Ok(()) }
    }
}

/// A time for people: `45 ms`, `1.2 s`.
fn in_short(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        format!("{} ms", took.as_millis())
    } else {
        format!("{:.1} s", took.as_secs_f64())
    }
}

fn ended(result: Word, not_ready: Vec<String>, agent: OutcomeAgent) -> Outcome {
    Outcome { result, failed: Vec::new(), not_ready, notes: Vec::new(), agent: Some(agent) }
}

/// What failed for good: each with its exit, its words and its last lines.
fn failed(outcome: &Outcome) -> Refusal {
    let mut message = String::new();
    for (n, failed) in outcome.failed.iter().enumerate() {
        message.push_str(if n == 0 { "" } else { "\n" });
        message.push_str(&format!("service `{}` failed: {}", failed.name, in_words(failed)));
        for line in &failed.log_tail {
            message.push_str(&format!("\n  | {}", anstream::adapter::strip_str(line)));
        }
    }
    if outcome.failed.is_empty() {
        message = format!("not ready: {}", outcome.not_ready.join(", "));
    }
    let hint = match outcome.failed.as_slice() {
        [] => "hearth status".to_owned(),
        [first, ..] => format!("hearth logs {}", first.name),
    };
    Refusal::new(Code::ServiceFailed, message)
        .hint(hint)
        .details(json!({ "failed": outcome.failed, "not_ready": outcome.not_ready }))
}

fn in_words(failed: &Failed) -> String {
    let exit = failed.exit.as_ref().map(|exit| match (&exit.code, &exit.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by {signal}"),
        (None, None) => "its end was seen by nobody".to_owned(),
    });
    match (failed.message.as_str(), exit) {
        ("", Some(exit)) => exit,
        ("", None) => "no reason is known".to_owned(),
        (message, _) => message.to_owned(),
    }
}

/// What the stream has told so far.
struct Seen {
    /// By project and name: `down --all` has those of several projects.
    states: BTreeMap<(Option<String>, String), State>,
    progress: Progress,
}

impl Seen {
    fn take(&mut self, line: Line) {
        match line {
            Line::Snapshot { services } => {
                for row in &services {
                    self.progress.found(&row.name, row.state);
                }
                let state = |row: ServiceRow| ((row.project, row.name), row.state);
                self.states = services.into_iter().map(state).collect();
            }
            Line::Transition { project, service, to, message, .. } => {
                self.progress.step(&service, to, &message);
                self.states.insert((project, service), to);
            }
            Line::Outcome(_) => {}
        }
    }

    /// Who has not come to the goal.
    fn left(&self, goal: Goal) -> Vec<String> {
        let left = self.states.iter().filter(|(_, state)| !goal.is_met_by(**state));
        left.map(|((_, name), _)| name.clone()).collect()
    }

    /// How many have. What `up` has taken down is none of those that it has brought up.
    fn at_goal(&self, goal: Goal) -> usize {
        self.states.values().filter(|state| goal.is_met_by(**state)).count()
    }
}
