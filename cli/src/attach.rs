//! `hearth up --attach`: stays with what it brought up, and writes its logs.
//!
//! Kept true here: Ctrl-C takes down what this verb brought up and nothing else, at whatever moment it
//! comes; it ends by itself when all of that has ended. With `--json` the lines of logs stand between
//! the transitions, as `/v1/logs` has them (they have no `type`), and the outcome is the last line.
//!
//! That a service has ended after the bringing up is told by no stream of this request: the agent
//! writes `state.json` anew at every change, and that is waited for before it is asked.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hearth_api::reply::Services;
use hearth_api::{Code, Kind, Result as Word, ServiceRow, State};
use hearth_lifecycle::Request;
use hearth_process::watch::DirWatch;

use crate::agent::{self, Wish};
use crate::args::Context;
use crate::follow::Following;
use crate::interrupt;
use crate::lines::{Bell, Lines, Next, Until};
use crate::refuse::Refusal;
use crate::story::{Goal, Sheet};
use crate::stream::{Heard, How, Wait};
use crate::undo;
use crate::verdict::{self, Told};

/// How often the agent is asked where the kernel has no watch left (inotify(7)) and nothing wakes.
const WITHOUT_WATCH: Duration = Duration::from_secs(1);

/// Brings up, stays, and takes down.
pub fn run(wait: &Wait<'_>, sheet: Sheet) -> Result<u8, Refusal> {
    let context = wait.context;
    let project = wait.project.clone().unwrap_or_default();
    let began = Instant::now();
    let mut heard = Heard::new(context, Goal::Ready, sheet);
    heard.following = Some(Following::new(context, project.clone()));
    let (how, agent) = wait.come(&mut heard)?;
    let ours = heard.story.brought_up();
    if matches!(how, How::Interrupted) {
        heard.progress.end(&heard.story, "");
        return interrupted(context, &project, ours, heard, agent);
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
    if ours.is_empty() {
        heard.progress.say("all of it was up already, and stays when this ends");
    }
    match stay(context, &project, &mut heard)? {
        Stayed::Interrupted => interrupted(context, &project, ours, heard, agent),
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
    Ended { failed: Vec<String> },
}

/// Writes the logs until Ctrl-C, or until everything has ended.
fn stay(context: &Context, project: &str, heard: &mut Heard) -> Result<Stayed, Refusal> {
    let bell = Bell::new().map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    // Subscribe, then look.
    let watch = DirWatch::names(context.home.dir()).ok();
    let lines = Lines::none(&bell);
    let mut ended = ended(context, project, heard)?;
    loop {
        let more = heard.write_logs()?;
        if let Some(failed) = ended.take() {
            // Whatever was written before the end is in the log by then.
            while heard.write_logs()? {}
            return Ok(Stayed::Ended { failed });
        }
        let tick = match (&watch, more) {
            (_, true) => Some(Duration::ZERO),
            (Some(_), false) => None,
            (None, false) => Some(WITHOUT_WATCH),
        };
        let Some(following) = &heard.following else { return Ok(Stayed::Interrupted) };
        let mut fds = following.fds();
        fds.extend(watch.as_ref().map(AsFd::as_fd));
        match lines.next(Until { deadline: None, tick }, &fds, following.reader()) {
            Next::Interrupted => return Ok(Stayed::Interrupted),
            Next::Other | Next::Tick => {
                let changed = match &watch {
                    Some(watch) => watch.drain().is_ok_and(|changes| {
                        let state = Some(OsStr::new("state.json"));
                        changes.iter().any(|change| change.name.as_deref() == state)
                    }),
                    None => !more,
                };
                if changed {
                    ended = self::ended(context, project, heard)?;
                }
            }
            Next::Line(_) | Next::End | Next::Late => {}
        }
    }
}

/// Who has failed, where all that is followed has ended; `None`: something goes on. A check goes on
/// for as long as what it belongs to.
fn ended(context: &Context, project: &str, heard: &Heard) -> Result<Option<Vec<String>>, Refusal> {
    let Some(following) = &heard.following else { return Ok(None) };
    let path = agent::path("/v1/services", &[("project", project)]);
    let wish = Wish { start: true, ..Wish::default() };
    let (_, body) = agent::fetch(context, wish, &Request::get(path))?;
    let Services { services } = agent::parse(&body)?;
    let mine = || {
        let followed = |row: &&ServiceRow| following.names.contains(&row.name);
        services.iter().filter(followed).filter(|row| row.kind != Kind::Check)
    };
    let failed: Vec<String> =
        mine().filter(|row| row.state == State::Failed).map(|row| row.name.clone()).collect();
    let has_ended = |row: &ServiceRow| match row.state {
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
    Ok(mine().all(has_ended).then_some(failed))
}

/// Ctrl-C: what this verb brought up goes; the next one ends the wait for that.
fn interrupted(
    context: &Context,
    project: &str,
    ours: Vec<String>,
    heard: Heard,
    agent: Option<hearth_api::stream::OutcomeAgent>,
) -> Result<u8, Refusal> {
    interrupt::heard();
    let down = undo::take_down(context, project, ours, heard)?;
    let outcome = Some(verdict::ended(Word::Interrupted, Vec::new(), agent));
    let done = match down {
        Some(Told { done: Err(refusal), .. }) => Err(refusal),
        Some(Told { done: Ok(_), .. }) | None => Ok(interrupt::EXIT),
    };
    Told { outcome, done }.end(context)
}
