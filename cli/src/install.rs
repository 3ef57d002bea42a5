//! `hearth install`: hands the agent to the user's service manager.
//!
//! Kept true here: what is refused has written nothing, not even the home; what is printed by `--dry-run`
//! is what is done, and it is printed also where it would be refused for want of a manager, or in CI:
//! to look harms nobody. A failure half-way says what was done and how to go on or back. A project that is not well is told
//! and fails no install: it is not what was installed.

mod checks;
mod report;

use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};
use hearth_api::Code;
use hearth_lifecycle::unit::{self, Done, Obstacle, Step, Wanted};
use serde_json::json;

pub use self::report::Report;
use crate::args::{self, Context};
use crate::finding::Finding;
use crate::refuse::Refusal;
use crate::{app, output};

/// How long a login shell may take to tell its environment.
const SHELL: Duration = Duration::from_secs(5);
/// How long the manager may take to say how it stands.
const ASKING: Duration = Duration::from_secs(8);

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("install")
        .about("Have the service manager run the agent: it is there from login on")
        .args([
            args::flag("dry-run", "Print every file and command, and do nothing"),
            args::flag(
                "linger",
                "Keep the service manager when you log out (loginctl enable-linger)",
            ),
            args::flag(
                "force",
                "Also in CI; write edited units anew, and keep what they were as .bak",
            ),
        ])
}

/// Checks, then the plan, then whether the agent answers.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let (force, dry) = (matches.get_flag("force"), matches.get_flag("dry-run"));
    let in_ci = match in_ci(force) {
        Some(refusal) if !dry => return Err(refusal),
        in_ci => in_ci,
    };
    is_our_own_home("install")?;
    let executable = unit::executable(app())
        .map_err(|refused| Refusal::new(Code::Forbidden, refused.words).hint(refused.remedy))?;
    let linger = matches.get_flag("linger");
    if linger {
        checks::can_linger()?;
    }
    // Before a login shell is asked: that takes longest. Made is the home when nothing is in the way.
    context.home.look()?;
    let environment = unit::environment(app(), SHELL);
    let wanted = Wanted {
        kind: unit::KIND,
        home: context.home.clone(),
        executable: executable.path.clone(),
        environment: environment.variables.clone(),
    };
    let until = Instant::now() + ASKING;
    let (mut plan, unreached) =
        unit::would_install(app(), &wanted, force, until).map_err(refusal)?;
    let unreached = match unreached.map(|refused| refusal(Obstacle::Manager(refused))) {
        Some(refusal) if !dry => return Err(refusal),
        unreached => unreached,
    };
    if linger {
        let command = ["loginctl", "enable-linger"].map(str::to_owned).to_vec();
        plan.steps.push(Step::Run { command, may_fail: false });
    }
    let mut report = Report::new(&context.home, &executable.path);
    report.found(
        executable
            .doubts
            .into_iter()
            .map(|doubt| Finding::warning("executable", doubt.words, doubt.remedy)),
    );
    report.found([checks::of_environment(&environment)]);
    if dry {
        report.found(in_ci.into_iter().chain(unreached).map(would_be_refused));
        report.planned(&plan);
        return report.print_plan(context, &plan);
    }
    context.home.prepare()?;
    report.told_edited(&plan);
    report.tell_findings(context);
    let carried = plan.carry_out(app(), &context.home, &mut |step, done| {
        report.done(context, step, done);
    });
    if let Err(refused) = carried {
        return Err(half_way(&report, refused));
    }
    checks::health(context, &mut report)?;
    if !linger {
        report.found(checks::hint_about_linger());
    }
    report.end(context, &plan)
}

/// Why there is to be no install in CI, where this is one and nobody insists.
fn in_ci(force: bool) -> Option<Refusal> {
    let name = unit::in_ci().filter(|_| !force)?;
    let why = format!("this is CI ({name} is set), where nobody logs in: nothing was installed");
    let refusal = Refusal::usage(why);
    Some(refusal.hint("verbs start the agent themselves; if it is meant: `hearth install --force`"))
}

/// What a dry run tells of a refusal: it has shown what there is to see.
fn would_be_refused(refusal: Refusal) -> Finding {
    let why = refusal.message.trim_end_matches(": nothing was installed");
    let message =
        format!("an install would be refused: {}", why.trim_end_matches("; nothing was installed"));
    Finding::warning("refused", message, refusal.hint)
}

/// `sudo hearth install` would leave root's units in a person's home. `verb` is what was typed.
pub fn is_our_own_home(verb: &str) -> Result<(), Refusal> {
    let Some((home, owner)) = unit::foreign_home() else { return Ok(()) };
    let ours = rustix::process::geteuid().as_raw();
    let why = format!(
        "{} belongs to uid {}, and this runs as uid {ours}: the units of one user are no business of \
         another's",
        crate::trust::shown(&home),
        owner
    );
    Err(Refusal::new(Code::Forbidden, why)
        .hint(format!("as that user, without sudo: `hearth {verb}`")))
}

fn refusal(obstacle: Obstacle) -> Refusal {
    let code = match &obstacle {
        Obstacle::Manager(_) => Code::ServiceNotReady,
        Obstacle::Foreign(_) => Code::BadConfig,
        Obstacle::OtherHome(_) => Code::AlreadyRunning,
        Obstacle::Path(_) => Code::Blocked,
    };
    let refused = obstacle.refused();
    let why = format!("{}; nothing was installed", refused.words);
    let refusal = Refusal::new(code, why).hint(refused.remedy);
    match code.exit() {
        3 => refusal.of_state(&refused.words),
        _ => refusal,
    }
}

/// What was done stays: it is of use for the next try.
fn half_way(report: &Report, refused: unit::Refused) -> Refusal {
    let done = report.done_in_words();
    let so_far = match done.is_empty() {
        true => "nothing was changed".to_owned(),
        false => format!("done so far:\n  {}", done.join("\n  ")),
    };
    Refusal::new(Code::ServiceNotReady, format!("{}\n{so_far}", refused.words))
        .hint(format!(
            "{}; then `hearth install` goes on from here, and `hearth uninstall` undoes it",
            refused.remedy
        ))
        .of_state(&refused.words)
        .and_details(json!({ "steps": report.steps }))
}

/// Says in one line what an install or an uninstall has come to.
pub fn tell(context: &Context, words: &str) {
    if !context.quiet && !context.json {
        output::tell(&format!("hearth: {words}"));
    }
}

/// How a step went, for people: one line.
pub fn line_of(step: &Step, done: &Done) -> String {
    match done {
        Done::Yes => step.in_words(),
        Done::Failed(refused) => format!("{}: {}", step.in_words(), refused.words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obstacle_has_the_exit_code_of_what_it_is() {
        let refused = || unit::Refused { words: "so".into(), remedy: "do".into() };
        for (obstacle, exit) in [
            (Obstacle::Manager(refused()), 3),
            (Obstacle::Foreign(refused()), 2),
            (Obstacle::OtherHome(refused()), 1),
            (Obstacle::Path(refused()), 3),
        ] {
            let refusal = refusal(obstacle);
            assert_eq!(refusal.code.exit(), exit);
            assert_eq!(
                (refusal.hint.as_str(), refusal.details["reason"] == "so"),
                ("do", exit == 3)
            );
        }
    }
}
