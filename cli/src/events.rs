//! `hearth events`: everything that happens, as it happens.
//!
//! Kept true here: nothing is told twice and nothing left out while the agent goes on; where another
//! one takes its place, the stream goes on there, and says that something may be missing. Only an
//! agent that stops ends it.

use std::time::SystemTime;

use clap::{ArgMatches, Command};
use hearth_api::event::EndReason;
use hearth_api::{Code, Event};
use hearth_lifecycle::Request;
use rustix::event::PollFd;
use serde_json::json;

use crate::agent::{self, Wish};
use crate::args::Context;
use crate::lines::{Bell, Lines, Next, Until};
use crate::refuse::{self, Refusal};
use crate::sse::{Decoder, Raw};
use crate::telling::Teller;
use crate::{interrupt, output};

/// How often in a row a stream may break off before it has said anything.
const BROKEN: usize = 5;

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("events").about("Show what happens, as it happens: in all projects").after_help(
        "First a line on how things are, then one for every change of a service, a session, a lease \
         or a node's health, in whatever project; with --json one JSON object a line, {\"event\", \
         \"id\", \"data\"}. It goes on at the next agent where the agent is replaced, and ends when \
         the agent stops (exit code 3) or by Ctrl-C (130).",
    )
}

/// Until Ctrl-C, until nobody reads, or until the agent stops.
pub fn run(context: &Context, _: &ArgMatches) -> Result<u8, Refusal> {
    let bell = Bell::new().map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    let mut telling = Telling {
        context,
        teller: Teller { color: output::color(context), verbose: context.verbose },
        reader: output::watched(),
        last: None,
    };
    let mut broken = 0;
    loop {
        let mut request = Request::get("/v1/events");
        request.headers.extend(telling.last.clone().map(|last| ("last-event-id", last)));
        let wish = Wish { start: true, ..Wish::default() };
        let asked = agent::ask(context, wish, &request);
        let (ready, mut reply) = asked.map_err(|error| refuse::of_call(error, None))?;
        if !reply.is_success() {
            let body = agent::body(&mut reply)?;
            return Err(Refusal::of_reply(reply.status, &body));
        }
        let log = ready.log.clone();
        let (how, has_said) = telling.tell(&Lines::of(reply, &bell))?;
        broken = if has_said { 0 } else { broken + 1 };
        match how {
            How::Interrupted => return Ok(interrupt::EXIT),
            How::Ended(EndReason::Replaced) => {}
            How::Ended(EndReason::Stopping) => return Err(stopping(&log)),
            How::Broken if broken < BROKEN => {
                if !context.quiet {
                    output::tell("hearth: the agent is gone without a word; going on at the next");
                }
            }
            How::Broken => {
                let why = "the agent ends the stream before it says anything";
                return Err(Refusal::new(Code::Unresponsive, why).hint("hearth daemon logs"));
            }
        }
    }
}

/// How a stream ended.
enum How {
    Ended(EndReason),
    Broken,
    Interrupted,
}

struct Telling<'a> {
    context: &'a Context,
    teller: Teller,
    /// Stdout, where its reader may go away.
    reader: Option<PollFd<'static>>,
    /// The id of the last event that was written.
    last: Option<String>,
}

impl Telling<'_> {
    /// Writes what comes; how it ended, and whether anything came.
    fn tell(&mut self, lines: &Lines<'_>) -> Result<(How, bool), Refusal> {
        let (mut decoder, mut has_said) = (Decoder::default(), false);
        loop {
            let line = match lines.next(Until::default(), &[], self.reader.clone()) {
                Next::Line(line) => line,
                Next::End => return Ok((How::Broken, has_said)),
                Next::Interrupted => return Ok((How::Interrupted, has_said)),
                Next::Late | Next::Tick | Next::Other => continue,
            };
            let Some(raw) = decoder.line(&line) else { continue };
            has_said = true;
            let ended = self.write(&raw)?;
            self.last = raw.id.or(self.last.take());
            if let Some(reason) = ended {
                return Ok((How::Ended(reason), true));
            }
        }
    }

    /// Writes one; the reason, where it is the last.
    fn write(&self, raw: &Raw) -> Result<Option<EndReason>, Refusal> {
        let line = in_json(raw);
        // One of a later version may not be known.
        let event = serde_json::from_str::<Event>(&line).ok();
        match self.context.json {
            true => output::print(format!("{line}\n").as_bytes())?,
            false => {
                let line = self.teller.line(raw, event.as_ref(), SystemTime::now());
                output::print(line.as_bytes())?;
            }
        }
        Ok(match event {
            Some(Event::End(end)) => Some(end.reason),
            Some(_) | None => None,
        })
    }
}

/// `{"event":...,"id":...,"data":...}`; the data as the agent wrote it.
fn in_json(raw: &Raw) -> String {
    let Raw { name, id, data } = raw;
    format!("{{\"event\":{},\"id\":{},\"data\":{data}}}", json!(name), json!(id))
}

fn stopping(log: &std::path::Path) -> Refusal {
    let why = "the agent stops, and with it its events";
    Refusal::new(Code::Stopping, why).hint("`hearth events` starts the next one").details(json!({
        "state": "stopping", "duration_ms": null, "reason": why, "log": log,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_has_the_data_as_it_came() {
        let raw = Raw { name: "a\"b".into(), id: None, data: "{\"z\":1,\"a\":2.0}".into() };
        assert_eq!(in_json(&raw), r#"{"event":"a\"b","id":null,"data":{"z":1,"a":2.0}}"#);
    }
}
