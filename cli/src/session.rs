//! Which session a verb is in, and `hearth session start|end`.
//!
//! Kept true here: who a session is is never believed of a variable. `HEARTH_SESSION` counts where the
//! agent knows it; one that has ended is passed over, so that a shell that keeps the name of a dead
//! one is no worse off than one without.

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgMatches, Command};
use hearth_api::{Code, SessionRequest, SessionRow, Sessions};
use hearth_lifecycle::Request;
use hearth_process::ProcessId;

use crate::agent::{self, Wish};
use crate::args::{self, Context};
use crate::refuse::{self, Refusal};
use crate::{cold, output};

/// Where a session's name is told to those who are in it.
pub const VARIABLE: &str = "HEARTH_SESSION";

/// Longer than any session's name.
const LONGEST: usize = 64;

/// What `HEARTH_SESSION` says, where that may be a session's name.
pub fn named() -> Option<String> {
    let name = std::env::var(VARIABLE).ok()?;
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (!name.is_empty() && name.len() <= LONGEST && name.bytes().all(letter)).then_some(name)
}

/// The session that a verb is in: that of `HEARTH_SESSION` where it lives, else that of the nearest
/// process above that is one.
pub fn mine(context: &Context, wish: Wish) -> Result<Option<SessionRow>, Refusal> {
    if let Some(name) = named() {
        match agent::fetch(context, wish, &Request::get(at(&name))) {
            Ok((_, body)) => return agent::parse(&body).map(Some),
            Err(refusal) if refusal.code == Code::NotFound => tell_dead(context, &name),
            Err(refusal) => return Err(refusal),
        }
    }
    let (_, body) = agent::fetch(context, wish, &Request::get("/v1/sessions?mine=true"))?;
    let Sessions { sessions } = agent::parse(&body)?;
    Ok(sessions.into_iter().next())
}

/// Registers a process; what was registered already stays the same session.
pub fn register(
    context: &Context,
    wish: Wish,
    asked: &SessionRequest,
) -> Result<SessionRow, Refusal> {
    let (_, body) = agent::fetch(context, wish, &registration(asked)?)?;
    agent::parse(&body)
}

/// Errors: `not-found` where it has ended.
pub fn must_live(context: &Context, wish: Wish, id: &str) -> Result<(), Refusal> {
    agent::fetch(context, wish, &Request::get(at(id))).map(drop)
}

/// The shell that a person types in: the session leader of the controlling terminal. `None`: there is
/// no such terminal, or its leader is not above this process, or another user's.
pub fn leader() -> Option<i64> {
    let own = ProcessId::current();
    hearth_process::terminal_leader(&own).map(|leader| i64::from(leader.pid))
}

/// What is said by `-v` of a session that has ended.
fn tell_dead(context: &Context, name: &str) {
    if context.verbose && !context.quiet {
        output::tell(&format!("hearth: {VARIABLE} names {name}, which has ended: passed over"));
    }
}

/// Its grammar.
pub fn grammar() -> Command {
    let text = |name: &'static str, value: &'static str| {
        let parser = NonEmptyStringValueParser::new();
        Arg::new(name).long(name).value_name(value).value_parser(parser)
    };
    let start = Command::new("start")
        .about("Make a process a session, and print its id; in a script: --pid $$")
        .args([
            args::pid("pid")
                .help("This process, an ancestor of the command; else its parent: who typed it"),
            text("kind", "K").help("What it is: shell, editor, agent, command"),
            text("name", "N").help("Its name for people; else that of its command"),
        ]);
    let end = Command::new("end")
        .about("End a session although its process lives on; what it leased is given back")
        .arg(
            Arg::new("id")
                .value_name("ID")
                .value_parser(NonEmptyStringValueParser::new())
                .help("This one; else the one that the command is in"),
        );
    Command::new("session")
        .about("Begin or end a session: a process that services may be leased to")
        .subcommand_required(true)
        .subcommands([start, end])
}

