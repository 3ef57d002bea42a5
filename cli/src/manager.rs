//! The service manager beside the agent: what of it is shown.
//!
//! Kept true here: the manager is asked by `hearth daemon` alone, for two seconds at most, and what it
//! says is shown in its own words.

use std::time::{Duration, Instant};

use hearth_lifecycle::unit::{self, Kind, Unit};
use serde::Serialize;

use crate::app;
use crate::args::Context;

/// How long it may take to say how it stands.
const PATIENCE: Duration = Duration::from_secs(2);

/// A unit that is in charge of the home, as `daemon status --json` has it.
#[derive(Serialize)]
pub struct Seen {
    kind: &'static str,
    unit: String,
    /// Null: the manager could not be asked, and `words` say why.
    standing: Option<&'static str>,
    words: String,
}

/// The unit that is in charge, where one is.
pub fn unit(context: &Context) -> Option<Unit> {
    unit::in_charge(app(), &context.home)
}

/// How its manager sees it.
pub fn look(context: &Context) -> Option<Seen> {
    let unit = unit(context)?;
    let (standing, words) = match unit.ask(Instant::now() + PATIENCE) {
        Ok(answer) => (Some(answer.standing.as_str()), answer.words),
        Err(refused) => (None, refused.words),
    };
    Some(Seen { kind: name(unit.kind), unit: unit.name, standing, words })
}

/// Whose it is.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Systemd => "systemd",
        Kind::Launchd => "launchd",
    }
}

impl Seen {
    /// For people, in one line.
    pub fn line(&self) -> String {
        match self.standing {
            Some(_) => format!("{}: {}", self.kind, self.words),
            None => format!("{}: {}: {}", self.kind, self.unit, self.words),
        }
    }
}
