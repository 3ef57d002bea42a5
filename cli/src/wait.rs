//! `hearth wait`: until services are ready, whoever brings them up.

use clap::{ArgMatches, Command};
use hearth_lifecycle::Request;

use crate::agent::{self, Wish};
use crate::args::{self, Context};
use crate::project;
use crate::refuse::Refusal;
use crate::story::Goal;
use crate::stream::Wait;

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("wait").about("Wait until services are ready; brings nothing up").args([
        args::services().required(true).num_args(1..).help("Services and groups"),
        args::timeout(),
    ])
}

/// Wants nothing: what nobody brings up is waited for until somebody does.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let wish = Wish { start: true, timeout: args::timeout_of(matches), ..Wish::default() };
    let about = project::about(context, wish, &args::names(matches))?;
    let mut query = vec![("project", about.place.id.as_str())];
    query.extend(about.named.iter().map(|name| ("service", name.as_str())));
    let wait = Wait {
        context,
        wish,
        request: Request::get(agent::path("/v1/wait", &query)),
        project: Some(about.place.id.clone()),
        named: about.named,
        goal: Goal::Ready,
        no_wait: false,
        cold: None,
    };
    wait.run(about.sheet)
}