/// One of its two.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    match matches.subcommand() {
        Some(("start", own)) => start(context, own),
        Some(("end", own)) => end(context, own),
        Some(_) | None => Err(Refusal::usage("start or end?").hint("hearth session --help")),
    }
}

fn start(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let pid = match args::pid_of(matches, "pid") {
        Some(pid) => pid,
        None => parent()?,
    };
    let asked =
        SessionRequest { pid: Some(pid), kind: text("kind"), name: text("name"), cwd: None };
    let wish = Wish { start: true, ..Wish::default() };
    let (_, body) = agent::fetch(context, wish, &registration(&asked)?)
        .map_err(|refusal| not_above(refusal, "hearth session start --pid PID"))?;
    let row: SessionRow = agent::parse(&body)?;
    if context.json {
        output::print_json(&agent::parse::<serde_json::Value>(&body)?)?;
    } else {
        output::print(format!("{}\n", row.id).as_bytes())?;
    }
    Ok(0)
}

/// A pid that is not the caller's to register, with what else may be typed.
pub fn not_above(refusal: Refusal, again: &str) -> Refusal {
    if refusal.code != Code::Forbidden {
        return refusal;
    }
    refusal.hint(format!(
        "name a process of yours that this command is below (`$$` in a script, `$PPID`): `{again}`"
    ))
}

/// Who typed the verb. The verb itself ends at once, and would be no session to anybody.
fn parent() -> Result<i64, Refusal> {
    // SAFETY: it has no arguments and no errors. Not rustix's: outside of our pid namespace it is 0.
    let parent = unsafe { libc::getppid() };
    if parent > 0 {
        return Ok(i64::from(parent));
    }
    Err(Refusal::usage("the parent of this command can't be seen from here: another pid namespace")
        .hint("hearth session start --pid PID, of a process in this one"))
}

fn end(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    // Without an agent there is nobody who holds anything, unless something runs.
    let wish = Wish { start: cold::any_shim(context), ..Wish::default() };
    let id = match matches.get_one::<String>("id") {
        Some(id) => id.clone(),
        None => match mine(context, wish)? {
            Some(row) => row.id,
            None => return Err(in_none()),
        },
    };
    let delete = Request { method: "DELETE", ..Request::get(at(&id)) };
    let (_, mut reply) = agent::ask(context, wish, &delete.repeatable())
        .map_err(|error| refuse::of_call(error, None))?;
    let body = agent::body(&mut reply)?;
    if !reply.is_success() {
        return Err(Refusal::of_reply(reply.status, &body));
    }
    if context.json {
        output::print_json(&agent::parse::<serde_json::Value>(&body)?)?;
    } else if !context.quiet {
        output::tell(&format!("hearth: session {id} has ended; what it leased is given back"));
    }
    Ok(0)
}

fn in_none() -> Refusal {
    Refusal::new(Code::NotFound, "this command is in no session")
        .hint("`hearth sessions` shows all; `hearth session end ID` ends one")
}

fn registration(asked: &SessionRequest) -> Result<Request, Refusal> {
    let body = serde_json::to_vec(asked)
        .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    Ok(Request::post("/v1/sessions", body).repeatable())
}

/// The path of one session; whatever its name has in it.
fn at(id: &str) -> String {
    let mut path = String::from("/v1/sessions/");
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_s_name_can_not_lead_to_another_route() {
        assert_eq!(at("s-7f3k2a"), "/v1/sessions/s-7f3k2a");
        assert_eq!(at("../up?x#y"), "/v1/sessions/%2E%2E%2Fup%3Fx%23y");
    }

    #[test]
    fn who_is_not_above_is_told_what_to_type() {
        let refused = Refusal::new(Code::Forbidden, "pid 1 is no ancestor");
        let told = not_above(refused, "hearth up --lease-to PID");
        assert_eq!((told.code.exit(), told.message.as_str()), (2, "pid 1 is no ancestor"));
        assert!(told.hint.contains("hearth up --lease-to PID"), "{}", told.hint);
        let other = not_above(Refusal::new(Code::NotFound, "gone").hint("as it was"), "x");
        assert_eq!(other.hint, "as it was");
    }
}
