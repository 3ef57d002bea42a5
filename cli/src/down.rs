//! `hearth down`: want down; returns when the trees are empty.
//!
//! Kept true here: an agent is started for it only where a shim lives, or something is still wanted
//! that the next agent would start; without both nothing runs, and what is down already is done.

use clap::{ArgMatches, Command};
use hearth_api::stream::OutcomeAgent;
use hearth_api::{Code, DownRequest, Line, Outcome};
use hearth_lifecycle::{Ready, Request};

use crate::agent::{self, Wish};
use crate::args::{self, Context};
use crate::refuse::Refusal;
use crate::sheet::Sheet;
use crate::story::Goal;
use crate::stream::Wait;
use crate::{cold, output, project};

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("down").about("End services, and what needs them, with their whole trees").args([
        args::services(),
        args::flag("all", "Those of every project").conflicts_with("services"),
        args::flag("force", "Although sessions hold leases"),
        args::timeout(),
    ])
}

/// Goes by what runs: a faulty file is told in one line, and stops nothing.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let names = args::names(matches);
    let start = cold::any_shim(context) || cold::any_wanted(context);
    let wish = Wish { start, timeout: args::timeout_of(matches), ..Wish::default() };
    let (mut file, mut sheet, mut named) = (None, Sheet::default(), names.clone());
    let project = if matches.get_flag("all") {
        None
    } else if let Some(place) = project::find(context)? {
        file = project::load_or_tell(context, &place);
        if let Some(file) = &file {
            sheet = Sheet::of(file);
            named = project::expand_known(file, &names);
        }
        Some(place.id)
    } else {
        Some(project::that_runs(context, wish)?.id)
    };
    let cold = |ready: &Ready| {
        if let Some(file) = &file {
            project::expand(file, &names)?;
        }
        nothing_runs(context, ready)
    };
    let wait = Wait {
        context,
        wish,
        request: request(project.clone(), named.clone(), matches.get_flag("force"))?,
        project,
        named,
        goal: Goal::Down,
        no_wait: false,
        cold: if start { None } else { Some(&cold) },
    };
    let done = wait.run(sheet)?;
    if done == 0 && cfg!(target_os = "macos") && !context.quiet && !context.json {
        output::tell(
            "hearth: on macOS a process that left its service's process group is not found; `ps` shows it",
        );
    }
    Ok(done)
}

/// Takes everything down: `daemon down --services`.
pub fn everything(context: &Context, wish: Wish) -> Result<u8, Refusal> {
    // Its lines are not the answer of the verb that this is a part of.
    let context = &Context { json: false, home: context.home.clone(), directory: None, ..*context };
    let wait = Wait {
        context,
        wish,
        request: request(None, Vec::new(), true)?,
        project: None,
        named: Vec::new(),
        goal: Goal::Down,
        no_wait: false,
        cold: None,
    };
    wait.run(Sheet::default())
}

/// The request; `project`: `None` is all of them.
pub fn request(
    project: Option<String>,
    services: Vec<String>,
    force: bool,
) -> Result<Request, Refusal> {
    let body = serde_json::to_vec(&DownRequest { project, services, force, session: None })
        .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    Ok(Request::post("/v1/down", body).repeatable())
}

/// No agent, and no shim: so is everything that could be asked for.
fn nothing_runs(context: &Context, ready: &Ready) -> Result<u8, Refusal> {
    if context.json {
        let agent: OutcomeAgent = agent::outcome(ready);
        output::print_json(&Line::Outcome(Outcome {
            result: hearth_api::Result::Down,
            failed: Vec::new(),
            not_ready: Vec::new(),
            notes: Vec::new(),
            agent: Some(agent),
        }))?;
    } else if !context.quiet {
        output::tell("hearth: nothing runs");
    }
    Ok(0)
}
