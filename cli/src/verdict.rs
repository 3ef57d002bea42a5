//! How a wait ended: in one outcome for tools, in words for people, and as an exit code.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hearth_api::stream::OutcomeAgent;
use hearth_api::{Code, Failed, Kind, Outcome, Result as Word, State};
use serde_json::{Map, Value, json};

use crate::args::Context;
use crate::refuse::{self, Refusal};
use crate::story::{Goal, Story};
use crate::stream::{Heard, How, Wait};
use crate::{interrupt, output, plain};

/// How a wait ended.
pub struct Told {
    /// For `--json`: its last line. `None`: there is none to be told.
    pub outcome: Option<Outcome>,
    /// The exit code, or why not.
    pub done: Result<u8, Refusal>,
}

impl Told {
    /// One with nothing for tools.
    pub fn without(done: Result<u8, Refusal>) -> Self {
        Self { outcome: None, done }
    }

    /// The last line of `--json`, and the end.
    pub fn end(self, context: &Context) -> Result<u8, Refusal> {
        if context.json
            && let Some(outcome) = self.outcome
        {
            output::print_json(&hearth_api::Line::Outcome(outcome))?;
        }
        self.done
    }
}

/// Says what is to be said on stderr, and gives the rest.
pub fn of(
    wait: &Wait<'_>,
    heard: &mut Heard,
    how: How,
    agent: Option<OutcomeAgent>,
    began: Instant,
) -> Told {
    match how {
        How::Not(told) => told,
        How::Taken => {
            heard.progress.end(&heard.story, "");
            Told::without(Ok(0))
        }
        How::Died => {
            heard.progress.end(&heard.story, "");
            let why = "the agent ended twice in the middle of the request";
            let refusal = Refusal::new(Code::Internal, why)
                .hint("`hearth daemon logs` tells why; services run on");
            Told::without(Err(refusal))
        }
        How::Interrupted => {
            heard.progress.end(&heard.story, "");
            output::tell(interrupt::words(wait.goal));
            let left = names_left(&heard.story, wait.goal);
            Told { outcome: Some(ended(Word::Interrupted, left, agent)), done: Ok(interrupt::EXIT) }
        }
        How::Late => {
            heard.progress.end(&heard.story, "");
            let left = names_left(&heard.story, wait.goal);
            Told {
                done: Err(late(wait, &heard.story)),
                outcome: Some(ended(Word::Timeout, left, agent)),
            }
        }
        How::Outcome(outcome) => {
            let outcome = Outcome { agent, ..outcome };
            let done = finish(wait, heard, &outcome, began);
            Told { outcome: Some(outcome), done }
        }
    }
}

/// An outcome of the client's own.
pub fn ended(result: Word, not_ready: Vec<String>, agent: Option<OutcomeAgent>) -> Outcome {
    Outcome { result, failed: Vec::new(), not_ready, notes: Vec::new(), agent }
}

fn finish(
    wait: &Wait<'_>,
    heard: &mut Heard,
    outcome: &Outcome,
    began: Instant,
) -> Result<u8, Refusal> {
    let Heard { story, progress, .. } = heard;
    let count = match story.at_goal(wait.goal) {
        1 => "1 service".to_owned(),
        count => format!("{count} services"),
    };
    let took = in_short(began.elapsed());
    let well = matches!(
        (outcome.result, wait.goal),
        (Word::Ready, Goal::Ready) | (Word::Down, Goal::Down)
    );
    progress.end(story, "");
    for note in &outcome.notes {
        progress.say(note);
    }
    match outcome.result {
        _ if well && wait.goal == Goal::Down => {
            for words in also_down(wait, story) {
                progress.say(&words);
            }
            match story.at_goal(Goal::Down) {
                0 => progress.say("all of it was down already"),
                _ => progress.say(&format!("{count} down in {took}")),
            }
            Ok(0)
        }
        _ if well => {
            for words in checks_that_fail(story) {
                progress.say(&words);
            }
            progress.say(&format!("{count} ready in {took}{}", listening(story)));
            Ok(0)
        }
        Word::Failed => Err(failed(outcome, story)),
        Word::Interrupted | Word::Replaced if outcome.not_ready.is_empty() => {
            Err(cut_short(wait, story, outcome.result, began))
        }
        Word::Ready | Word::Down | Word::Interrupted | Word::Timeout | Word::Replaced => {
            let names = outcome.not_ready.join(", ");
            let goal = wait.goal.in_word();
            let why =
                format!("another request ended this one before its services were {goal}: {names}");
            Err(Refusal::new(Code::ServiceFailed, why)
                .hint("hearth status")
                .details(json!({ "failed": outcome.failed, "not_ready": outcome.not_ready })))
        }
    }
}

/// A line a service that has ports: where it listens.
fn listening(story: &Story) -> String {
    let addresses = story.addresses();
    let width = addresses.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    addresses.iter().map(|(name, address)| format!("\n  {name:<width$}  {address}")).collect()
}

/// Checks that nothing needs do not keep the others from being ready.
fn checks_that_fail(story: &Story) -> Vec<String> {
    let failing =
        |node: &&crate::story::Node| node.kind == Kind::Check && node.state == State::Unhealthy;
    let words = |node: &crate::story::Node| {
        format!("check `{}` does not hold ({}); nothing waits for it", node.name, story.words(node))
    };
    story.nodes.iter().filter(failing).map(words).collect()
}

