//! How it stands with a unit, by the manager's own word.

use std::time::Instant;

use super::Unit;

/// How the manager sees the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does not know the unit, though its file is there.
    NotLoaded,
    /// It was told never to run it.
    Masked,
    /// Known; nobody listens and nobody runs.
    Inactive,
    /// It listens; the agent comes with the first verb.
    Listening,
    /// The agent is starting, or waits to be started again.
    Starting,
    /// The agent runs.
    Running {
        /// Its pid.
        pid: u32,
    },
    /// The agent is ending.
    Stopping,
    /// It has given up.
    Failed,
}

/// What the manager says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In short.
    pub standing: Standing,
    /// In its own words, for people: `failed (Result: exit-code, status 203/EXEC)`.
    pub words: String,
}

/// The manager could not be asked, or did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Refused {
    /// In its own words.
    pub words: String,
    /// What to type next.
    pub remedy: String,
}

fn not_here(unit: &Unit) -> Refused {
    Refused { words: format!("{} has no manager here", unit.name), remedy: String::new() }
}

pub(super) fn ask(unit: &Unit, _until: Instant) -> Result<Answer, Refused> {
    Err(not_here(unit))
}

pub(super) fn start(unit: &Unit, _until: Instant) -> Result<(), Refused> {
    Err(not_here(unit))
}

pub(super) fn stop(unit: &Unit, _until: Instant) -> Result<(), Refused> {
    Err(not_here(unit))
}

pub(super) fn restart(unit: &Unit, _until: Instant) -> Result<(), Refused> {
    Err(not_here(unit))
}

pub(super) fn look(unit: &Unit) -> String {
    unit.name.clone()
}
