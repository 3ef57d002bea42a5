//! How a verb gets its agent, and what it tells about it.
//!
//! Kept true here: starting one is allowed by the contract's list alone, `--timeout` bounds getting
//! one too, and an agent older than this command is told in one line on stderr.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use hearth_api::{AgentRow, reply::Services, stream::OutcomeAgent};
use hearth_lifecycle::{
    CallError, Client, Options, Ready, Reply, Request, State, Version, is_older,
};

use crate::args::Context;
use crate::refuse::{self, Refusal};
use crate::{app, output};

/// What a verb allows for getting its agent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// Whether one may be started.
    pub start: bool,
    /// Bounds it.
    pub timeout: Option<Duration>,
    /// Since when, for a verb that asks several times; absent: since it is asked.
    pub began: Option<Instant>,
    /// Start one although a recent failure is on record.
    pub past_backoff: bool,
}

impl Wish {
    /// The same with what is left of its time.
    fn now(self) -> Self {
        let passed = self.began.map(|began| began.elapsed()).unwrap_or_default();
        let timeout = self.timeout.map(|timeout| timeout.saturating_sub(passed));
        Self { timeout, began: None, ..self }
    }
}

/// The client of the home that was named.
pub fn client(context: &Context) -> Client {
    Client::at(app(), context.home.clone())
}

/// Sends `request`, in the same write as the question for the agent's version.
pub fn ask(
    context: &Context,
    wish: Wish,
    request: &Request,
) -> Result<(Arc<Ready>, Reply), CallError> {
    let (wish, say) = (wish.now(), say(context));
    let answer = client(context).call(&options(context, wish, &say), request)?;
    tell(context, &answer.0);
    Ok(answer)
}

/// The same, where nothing but the whole answer will do.
pub fn fetch(
    context: &Context,
    wish: Wish,
    request: &Request,
) -> Result<(Arc<Ready>, Vec<u8>), Refusal> {
    let wish = wish.now();
    let (ready, mut reply) =
        ask(context, wish, request).map_err(|error| refuse::of_call(error, wish.timeout))?;
    let body = body(&mut reply)?;
    if reply.is_success() { Ok((ready, body)) } else { Err(Refusal::of_reply(reply.status, &body)) }
}

/// All rows that the agent has, for finding a project whose file is gone.
pub fn all_rows(context: &Context, wish: Wish) -> Result<Services, Refusal> {
    let (_, body) = fetch(context, wish, &Request::get("/v1/services"))?;
    parse(&body)
}

/// The answer to a question for which no agent is started, nothing is told, and no more than
/// `patience` is spent; `None`: there is none.
pub fn peek(context: &Context, patience: Duration, request: &Request) -> Option<Vec<u8>> {
    let options = Options { no_spawn: true, timeout: Some(patience), ..Options::default() };
    let (_, mut reply) = client(context).call(&options, request).ok()?;
    let body = reply.bytes().ok()?;
    reply.is_success().then_some(body)
}

/// Makes sure that an agent answers.
pub fn ready(context: &Context, wish: Wish) -> Arc<Ready> {
    let say = say(context);
    let ready = client(context).ensure_ready(&options(context, wish, &say));
    tell(context, &ready);
    ready
}

/// Puts an agent of this executable into the place of the one that lives, or starts the first. With
/// `force`, one that does not answer is killed.
pub fn replace(context: &Context, wish: Wish, force: bool) -> Result<Arc<Ready>, CallError> {
    let say = say(context);
    let ready = client(context).replace(&options(context, wish, &say), force)?;
    tell(context, &ready);
    Ok(ready)
}

/// Reads the rest of a reply.
pub fn body(reply: &mut Reply) -> Result<Vec<u8>, Refusal> {
    reply.bytes().map_err(|error| refuse::of_call(CallError::Broken(error), None))
}

/// Understands an answer.
pub fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let why = format!("the agent's answer cannot be read: {error}");
        Refusal::new(hearth_api::Code::Internal, why).hint("hearth daemon restart")
    })
}

/// The agent's row in `status --json`.
pub fn row(ready: &Ready) -> AgentRow {
    let version = ready.version.as_ref();
    AgentRow {
        state: ready.state.as_str().to_owned(),
        pid: version.map(|version| version.pid),
        version: version.map(|version| version.version.clone()),
        instance: version.map(|version| version.instance.clone()),
        uptime_s: version.and_then(uptime),
    }
}

/// The agent in an outcome.
pub fn outcome(ready: &Ready) -> OutcomeAgent {
    OutcomeAgent {
        state: ready.state.as_str().to_owned(),
        duration_ms: refuse::milliseconds(ready.duration),
        reason: ready.reason.clone(),
    }
}

/// A path with a query, its values encoded; what it has of one stays.
pub fn path(path: &str, query: &[(&str, &str)]) -> String {
    use std::fmt::Write;
    let mut out = path.to_owned();
    for (name, value) in query {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(name);
        out.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    out.push(char::from(byte));
                }
                _ => {
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
    }
    out
}

fn uptime(version: &Version) -> Option<f64> {
    let started = hearth_api::time::parse_rfc3339(&version.started_at)?;
    let up = SystemTime::now().duration_since(started).unwrap_or_default();
    Some((up.as_secs_f64() * 1000.0).round() / 1000.0)
}

fn options<'a>(context: &Context, wish: Wish, say: &'a Option<fn(&str)>) -> Options<'a> {
    Options {
        no_spawn: context.no_spawn || !wish.start,
        timeout: wish.timeout,
        past_backoff: wish.past_backoff,
        on_wait: say.as_ref().map(|say| say as &(dyn Fn(&str) + Sync)),
    }
}

/// A wait is named on a terminal alone. The terminal is looked for when there is something to say:
/// a warm verb does not pay for it.
fn say(context: &Context) -> Option<fn(&str)> {
    fn on_terminal(words: &str) {
        if std::io::stderr().is_terminal() {
            output::tell(&format!("hearth: waiting: {words}"));
        }
    }
    (!context.quiet).then_some(on_terminal as fn(&str))
}

fn tell(context: &Context, ready: &Ready) {
    /// A verb that asks several times says it once; but each agent that it starts.
    static TOLD: AtomicBool = AtomicBool::new(false);
    let again = TOLD.swap(true, Ordering::Relaxed) && ready.state != State::Started;
    if context.quiet || again {
        return;
    }
    let older = |version: &Version| is_older(&version.version, app().version());
    if ready.version.as_ref().is_some_and(older)
        && let Some(skew) = ready.skew(app(), &context.home)
    {
        output::tell(&format!("hearth: {skew}"));
    }
    // Silent when warm, unless asked; one line when something was started.
    let started = ready.state == State::Started && !context.json;
    if started || context.verbose {
        output::tell(&format!("hearth: {}", ready.started()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded() {
        assert_eq!(
            path("/v1/logs", &[("project", "/a b&c/é"), ("n", "5")]),
            "/v1/logs?project=/a%20b%26c/%C3%A9&n=5"
        );
        assert_eq!(path(&path("/v1/wait", &[("a", "?")]), &[("b", "1")]), "/v1/wait?a=%3F&b=1");
    }
}
