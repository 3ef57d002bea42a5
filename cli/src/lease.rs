//! `--lease` and `--lease-to PID`: to whom what a verb brings up is leased.
//!
//! Kept true here: whose it is is known before anything is brought up. A lease for which there is no
//! session would otherwise be an `up` that nobody takes back.

use clap::{Arg, ArgMatches};
use hearth_api::{Code, SessionRequest, SessionRow};

use crate::agent::Wish;
use crate::args::{self, Context};
use crate::refuse::Refusal;
use crate::{session, table};

/// The two options of `up`.
pub fn options() -> [Arg; 2] {
    [
        option(),
        args::pid("lease-to")
            .conflicts_with("lease")
            .help("The same with this process, an ancestor of the command: $$ in a script"),
    ]
}

/// `--lease`.
pub fn option() -> Arg {
    args::flag(
        "lease",
        "They stay for as long as the session: this terminal's shell, or who was registered",
    )
}

/// To whom what is brought up is leased; `None`: to nobody, `up` holds it.
///
/// Errors: `usage` where `--lease` finds nobody, `forbidden` for a pid that is not above.
pub fn holder(
    context: &Context,
    matches: &ArgMatches,
    wish: Wish,
) -> Result<Option<SessionRow>, Refusal> {
    if let Ok(Some(true)) = matches.try_get_one::<bool>("lease") {
        return nearest(context, wish).map(Some);
    }
    let Some(pid) = args::pid_of(matches, "lease-to") else { return Ok(None) };
    let asked = SessionRequest { pid: Some(pid), ..SessionRequest::default() };
    let row = session::register(context, wish, &asked);
    row.map(Some).map_err(|refusal| session::not_above(refusal, "hearth up --lease-to PID"))
}

/// In words, for whoever brought it up.
pub fn words(holder: &SessionRow) -> String {
    format!("leased to {} (pid {}), until that ends", table::harmless(&holder.name), holder.pid)
}

/// The session that the verb is in; else the shell of its terminal, which becomes one.
fn nearest(context: &Context, wish: Wish) -> Result<SessionRow, Refusal> {
    if let Some(row) = session::mine(context, wish)? {
        return Ok(row);
    }
    let Some(leader) = session::leader() else {
        return Err(nobody("has no terminal whose shell could be one"));
    };
    let asked = SessionRequest {
        pid: Some(leader),
        kind: Some("shell".to_owned()),
        ..SessionRequest::default()
    };
    session::register(context, wish, &asked).map_err(|refusal| match refusal.code {
        Code::Forbidden => {
            nobody(&format!("the shell of its terminal can't be one: {}", refusal.message))
        }
        _ => refusal,
    })
}

fn nobody(why: &str) -> Refusal {
    Refusal::usage(format!("--lease: nobody to lease to: this command is in no session, and {why}")).hint(
        "`hearth up SERVICE --lease-to PID` names a process above it, `hearth with SERVICE -- CMD` leases \
         to a command, `hearth session start` makes who typed it a session",
    )
}
