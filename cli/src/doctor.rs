//! `hearth doctor`: all that can be wrong with a machine, and what to do about it. Exit 1 where there is
//! a fault.
//!
//! Kept true here: it looks and changes nothing. No home is made, no lock is waited for by a verb
//! because of it, and no agent is started, neither by us nor by a service manager that listens in its
//! place: whoever calls a doctor wants to see how it stands, not how it stood before the doctor came.
//!
//! And it always ends: each subject is looked at in a thread of its own, all at once, and what hangs (a
//! file system of another machine, a service manager) is a finding. Which findings there are is fixed:
//! each name of [`SUBJECTS`] is told in every run, in this order, so that a script may wait for one.

mod agent;
mod environment;
mod executable;
mod home;
mod kernel;
mod limits;
mod linger;
mod locks;
mod room;
mod saved;
mod sheet;
mod shell;
mod shims;
mod socket;
mod unit;

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};
use hearth_lifecycle::Home;
use serde::Serialize;

use crate::args::Context;
use crate::finding::{Finding, Level};
use crate::output;
use crate::refuse::Refusal;

/// How long a subject may take. Longer than anything that it waits for itself.
const WITHIN: Duration = Duration::from_secs(5);

/// What is looked at.
struct Subject {
    /// Its findings, in their order.
    names: &'static [&'static str],
    look: fn(&Home) -> Vec<Finding>,
}

/// All of it; `docs/doctor.md` says what each name means.
const SUBJECTS: &[Subject] = &[
    Subject { names: home::NAMES, look: home::look },
    Subject { names: room::NAMES, look: room::look },
    Subject { names: locks::NAMES, look: locks::look },
    Subject { names: socket::NAMES, look: socket::look },
    Subject { names: agent::NAMES, look: agent::look },
    Subject { names: shims::NAMES, look: shims::look },
    Subject { names: saved::NAMES, look: saved::look },
    Subject { names: unit::NAMES, look: unit::look },
    Subject { names: linger::NAMES, look: linger::look },
    Subject { names: limits::NAMES, look: limits::look },
    Subject { names: environment::NAMES, look: environment::look },
    Subject { names: executable::NAMES, look: executable::look },
    Subject { names: shell::NAMES, look: shell::look },
    Subject { names: kernel::NAMES, look: kernel::look },
];

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    findings: &'a [Finding],
}

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("doctor")
        .about("Look for all that can be wrong with this machine; exit 1 where there is a fault")
        .after_help(
            "Nothing is changed, and no agent is started. With -q only what is not in order is shown.",
        )
}

/// All subjects; the report; 1 where there is a fault.
pub fn run(context: &Context, _: &ArgMatches) -> Result<u8, Refusal> {
    let findings = look_at_all(&context.home);
    let ok = findings.iter().all(|finding| finding.level != Level::Fault);
    if context.json {
        output::print_json(&Report { ok, findings: &findings })?;
    } else {
        output::print(sheet::told(context, &findings).as_bytes())?;
    }
    Ok(u8::from(!ok))
}

/// Side by side; what is not done in time is told as such and left to itself.
fn look_at_all(home: &Home) -> Vec<Finding> {
    let (home, until) = (Arc::new(home.clone()), Instant::now() + WITHIN);
    let begun: Vec<_> = SUBJECTS
        .iter()
        .map(|subject| {
            let (sender, receiver) = channel();
            let home = Arc::clone(&home);
            let look = subject.look;
            // Where no thread can be had, the sender is dropped, and that is told below.
            let _ = thread::Builder::new().spawn(move || sender.send(look(&home)));
            (subject, receiver)
        })
        .collect();
    let told = begun.into_iter().flat_map(|(subject, receiver)| {
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(findings) => findings,
            Err(why) => unknown(subject.names, why),
        }
    });
    told.collect()
}

fn unknown(names: &[&'static str], why: RecvTimeoutError) -> Vec<Finding> {
    let (message, remedy) = match why {
        RecvTimeoutError::Timeout => (
            format!("not told within {} s: something that it asks hangs", WITHIN.as_secs()),
            "see whether a file system hangs: `df`, `mount`; or name another home with --home",
        ),
        RecvTimeoutError::Disconnected => {
            ("could not be looked at".to_owned(), "see whether threads can be had: `ulimit -u`")
        }
    };
    names.iter().map(|name| Finding::fault(*name, &message, remedy)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_told_once_and_in_order_and_is_documented() {
        let directory = tempfile::tempdir().expect("a directory");
        let home = Home::resolve(crate::app(), Some(&directory.path().join("home")));
        let told = look_at_all(&home.expect("a home"));
        let told: Vec<_> = told.iter().map(|finding| &*finding.name).collect();
        let names: Vec<_> = SUBJECTS.iter().flat_map(|subject| subject.names).copied().collect();
        assert_eq!(told, names);
        let table = include_str!("../../docs/doctor.md");
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        assert_eq!(rows.collect::<Vec<_>>(), names, "docs/doctor.md has another list");
        assert!(!directory.path().join("home").exists(), "it was made");
    }
}
