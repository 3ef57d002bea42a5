//! `hearth up`: want up, wait until ready.

use clap::{ArgMatches, Command};
use hearth_api::UpRequest;
use hearth_lifecycle::Request;

use crate::agent::Wish;
use crate::args::{self, Context};
use crate::refuse::Refusal;
use crate::stream::{Goal, Wait};
use crate::{capture, project};

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("up").about("Bring services up, in order, and wait until they are ready").args([
        args::services(),
        args::flag("no-wait", "Return as soon as the agent has taken the request"),
        args::timeout(),
    ])
}

/// A faulty file, or a name that is not in it, is refused before an agent is started.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let place = project::required(context)?;
    let names = args::names(matches);
    project::check_names(&project::load(&place)?, &names)?;
    let wait = Wait {
        context,
        wish: Wish { start: true, timeout: args::timeout_of(matches), ..Wish::default() },
        request: post("/v1/up", &capture::request(place.id, names))?.repeatable(),
        goal: Goal::Ready,
        no_wait: matches.get_flag("no-wait"),
        cold: None,
    };
    wait.run()
}

/// The request that carries a capture.
pub fn post(path: &str, body: &UpRequest) -> Result<Request, Refusal> {
    let body = serde_json::to_vec(body)
        .map_err(|error| Refusal::new(hearth_api::Code::Internal, error.to_string()))?;
    Ok(Request::post(path, body))
}
