//! `hearth restart SERVICE...`: ended, and up again with what the caller's shell and the file have
//! now. What is down is started.

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

/// 128 random bits.
fn id() -> String {
    let mut bytes = [0; 16];
    if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).is_err() {
        // Good enough to be told from other requests of the last minutes.
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        bytes = (now ^ u128::from(std::process::id()) << 96).to_le_bytes();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
