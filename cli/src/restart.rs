//! `hearth restart SERVICE...`: ended, and up again with what the caller's shell and the file have
//! now. What is down is started.

use std::hash::{BuildHasher, Hasher, RandomState};

use clap::{ArgMatches, Command};

use crate::agent::Wish;
use crate::args::{self, Context};
use crate::refuse::Refusal;
use crate::stream::{Goal, Wait};
use crate::{capture, project, up};

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("restart")
        .about("End services and start them again, and wait until they are ready")
        .args([args::services().required(true).num_args(1..).help("Services"), args::timeout()])
}

/// Carries an id of its own, by which the agent knows a request that is sent again.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let place = project::required(context)?;
    let names = args::names(matches);
    project::check_names(&project::load(&place)?, &names)?;
    let mut request = up::post("/v1/restart", &capture::request(place.id, names))?.repeatable();
    request.headers.push(("hearth-request", id()));
    let wish = Wish { start: true, timeout: args::timeout_of(matches), ..Wish::default() };
    Wait { context, wish, request, goal: Goal::Ready, no_wait: false, cold: None }.run()
}

/// 128 bits that no other request has: std draws the keys of its hashers at random.
fn id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}
