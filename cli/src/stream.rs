//! A request that is answered by JSON lines: `up`, `down`, `restart`, `run`, `try` and `wait` wait on
//! such a stream.
//!
//! Kept true here: whatever ends the wait (the outcome, the caller's time, Ctrl-C, the agent's
//! death) is told in one outcome, and none of it touches a service. An agent that goes away before
//! the outcome is asked once more through the ordinary way.

use std::time::{Duration, Instant};

use hearth_api::reply::Services;
use hearth_api::stream::OutcomeAgent;
use hearth_api::{Code, Line, Outcome, Result as Word};
use hearth_lifecycle::{CallError, Ready, Request};

use crate::agent::{self, Wish};
use crate::args::Context;
use crate::follow::Following;
use crate::lines::{Bell, Lines, Next, Until};
use crate::output;
use crate::progress::Progress;
use crate::refuse::{self, Refusal};
use crate::sheet::Sheet;
use crate::story::{Goal, Story};
use crate::verdict::{self, Told};

/// How often an agent that was replaced, or died, in the middle of a wait is asked again.
const REPLACED: usize = 5;
const DIED: u32 = 1;

/// What the one look at the end may take: it is for words alone.
const PATIENCE: Duration = Duration::from_millis(300);

/// How an agent answers a query that it does not know.
const UNKNOWN_QUERY: u16 = 400;

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
    /// Whose services; `None`: those of all projects.
    pub project: Option<String>,
    /// The services that were named, groups by their members; empty: all.
    pub named: Vec<String>,
    /// What is waited for.
    pub goal: Goal,
    /// Return as soon as the request is taken.
    pub no_wait: bool,
    /// What it comes to where there is no agent; without, that is a refusal.
    pub cold: Option<&'a Cold<'a>>,
}

/// What was heard so far, and where it is shown.
pub struct Heard {
    /// The services.
    pub story: Story,
    /// On stderr.
    pub progress: Progress,
    /// Their logs, on stdout, where they are followed.
    pub following: Option<Following>,
}

impl Heard {
    /// Nothing yet.
    pub fn new(context: &Context, goal: Goal, sheet: Sheet) -> Self {
        Self { story: Story::new(sheet), progress: Progress::new(context, goal), following: None }
    }

    /// Writes what there is of the logs; says whether there may be more at once.
    pub fn write_logs(&mut self) -> Result<bool, Refusal> {
        match &mut self.following {
            Some(following) => following.write(&mut self.progress),
            None => Ok(false),
        }
    }

    /// Waits for what comes next, with the logs in between.
    pub fn next(&mut self, lines: &Lines<'_>, until: Until, more: bool) -> Next {
        let tick = if more { Some(Duration::ZERO) } else { until.tick };
        let until = Until { tick, ..until };
        match &self.following {
            Some(following) => lines.next(until, &following.fds(), following.reader()),
            None => lines.next(until, &[], None),
        }
    }
}

/// How a stream ended.
pub enum How {
    /// By its last line.
    Outcome(Outcome),
    /// It was not waited for.
    Taken,
    /// Without a last line, and once more without one.
    Died,
    /// By Ctrl-C.
    Interrupted,
    /// Its time was over.
    Late,
    /// It never began: an agent that refuses, or none.
    Not(Told),
}

