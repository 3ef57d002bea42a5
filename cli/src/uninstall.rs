//! `hearth uninstall`: takes back what `install` has done. Services and logs stay as they are.
//!
//! Kept true here: services that run are not left without an agent: one is started as verbs do it.

use std::time::Duration;

use clap::{ArgMatches, Command};
use hearth_api::reply::Services;
use hearth_api::{Code, Want};
use hearth_lifecycle::unit::{self, Installed};
use hearth_lifecycle::{Request, typed};

use crate::agent::{self, Wish};
use crate::args::{self, Context};
use crate::install::{Report, is_our_own_home, tell};
use crate::refuse::Refusal;
use crate::{app, cold, down, trust};

/// What the agent may take to say what runs.
const PATIENCE: Duration = Duration::from_secs(2);

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("uninstall")
        .about("Take the agent from the service manager again; services and logs stay")
        .args([args::flag("services", "End all services first")])
}

/// Nothing installed: done.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    is_our_own_home("uninstall")?;
    let mut report = Report::without_executable(&context.home);
    if unit::in_charge(app(), &context.home).is_none() {
        not_installed(context)?;
        report.print_json(context)?;
        return Ok(0);
    }
    let anything = || anything_runs(context);
    let services = matches.get_flag("services");
    if services && anything() {
        let code = down::everything(context, Wish { start: true, ..Wish::default() })?;
        if code != 0 {
            return Ok(code);
        }
    }
    // Of what was just ended a shim may be about to go: it needs nobody.
    let stay = !services && anything();
    let start = stay && !context.no_spawn && !app().spawn_forbidden();
    let Some(plan) = unit::uninstall(app(), &context.home, start) else { return Ok(0) };
    let carried = plan.carry_out(app(), &context.home, &mut |step, done| {
        report.done(context, step, done);
    });
    if let Err(refused) = carried {
        let done = report.done_in_words().join("\n  ");
        let why = format!("{}\ndone so far:\n  {done}", refused.words);
        return Err(Refusal::new(Code::Internal, why)
            .hint(format!("{}; then `hearth uninstall` goes on from here", refused.remedy)));
    }
    report.print_json(context)?;
    tell(
        context,
        match (stay, start) {
            (true, true) => {
                "uninstalled; services stay up, with an agent that was started for them"
            }
            (true, false) => {
                "uninstalled; services stay up, and no agent was started for them: `hearth daemon up`"
            }
            (false, _) => "uninstalled; verbs start the agent themselves",
        },
    );
    Ok(0)
}

/// Whether somebody has to look after services when the manager's agent has gone. Who lives knows better
/// than the files: of what has just ended they may still speak.
fn anything_runs(context: &Context) -> bool {
    let rows = agent::peek(context, PATIENCE, &Request::get("/v1/services"));
    let rows: Option<Services> = rows.and_then(|rows| serde_json::from_slice(&rows).ok());
    match rows {
        Some(Services { services }) => {
            services.iter().any(|row| row.pid.is_some() || row.want == Some(Want::Up))
        }
        None => cold::any_shim(context) || cold::any_wanted(context),
    }
}

/// Says what is there instead. Errors: a unit that is not known to be this home's, and must not be
/// taken away unasked.
fn not_installed(context: &Context) -> Result<(), Refusal> {
    match unit::installed(app()) {
        Installed::None => tell(context, "nothing is installed"),
        Installed::Masked(path) => {
            tell(context, &format!("nothing is installed ({} is masked)", trust::shown(&path)));
        }
        Installed::Unreadable { path, why } => {
            let why = format!("{} is not one of hearth's: {why}", trust::shown(&path));
            return Err(Refusal::new(Code::BadConfig, why)
                .hint(format!("look at it, then remove it yourself: `rm {}`", typed(&path))));
        }
        Installed::Unit(other) => {
            let (home, typed) = (trust::shown(&other.home), typed(&other.home));
            tell(
                context,
                &format!(
                    "nothing is installed for {}; for {home} there is: `hearth --home {typed} uninstall`",
                    trust::shown(context.home.dir())
                ),
            );
        }
    }
    Ok(())
}
