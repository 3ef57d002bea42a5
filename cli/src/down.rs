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
use crate::stream::{Heard, Wait};
use crate::verdict::Told;
use crate::{cold, output, project, session};

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
    let force = matches.get_flag("force");
    let typed = if project.is_none() { vec!["--all".to_owned()] } else { names.clone() };
    let ours = session::named();
    let asked = |session: Option<&str>| request(project.clone(), named.clone(), force, session);
    let mut wait = Wait {
        context,
        wish,
        request: asked(ours.as_deref())?,
        project: project.clone(),
        named: named.clone(),
        goal: Goal::Down,
        no_wait: false,
        cold: if start { None } else { Some(&cold) },
    };
    let mut heard = Heard::new(context, Goal::Down, sheet);
    let mut told = wait.told(&mut heard)?;
    // Which session this is in is asked for only where it matters: others pay nothing for it.
    if may_be_ours(&told, ours.is_some())
        && let Ok(mine) = session::mine(context, wish)
        && let mine = mine.map(|row| row.id)
        && ours != mine
    {
        wait.request = asked(mine.as_deref())?;
        told = wait.told(&mut heard)?;
    }
    told.done = told.done.map_err(|refusal| ways_out(refusal, &typed));
    let done = told.end(context)?;
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
        request: request(None, Vec::new(), true, None)?,
        project: None,
        named: Vec::new(),
        goal: Goal::Down,
        no_wait: false,
        cold: None,
    };
    wait.run(Sheet::default())
}

/// Whether it was refused for what another look at our own session may mend: sessions hold what was to
/// go down, or the one that was named has ended.
fn may_be_ours(told: &Told, named: bool) -> bool {
    told.done.as_ref().is_err_and(|refusal| match refusal.code {
        Code::Leased => true,
        Code::NotFound => named,
        _ => false,
    })
}

/// The refusal of what is leased, with both that may be typed next.
fn ways_out(refusal: Refusal, typed: &[String]) -> Refusal {
    if refusal.code != Code::Leased {
        return refusal;
    }
    let leased = refusal.details["leased"].as_array().cloned().unwrap_or_default();
    let mut sessions: Vec<&str> = leased.iter().filter_map(|one| one["session"].as_str()).collect();
    sessions.sort_unstable();
    sessions.dedup();
    let ends: Vec<String> =
        sessions.iter().map(|id| format!("`hearth session end {id}`")).collect();
    let names: String = typed.iter().map(|name| format!("{name} ")).collect();
    let what = if ends.len() > 1 { "sessions" } else { "session" };
    match ends.is_empty() {
        true => refusal,
        false => refusal.hint(format!(
            "`hearth down {names}--force` takes it all the same; {} ends the {what}",
            ends.join(", ")
        )),
    }
}

/// The request; `project`: `None` is all of them.
pub fn request(
    project: Option<String>,
    services: Vec<String>,
    force: bool,
    session: Option<&str>,
) -> Result<Request, Refusal> {
    let session = session.map(str::to_owned);
    let body = serde_json::to_vec(&DownRequest { project, services, force, session })
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_leased_is_refused_with_both_ways_out() {
        let leased = |sessions: &[&str]| {
            let leased: Vec<_> = sessions.iter().map(|id| json!({ "session": id })).collect();
            let refusal =
                Refusal::new(Code::Leased, "db is leased by zsh (pid 7)").hint("as it was");
            refusal.details(json!({ "leased": leased }))
        };
        let typed = ["db".to_owned(), "web".to_owned()];
        assert_eq!(
            ways_out(leased(&["s-a", "s-a"]), &typed).hint,
            "`hearth down db web --force` takes it all the same; `hearth session end s-a` ends the session"
        );
        let two = ways_out(leased(&["s-a", "s-b"]), &[]).hint;
        assert!(two.starts_with("`hearth down --force` "), "{two}");
        assert!(
            two.ends_with("`hearth session end s-a`, `hearth session end s-b` ends the sessions"),
            "{two}"
        );
        assert_eq!(ways_out(leased(&[]), &typed).hint, "as it was");
        let other = ways_out(Refusal::new(Code::NotFound, "").hint("as it was"), &typed);
        assert_eq!(other.hint, "as it was");
    }
}
