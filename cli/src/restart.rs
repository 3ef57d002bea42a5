//! `hearth restart SERVICE...`: ended, and up again with what the caller's shell and the file have
//! now. What is down is started.

use std::hash::{BuildHasher, Hasher, RandomState};

use clap::{ArgMatches, Command};

use crate::agent::Wish;
use crate::args::{self, Context};
use crate::refuse::Refusal;
use crate::story::Goal;
use crate::stream::Wait;
use crate::{capture, project};

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("restart")
        .about("End services and start them again, and wait until they are ready")
        .args([
            args::services().required(true).num_args(1..).help("Services and groups"),
            args::timeout(),
        ])
}

/// Carries an id of its own, by which the agent knows a request that is sent again.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let wish = Wish { start: true, timeout: args::timeout_of(matches), ..Wish::default() };
    let about = project::about(context, wish, &args::names(matches))?;
    let captured = capture::request(about.place.id.clone(), about.named.clone());
    let mut request = capture::up("/v1/restart", &captured)?.repeatable();
    request.headers.push(("hearth-request", id()));
    let wait = Wait {
        context,
        wish,
        request,
        project: Some(about.place.id),
        named: about.named,
        goal: Goal::Ready,
        no_wait: false,
        cold: None,
    };
    wait.run(about.sheet)
}

/// 128 bits that no other request has: std draws the keys of its hashers at random.
pub fn id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}
