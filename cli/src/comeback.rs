//! `hearth return HOME`: what a shim starts when its agent died without a word.
//!
//! It is `hearth daemon up` that obeys the backoff and says nothing. Kept true here: a home that is
//! gone is not made again, and nobody is fetched for a home in which no shim is left.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use hearth_lifecycle::{Client, Home, Options};

use crate::{app, cold};

/// The whole of it. Exits with 0 if an agent lives, or none is needed.
pub fn main(argument: Option<&OsString>) -> ExitCode {
    let Some(home) = argument.and_then(|dir| resolve(Path::new(dir))) else {
        eprintln!("hearth: `return` is started by hearth's shims, not by hand");
        return ExitCode::from(2);
    };
    if !home.dir().is_dir() || !cold::any_shim_in(&home) {
        return ExitCode::SUCCESS;
    }
    // The shim's word of it went to the agent's log; whoever asks next is told by the record.
    let ready = Client::at(app(), home).ensure_ready(&Options::default());
    if ready.state.is_ready() { ExitCode::SUCCESS } else { ExitCode::from(3) }
}

/// The home as the agent had it: where it is the one by default it was not named, and its
/// configuration stands elsewhere.
fn resolve(dir: &Path) -> Option<Home> {
    match Home::resolve(app(), None) {
        Ok(home) if home.dir() == dir => Some(home),
        Ok(_) | Err(_) => Home::resolve(app(), Some(dir)).ok(),
    }
}
