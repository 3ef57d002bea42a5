//! `hearth up`: want up, wait until ready.

use clap::{ArgMatches, Command};
use hearth_api::{Code, UpRequest};
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

/// So large a body an agent takes.
const LARGEST: usize = 1024 * 1024;

/// The request that carries a capture.
pub fn post(path: &str, request: &UpRequest) -> Result<Request, Refusal> {
    let body = serde_json::to_vec(request)
        .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    if body.len() > LARGEST {
        return Err(too_large(request));
    }
    Ok(Request::post(path, body))
}

/// It is the environment: nothing else in it grows. Named is what takes most of it.
fn too_large(request: &UpRequest) -> Refusal {
    let mut sizes: Vec<_> = request.env.iter().map(|(name, value)| (value.len(), name)).collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    let largest = sizes.iter().take(3).map(|(size, name)| format!("{name} ({size} bytes)"));
    let largest: Vec<_> = largest.collect();
    let why = "this shell's environment is too large for a request, which may have 1 MiB";
    Refusal::new(Code::BadRequest, why)
        .hint(format!("unset what services do not need; the largest: {}", largest.join(", ")))
}