impl Wait<'_> {
    /// Sends the request, waits, and tells how it went. The exit code, or why not.
    pub fn run(&self, sheet: Sheet) -> Result<u8, Refusal> {
        let mut heard = Heard::new(self.context, self.goal, sheet);
        self.told(&mut heard)?.end(self.context)
    }

    /// The same without its last words.
    pub fn told(&self, heard: &mut Heard) -> Result<Told, Refusal> {
        let began = Instant::now();
        let (how, agent) = self.come(heard)?;
        Ok(verdict::of(self, heard, how, agent, began))
    }

    /// Sends the request and waits.
    pub fn come(&self, heard: &mut Heard) -> Result<(How, Option<OutcomeAgent>), Refusal> {
        let began = self.wish.began.unwrap_or_else(Instant::now);
        let deadline = self.wish.timeout.and_then(|timeout| began.checked_add(timeout));
        let bell = Bell::new().map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
        let (mut died, mut replaced) = (0, 0);
        // Of what goes down no test says anything.
        let mut words = heard.progress.shows_words() && self.goal == Goal::Ready;
        loop {
            let path = match words {
                true => agent::path(&self.request.path, &[("words", "true")]),
                false => self.request.path.clone(),
            };
            let request = Request { path, ..self.request.clone() };
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let wish = Wish { timeout: left, began: None, ..self.wish };
            let (ready, mut reply) = match (agent::ask(self.context, wish, &request), self.cold) {
                (Ok(answer), _) => answer,
                (Err(CallError::NotReady(ready)), Some(cold)) => {
                    return Ok((How::Not(Told::without(cold(&ready))), None));
                }
                (Err(error), _) => return Ok((How::Not(not_ready(error, left)), None)),
            };
            let ours = Some(agent::outcome(&ready));
            // An older agent, perhaps; and what it refuses for another reason it refuses again.
            if reply.status == UNKNOWN_QUERY && std::mem::take(&mut words) {
                continue;
            }
            if !reply.is_success() {
                let body = agent::body(&mut reply)?;
                let refusal = Refusal::of_reply(reply.status, &body);
                return Ok((How::Not(Told::without(Err(refusal))), ours));
            }
            match self.read(heard, &Lines::of(reply, &bell), deadline)? {
                How::Outcome(outcome)
                    if outcome.result == Word::Replaced && replaced < REPLACED =>
                {
                    replaced += 1;
                }
                How::Died if died < self.deaths() => died += 1,
                how => {
                    if matches!(how, How::Late) || self.ports_are_new(heard, &how) {
                        self.look(heard);
                    }
                    return Ok((how, ours));
                }
            }
        }
    }

    /// How many agents may die in the middle of it.
    fn deaths(&self) -> u32 {
        let unit = hearth_lifecycle::unit::in_charge(crate::app(), &self.context.home);
        if unit.is_some() { hearth_lifecycle::REPEATS_BY_MANAGER } else { DIED }
    }

    fn read(
        &self,
        heard: &mut Heard,
        lines: &Lines<'_>,
        deadline: Option<Instant>,
    ) -> Result<How, Refusal> {
        loop {
            let more = heard.write_logs()?;
            let tick = heard.progress.tick_after();
            match heard.next(lines, Until { deadline, tick }, more) {
                Next::Line(mut bytes) => {
                    // A line of a kind that this version does not know is for `--json` alone.
                    let line = serde_json::from_slice::<Line>(&bytes).ok();
                    if let Some(Line::Outcome(outcome)) = line {
                        return Ok(How::Outcome(outcome));
                    }
                    if self.context.json {
                        bytes.push(b'\n');
                        output::print(&bytes)?;
                    }
                    if let Some(line) = line {
                        take(heard, line)?;
                    }
                    if self.no_wait {
                        return Ok(How::Taken);
                    }
                }
                Next::End => return Ok(How::Died),
                Next::Interrupted => return Ok(How::Interrupted),
                Next::Late => return Ok(How::Late),
                Next::Other => {}
                Next::Tick => heard.progress.tick(&heard.story),
            }
        }
    }

    /// Asks what tests say now, and which ports were chosen. Without an answer the words stay.
    fn look(&self, heard: &mut Heard) {
        let path = match &self.project {
            Some(project) => agent::path("/v1/services", &[("project", project)]),
            None => "/v1/services".to_owned(),
        };
        if let Some(rows) = agent::peek(self.context, PATIENCE, &Request::get(path))
            && let Ok(Services { services }) = serde_json::from_slice(&rows)
        {
            heard.story.hear(services);
        }
    }

    /// The snapshot tells the ports of how things were: one that the agent has chosen since, or that
    /// the file had changed, is not in it.
    fn ports_are_new(&self, heard: &Heard, how: &How) -> bool {
        let is_ready = matches!(how, How::Outcome(outcome) if outcome.result == Word::Ready);
        let Heard { story, .. } = heard;
        let listens =
            story.sheet.has_ports || story.nodes.iter().any(|node| !node.ports.is_empty());
        let moved = story.nodes.iter().any(|node| node.moved);
        is_ready && listens && moved && !self.context.json && !self.context.quiet
    }
}

fn take(heard: &mut Heard, line: Line) -> Result<(), Refusal> {
    match line {
        Line::Snapshot { services } => {
            heard.story.begin(services);
            heard.progress.begin(&heard.story);
            if let Some(following) = &mut heard.following {
                following.begin(&heard.story)?;
            }
        }
        Line::Transition { project, service, to, message, .. } => {
            let at = heard.story.step(project, service, to, &message);
            heard.progress.step(&heard.story, at);
        }
        // Drawn with the next tick.
        Line::Message { project, service, message } => {
            heard.story.say(project, service, &message);
        }
        Line::Outcome(_) => {}
    }
    Ok(())
}

/// No agent, no stream; the outcome tells why all the same.
fn not_ready(error: CallError, timeout: Option<Duration>) -> Told {
    let agent = match &error {
        CallError::NotReady(ready) => Some(agent::outcome(ready)),
        CallError::Version { .. }
        | CallError::Newer { .. }
        | CallError::Forbidden { .. }
        | CallError::BadRequest { .. }
        | CallError::Status { .. }
        | CallError::Refused(_)
        | CallError::Timeout { .. }
        | CallError::Protocol { .. }
        | CallError::Broken(_) => None,
    };
    let refusal = refuse::of_call(error, timeout);
    let word = if refusal.code == Code::Timeout { Word::Timeout } else { Word::Failed };
    match agent {
        Some(agent) => {
            let outcome = verdict::ended(word, Vec::new(), Some(agent));
            Told { outcome: Some(outcome), done: Err(refusal) }
        }
        None => Told::without(Err(refusal)),
    }
}
