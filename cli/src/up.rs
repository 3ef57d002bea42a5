//! `hearth up`: want up, wait until ready; with `--attach`, stay.

use clap::{ArgMatches, Command};

use crate::agent::Wish;
use crate::args::{self, Context};
use crate::refuse::Refusal;
use crate::sheet::Sheet;
use crate::story::Goal;
use crate::stream::Wait;
use crate::{attach, capture, project};

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("up").about("Bring services up, in order, and wait until they are ready").args([
        args::services().help("Services and groups; none: all services that are enabled"),
        args::flag("attach", "Show their logs; Ctrl-C takes down what this brought up")
            .conflicts_with("no-wait"),
        args::flag("no-wait", "Return as soon as the agent has taken the request"),
        args::timeout(),
    ])
}

/// A faulty file, or a name that is not in it, is refused before an agent is started.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let place = project::required(context)?;
    let names = args::names(matches);
    let file = project::load(&place)?;
    let named = project::expand(&file, &names)?;
    let wait = Wait {
        context,
        wish: Wish { start: true, timeout: args::timeout_of(matches), ..Wish::default() },
        request: capture::up("/v1/up", &capture::request(place.id.clone(), named.clone()))?
            .repeatable(),
        project: Some(place.id),
        named,
        goal: Goal::Ready,
        no_wait: matches.get_flag("no-wait"),
        cold: None,
    };
    let sheet = Sheet::of(&file);
    if matches.get_flag("attach") { attach::run(&wait, sheet) } else { wait.run(sheet) }
}
