//! `hearth enable`: up again when the agent starts after a boot, or after its user was logged out.
//!
//! Kept true here: what runs now stays as it is, and nothing of this shell is kept: after a boot the
//! environment comes from files alone. When that is, is said: at login where a unit is in charge, else
//! with the first verb.

use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};
use hearth_api::{Code, EnableRequest, Enabled};
use hearth_lifecycle::{Request, unit};

use crate::agent::{self, Wish};
use crate::args::{self, Context};
use crate::project;
use crate::refuse::Refusal;
use crate::{app, output, up};

/// The service manager is given so long; it has no more to do than to write a link.
const MANAGER: Duration = Duration::from_secs(5);

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("enable")
        .about("Have services up again when the agent starts after a boot")
        .long_about(
            "Have services up again when the agent starts after a boot, or after a logout that took \
             them down. Their environment then comes from files alone: env_file, env, and what the \
             agent itself has (PATH, HOME, LANG and the like), never from a shell. What runs now \
             stays as it is.",
        )
        .arg(args::services().help("Services and groups; none: all services that the file enables"))
}

/// A faulty file, or a name that is not in it, is refused before an agent is started.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let place = project::required(context)?;
    let names = args::names(matches);
    let file = project::load(&place)?;
    project::expand(&file, &names)
        .map_err(|refusal| up::loose(context, &place, &names).unwrap_or(refusal))?;
    let enabled = ask(context, place.id, names, true)?;
    if context.json {
        output::print_json(&enabled)?;
    }
    if enabled.services.is_empty() {
        say(context, &format!("nothing to enable: {} has no service", file.file.display()));
    } else {
        let names = enabled.services.join(", ");
        say(
            context,
            &format!("up again after a boot, with an environment from files only: {names}"),
        );
        at_login(context, true);
    }
    Ok(0)
}

/// Asks the agent.
pub fn ask(
    context: &Context,
    project: String,
    services: Vec<String>,
    enabled: bool,
) -> Result<Enabled, Refusal> {
    let body = serde_json::to_vec(&EnableRequest { project, services, enabled })
        .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    let wish = Wish { start: true, ..Wish::default() };
    let request = Request::post("/v1/enable", body).repeatable();
    let (_, body) = agent::fetch(context, wish, &request)?;
    agent::parse(&body)
}

/// One line on stderr.
pub fn say(context: &Context, words: &str) {
    if !context.quiet {
        output::tell(&format!("hearth: {words}"));
    }
}

/// Has the manager of an installed unit start the agent at login, or no longer; says when it starts.
pub fn at_login(context: &Context, at_login: bool) {
    let Some(unit) = unit::in_charge(app(), &context.home) else {
        if at_login {
            say(
                context,
                "no unit is installed: they come up with the first verb after a boot; \
                 `hearth install` has them come up at login",
            );
        }
        return;
    };
    let done = unit.at_login(at_login, Instant::now() + MANAGER);
    match (done, at_login) {
        (Ok(()), true) => say(context, &format!("{} starts the agent at login", unit.name)),
        (Ok(()), false) => {}
        (Err(refused), true) => say(
            context,
            &format!(
                "they come up with the first verb after a boot, and not at login: {refused} ({})",
                refused.remedy
            ),
        ),
        (Err(refused), false) => say(
            context,
            &format!("the agent starts at login nevertheless: {refused} ({})", refused.remedy),
        ),
    }
}
