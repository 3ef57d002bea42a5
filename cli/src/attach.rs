//! `hearth up --attach`: stays with what it brought up, and writes its logs.
//!
//! Kept true here: Ctrl-C takes down what this verb brought up and nothing else, at whatever moment it
//! comes; it ends by itself when all of that has ended. With `--json` the lines of logs stand between
//! the transitions, as `/v1/logs` has them (they have no `type`), and the outcome is the last line.
//!
//! What becomes of them after the bringing up is told by a second stream, that of `GET /v1/wait` with
//! `stay=true`, whose snapshot tells what came in between.

use std::time::Instant;

use hearth_api::{Code, Kind, Line, Result as Word, SessionRow, State};
use hearth_lifecycle::Request;
use serde_json::json;

use crate::agent::{self, Wish};
use crate::args::Context;
use crate::follow::Following;
use crate::lines::{Bell, Lines, Next, Until};
use crate::refuse::{self, Refusal};
use crate::sheet::Sheet;
use crate::story::{Goal, Node};
use crate::stream::{Heard, How, Wait};
use crate::undo;
use crate::verdict::{self, Told};
use crate::{interrupt, lease, output};

/// How an older agent answers: it does not know the query, or not even the route.
const UNKNOWN: [u16; 2] = [400, 404];

/// Brings up, stays, and takes down.
pub fn run(wait: &Wait<'_>, sheet: Sheet, holder: Option<&SessionRow>) -> Result<u8, Refusal> {
    let context = wait.context;
    let project = wait.project.clone().unwrap_or_default();
    let began = Instant::now();
    let mut heard = Heard::new(context, Goal::Ready, sheet);
    heard.following = Some(Following::new(context, project.clone()));
    let (how, agent) = wait.come(&mut heard)?;
    let ours = heard.story.brought_up();
    if matches!(how, How::Interrupted) {
        heard.progress.end(&heard.story, "");
        return interrupted(context, &project, ours, holder, heard, agent);
    }
    let came = matches!(&how, How::Outcome(outcome)
        if matches!(outcome.result, Word::Ready | Word::Failed));
    let mut told = verdict::of(wait, &mut heard, how, agent.clone(), began);
    if !came {
        return told.end(context);
    }
    if let Err(refusal) = &told.done
        && !context.json
    {
        // What failed is told now and not when the others have ended too.
        heard.progress.clear();
        refusal.show(false);
        told.done = Ok(refusal.code.exit());
    }
    match holder {
        Some(holder) => heard.progress.say(&lease::words(holder)),
        None if ours.is_empty() => {
            heard.progress.say("all of it was up already, and stays when this ends");
        }
        None => {}
    }
    match stay(wait, &project, &mut heard)? {
        Stayed::LeftAlone => {
            if let Some(outcome) = &mut told.outcome {
                outcome.result = Word::Interrupted;
            }
            told.done = Err(left_alone(context, began));
            told.end(context)
        }
        Stayed::Interrupted => interrupted(context, &project, ours, holder, heard, agent),
        Stayed::Ended { failed } if failed.is_empty() => told.end(context),
        Stayed::Ended { failed } => {
            let names = failed.join(", ");
            if matches!(told.done, Ok(0)) {
                let refusal = Refusal::new(Code::ServiceFailed, format!("failed: {names}"))
                    .hint(format!("hearth logs {}", failed.join(" ")));
                told.done = Err(refusal);
            }
            if let Some(outcome) = &mut told.outcome {
                outcome.result = Word::Failed;
            }
            told.end(context)
        }
    }
}

enum Stayed {
    Interrupted,
    /// The agent was told to go.
    LeftAlone,
    Ended {
        failed: Vec<String>,
    },
}

/// Writes the logs until Ctrl-C, or until everything has ended.
fn stay(wait: &Wait<'_>, project: &str, heard: &mut Heard) -> Result<Stayed, Refusal> {
    let bell = Bell::new().map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    let mut query = vec![("project", project), ("stay", "true")];
    query.extend(wait.named.iter().map(|name| ("service", name.as_str())));
    let request = Request::get(agent::path("/v1/wait", &query));
    // An agent that dies or is replaced is asked for again, as the bringing up asked for it.
    loop {
        let wish = Wish { start: true, ..Wish::default() };
        let (_, mut reply) = agent::ask(wait.context, wish, &request)
            .map_err(|error| refuse::of_call(error, None))?;
        let lines = if UNKNOWN.contains(&reply.status) {
            heard.progress.say("the agent is too old to tell when they end: Ctrl-C ends this");
            Lines::none(&bell)
        } else if reply.is_success() {
            Lines::of(reply, &bell)
        } else {
            let body = agent::body(&mut reply)?;
            return Err(Refusal::of_reply(reply.status, &body));
        };
        if let Some(stayed) = listen(wait.context, &lines, heard)? {
            return Ok(stayed);
        }
    }
}

