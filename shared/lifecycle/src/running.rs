//! Whether an agent lives in a home, told by L alone, without asking anybody.

use hearth_process::locked;

use crate::Home;
use crate::home::Blocked;
use crate::record::{Record, Stage};

/// How it stands in a home.
#[derive(Clone, Debug)]
pub enum Running {
    /// None lives: there never was one, or the last one, whose record it is, has ended in order.
    Gone(Option<Record>),
    /// None lives. The last one was killed, crashed, or stood on a machine that stopped under it.
    Died(Record),
    /// One lives. No record: it has not written it yet.
    Living(Option<Record>),
}

impl Running {
    /// Whether one lives.
    pub fn is_living(&self) -> bool {
        matches!(self, Running::Living(_))
    }

    /// The record of the one that lives, or was the last to.
    pub fn into_record(self) -> Option<Record> {
        match self {
            Running::Gone(record) | Running::Living(record) => record,
            Running::Died(record) => Some(record),
        }
    }
}

/// Tests L and reads its record, which is whole or not there at all.
///
/// Without S: a verb that takes L at this very moment loses a try by it and looks again. Errors: L can't
/// be looked at.
pub fn running(home: &Home) -> Result<Running, Blocked> {
    let path = home.agent_lock();
    let held = locked::is_held(&path).map_err(|e| Blocked::io("test the lock of", &path, &e))?;
    Ok(match (held, Record::read(&path)) {
        (true, record) => Running::Living(record),
        (false, Some(record)) if record.stage != Stage::Stopped => Running::Died(record),
        (false, record) => Running::Gone(record),
    })
}
