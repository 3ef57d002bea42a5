//! `hearth disable`: no longer up again after a boot.
//!
//! Kept true here: it needs no file. What was enabled can be disabled although its file is faulty or gone,
//! or its whole directory (`-C`): nobody is to be told at each boot of what can't be helped. Where there
//! is neither a file nor anything enabled, there is no project.

use clap::{ArgMatches, Command};

use crate::args::{self, Context};
use crate::enable::{ask, at_login, say};
use crate::refuse::Refusal;
use crate::{output, project};

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("disable")
        .about("Have services no longer up again after a boot")
        .long_about(
            "Have services no longer up again after a boot. What runs now stays as it is: \
             `hearth down` ends it.",
        )
        .arg(args::services().help("Services and groups; none: all of the project"))
}

/// Goes by what is enabled.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let (project, found) = place(context)?;
    let disabled = ask(context, project, args::names(matches), false)?;
    if !found && disabled.services.is_empty() {
        return Err(project::none(context));
    }
    if context.json {
        output::print_json(&disabled)?;
    }
    let words = match disabled.services.is_empty() {
        true => "nothing of this project is enabled".to_owned(),
        false => format!("no longer up again after a boot: {}", disabled.services.join(", ")),
    };
    say(context, &words);
    if disabled.left == 0 {
        at_login(context, false);
    }
    Ok(0)
}

/// The project, else the directory itself: the agent knows what is enabled there, or above it. One that
/// `-C` names may be gone. And whether it is a project.
fn place(context: &Context) -> Result<(String, bool), Refusal> {
    let gone = context.directory.as_deref().filter(|dir| !dir.exists());
    let directory = match gone {
        Some(dir) => std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()),
        None => match project::find(context)? {
            Some(place) => return Ok((place.id, true)),
            None => {
                let start = project::start(context)?;
                start.canonicalize().unwrap_or(start)
            }
        },
    };
    Ok((project::place(directory)?.id, false))
}