/// To the end of one stream; `None`: another agent tells the rest.
fn listen(
    context: &Context,
    lines: &Lines<'_>,
    heard: &mut Heard,
) -> Result<Option<Stayed>, Refusal> {
    loop {
        let more = heard.write_logs()?;
        match heard.next(lines, Until::default(), more) {
            Next::Line(mut bytes) => {
                match serde_json::from_slice(&bytes) {
                    Ok(Line::Snapshot { services }) => heard.story.begin(services),
                    Ok(Line::Transition { project, service, to, message, .. }) => {
                        heard.story.step(project, service, to, &message);
                    }
                    Ok(Line::Outcome(outcome)) => match outcome.result {
                        Word::Replaced => return Ok(None),
                        Word::Interrupted => return Ok(Some(Stayed::LeftAlone)),
                        // That of the bringing up was told.
                        Word::Ready | Word::Down | Word::Failed | Word::Timeout => continue,
                    },
                    Ok(Line::Message { .. }) | Err(_) => {}
                }
                if context.json {
                    bytes.push(b'\n');
                    output::print(&bytes)?;
                }
                if let Some(failed) = ended(heard) {
                    // Whatever was written before the end is in the log by then.
                    while heard.write_logs()? {}
                    return Ok(Some(Stayed::Ended { failed }));
                }
            }
            Next::End => return Ok(None),
            Next::Interrupted => return Ok(Some(Stayed::Interrupted)),
            Next::Late | Next::Tick | Next::Other => {}
        }
    }
}

/// Who has failed, where all that is followed has ended; `None`: something goes on. A check goes on
/// for as long as what it belongs to.
fn ended(heard: &Heard) -> Option<Vec<String>> {
    let following = heard.following.as_ref()?;
    let mine = || {
        let followed = |node: &&Node| following.names.contains(&node.name);
        heard.story.nodes.iter().filter(followed).filter(|node| node.kind != Kind::Check)
    };
    let failed: Vec<String> =
        mine().filter(|node| node.state == State::Failed).map(|node| node.name.clone()).collect();
    let has_ended = |node: &Node| match node.state {
        State::Failed | State::Done | State::Down => true,
        // For what has failed it waits for ever.
        State::Waiting => !failed.is_empty(),
        State::Starting
        | State::Ready
        | State::Unhealthy
        | State::Backoff
        | State::Stopping
        | State::Unknown => false,
    };
    mine().all(has_ended).then_some(failed)
}

/// The agent is not fetched again: that would undo what somebody has done.
fn left_alone(context: &Context, began: Instant) -> Refusal {
    let why = "the agent was told to stop while this followed its services";
    Refusal::new(Code::Stopping, why)
        .hint("services and what is wanted of them stay: `hearth status`")
        .details(json!({
            "state": "stopping",
            "duration_ms": refuse::milliseconds(began.elapsed()),
            "reason": why,
            "log": context.home.log(),
        }))
}

/// Ctrl-C: what this verb brought up goes; the next one ends the wait for that.
fn interrupted(
    context: &Context,
    project: &str,
    ours: Vec<String>,
    holder: Option<&SessionRow>,
    heard: Heard,
    agent: Option<hearth_api::stream::OutcomeAgent>,
) -> Result<u8, Refusal> {
    interrupt::heard();
    let down =
        undo::take_down(context, project, ours, holder.map(|holder| holder.id.as_str()), heard)?;
    let outcome = Some(verdict::ended(Word::Interrupted, Vec::new(), agent));
    let done = match down {
        Some(Told { done: Err(refusal), .. }) => Err(refusal),
        Some(Told { done: Ok(_), .. }) | None => Ok(interrupt::EXIT),
    };
    Told { outcome, done }.end(context)
}