/// Who went down and was not named.
fn also_down(wait: &Wait<'_>, story: &Story) -> Vec<String> {
    if wait.named.is_empty() {
        return Vec::new();
    }
    let named: BTreeSet<String> = wait.named.iter().cloned().collect();
    let dependents = story.sheet.dependents(&named);
    let others = story.nodes.iter().filter(|node| node.moved && !named.contains(&node.name));
    let (need, rest): (Vec<&str>, Vec<&str>) =
        others.map(|node| node.name.as_str()).partition(|name| dependents.contains(*name));
    let mut words = Vec::new();
    if !need.is_empty() {
        let of = wait.named.join(", ");
        words.push(format!("also taken down, for they need {of}: {}", need.join(", ")));
    }
    if !rest.is_empty() {
        words.push(format!("also taken down: {}", rest.join(", ")));
    }
    words
}

fn names_left(story: &Story, goal: Goal) -> Vec<String> {
    story.left(goal).into_iter().map(|node| node.name.clone()).collect()
}

/// Who is not there, in what state, and why.
fn late(wait: &Wait<'_>, story: &Story) -> Refusal {
    let left = story.left(wait.goal);
    let why: Map<String, Value> =
        left.iter().map(|node| (node.name.clone(), story.brief(node).into())).collect();
    let states: Vec<_> =
        left.iter().map(|node| format!("{} ({})", node.name, story.brief(node))).collect();
    let timeout = wait.wish.timeout.map(hearth_config::duration::format).unwrap_or_default();
    let goal = wait.goal.in_word();
    let states = match states.is_empty() {
        true => "nothing was heard of them by then".to_owned(),
        false => states.join(", "),
    };
    let message = format!("not {goal} within {timeout}: {states}");
    let unasked = !left.is_empty() && left.iter().all(|node| node.state == State::Down);
    let hint = match unasked {
        true => "nobody has asked for them: `hearth up` brings them up",
        false => "they go on meanwhile: `hearth status`, `hearth logs NAME`",
    };
    Refusal::new(Code::Timeout, message)
        .hint(hint)
        .details(json!({ "not_ready": names_left(story, wait.goal), "why": why }))
}

/// The agent went away in the middle, and tells nothing of services.
fn cut_short(wait: &Wait<'_>, story: &Story, result: Word, began: Instant) -> Refusal {
    let why = match result {
        Word::Replaced => "the agent was replaced again and again while this waited",
        _ => "the agent was told to stop while this waited",
    };
    let left = names_left(story, wait.goal);
    let message = format!("{why}; not {} yet: {}", wait.goal.in_word(), left.join(", "));
    Refusal::new(Code::Stopping, message)
        .hint("services and what is wanted of them stay: `hearth status`")
        .details(json!({
            "state": "stopping",
            "duration_ms": refuse::milliseconds(began.elapsed()),
            "reason": why,
            "log": wait.context.home.log(),
            "not_ready": left,
        }))
}

/// What failed for good: each with its exit, its words and its last lines; and who waits for it.
fn failed(outcome: &Outcome, story: &Story) -> Refusal {
    let mut message = String::new();
    for (n, failed) in outcome.failed.iter().enumerate() {
        message.push_str(if n == 0 { "" } else { "\n" });
        let is_check =
            |node: &&crate::story::Node| node.name == failed.name && node.kind == Kind::Check;
        let (kind, verb) = match story.nodes.iter().find(is_check) {
            Some(_) => ("check", "does not hold"),
            None => ("service", "failed"),
        };
        message.push_str(&format!("{kind} `{}` {verb}: {}", failed.name, in_words(failed)));
        for line in &failed.log_tail {
            message.push_str("\n  | ");
            message.push_str(&harmless(line));
        }
        let waiting = story.waiting_for(&BTreeSet::from([failed.name.clone()]));
        if !waiting.is_empty() {
            message.push_str(&format!("\n  waiting for it: {}", waiting.join(", ")));
        }
    }
    if outcome.failed.is_empty() {
        message = format!("not ready: {}", outcome.not_ready.join(", "));
    }
    let hint = match outcome.failed.as_slice() {
        [] => "hearth status".to_owned(),
        [first, ..] if first.exit.is_none() && first.log_tail.is_empty() => {
            "hearth status".to_owned()
        }
        [first, ..] => format!("hearth logs {}", first.name),
    };
    Refusal::new(Code::ServiceFailed, message)
        .hint(hint)
        .details(json!({ "failed": outcome.failed, "not_ready": outcome.not_ready }))
}

/// A service's line as it may stand on anybody's terminal: a lone carriage return would put what
/// follows over the beginning of the line, a backspace over what stands before it.
fn harmless(line: &str) -> String {
    let mut bytes = Vec::with_capacity(line.len());
    plain::without_escapes(line.trim_end_matches('\r').as_bytes(), &mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
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

/// A time for people: `45 ms`, `1.2 s`.
fn in_short(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        format!("{} ms", took.as_millis())
    } else {
        format!("{:.1} s", took.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_last_words_can_not_steer_the_terminal() {
        assert_eq!(harmless("\x1b[2J\x1b]0;title\x07plain\r"), "plain");
        assert_eq!(
            harmless("real\rfake\x08\tend\u{9b}2J"),
            "real\u{fffd}fake\u{fffd}\tend\u{fffd}2J"
        );
    }
}
