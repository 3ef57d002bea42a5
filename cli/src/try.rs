//! `hearth try`: everything up, ready, and down again; its exit code tells whether it came up.
//!
//! Kept true here: only what this verb brought up goes down again, and that however the bringing up
//! ended: ready, failed, over its time, or by Ctrl-C.

use std::time::Instant;

use clap::{ArgMatches, Command};
use hearth_api::{Code, Result as Word};

use crate::agent::Wish;
use crate::args::{self, Context};
use crate::refuse::Refusal;
use crate::sheet::Sheet;
use crate::story::Goal;
use crate::stream::{Heard, How, Wait};
use crate::verdict::{self, Told};
use crate::{capture, interrupt, project, undo};

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("try")
        .about("Bring everything up, and what came up down again; the exit code tells how it went")
        .arg(args::timeout().help("Give up after this time, and take down: 500ms, 2s, 1m30s"))
}

/// One outcome for both halves: that of the bringing up.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let place = project::required(context)?;
    let file = project::load(&place)?;
    let id = place.id.clone();
    let wait = Wait {
        context,
        wish: Wish { start: true, timeout: args::timeout_of(matches), ..Wish::default() },
        request: capture::up("/v1/up", &capture::request(place.id, Vec::new()))?.repeatable(),
        project: Some(id.clone()),
        named: Vec::new(),
        goal: Goal::Ready,
        no_wait: false,
        cold: None,
    };
    let mut heard = Heard::new(context, Goal::Ready, Sheet::of(&file));
    let began = Instant::now();
    let (how, agent) = wait.come(&mut heard)?;
    let mut told = if let How::Interrupted = how {
        heard.progress.end(&heard.story, "");
        let left = heard.story.left(Goal::Ready).iter().map(|node| node.name.clone()).collect();
        let outcome = verdict::ended(Word::Interrupted, left, agent);
        Told { outcome: Some(outcome), done: Ok(interrupt::EXIT) }
    } else {
        verdict::of(&wait, &mut heard, how, agent, began)
    };
    told.done = told.done.map_err(|refusal| match refusal.code {
        Code::Timeout => refusal.hint("`hearth logs NAME` shows what it wrote"),
        _ => refusal,
    });
    let ours = heard.story.brought_up();
    if ours.is_empty() {
        heard.progress.say("nothing to take down: this brought nothing up");
        return told.end(context);
    }
    // From here on Ctrl-C, the first or the next one, ends the wait for that.
    interrupt::heard();
    match undo::take_down(context, &id, ours, None, heard) {
        Ok(None) => {}
        // A second Ctrl-C, or a service that can't be ended: the first trouble is the one that is told.
        Ok(Some(Told { done, .. })) => {
            told.done = told.done.and_then(|code| match code {
                0 => done,
                code => Ok(code),
            })
        }
        Err(refusal) => told.done = told.done.and(Err(refusal)),
    }
    told.end(context)
}
