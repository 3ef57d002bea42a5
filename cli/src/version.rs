//! `hearth version`: this command's, and that of the agent, where one is up.

use std::time::Duration;

use clap::{ArgMatches, Command};
use serde_json::json;

use crate::agent::{self, Wish};
use crate::args::Context;
use crate::refuse::Refusal;
use crate::{app, output};

/// An agent that does not answer is not worth more.
const PATIENCE: Duration = Duration::from_secs(1);

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("version").about("Show the versions of this command and of the agent")
}

/// Never starts an agent.
pub fn run(context: &Context, _: &ArgMatches) -> Result<u8, Refusal> {
    let ready = agent::ready(context, Wish { timeout: Some(PATIENCE), ..Wish::default() });
    let (min, max) = app().api_range();
    if context.json {
        output::print_json(&json!({
            "version": app().version(),
            "api": { "min": min, "max": max },
            "agent": ready.version.as_ref().map(|version| json!({
                "version": version.version, "api": version.api, "pid": version.pid,
            })),
        }))?;
    } else {
        let agent = match &ready.version {
            Some(version) => format!("agent {} (pid {})", version.version, version.pid),
            None => format!("agent {}", ready.state.as_str()),
        };
        output::print(format!("hearth {}\n{agent}\n", app().version()).as_bytes())?;
    }
    Ok(0)
}
