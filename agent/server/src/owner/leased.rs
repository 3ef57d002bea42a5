//! `down` of what sessions hold: who stands in its way, by name.
//!
//! Invariant: a `down` that is refused has changed nothing, and names everybody at once.

use std::collections::HashSet;
use std::sync::Arc;

use hearth_api::{Code, Problem};
use hearth_core::Leased;
use serde_json::json;

use super::Owner;
use crate::convert;
use crate::refuse::Refusal;

/// So many services are told of in words, and of each so many sessions; `details` has all.
const TOLD: usize = 10;

impl Owner {
    /// Errors: `leased`. `but`: the session that asks, whose leases stand in no way.
    pub(super) fn must_be_nobody_else_s(
        &self,
        project: Option<&Arc<str>>,
        targets: &[Arc<str>],
        but: Option<&str>,
    ) -> Result<(), Refusal> {
        let leased = self.world.leased(project.map(|project| &**project), targets, but);
        // By service, as they come, and each session once. One that has ended, and whose end is still
        // to be heard of, stands in nobody's way.
        let mut holders: Vec<(&Leased, Vec<Holder>)> = Vec::new();
        let mut seen: HashSet<&str> = HashSet::new();
        for each in &leased {
            if holders.last().is_none_or(|(last, _)| last.id != each.id) {
                holders.push((each, Vec::new()));
                seen.clear();
            }
            if seen.insert(&each.lease.session)
                && let Some(session) = self.sessions.get(&each.lease.session)
                && let Some((_, of)) = holders.last_mut()
            {
                let (pid, name) = (session.process.pid, session.name.to_string());
                of.push(Holder { session: session.id.to_string(), pid, name });
            }
        }
        holders.retain(|(_, of)| !of.is_empty());
        if holders.is_empty() {
            return Ok(());
        }
        Err(refuse(&holders))
    }
}

fn refuse(holders: &[(&Leased, Vec<Holder>)]) -> Refusal {
    let mut words: Vec<String> = Vec::new();
    for (Leased { id, needs, .. }, of) in holders.iter().take(TOLD) {
        let mut names: Vec<String> = of.iter().take(TOLD).map(Holder::in_words).collect();
        if let Some(more) = of.len().checked_sub(TOLD).filter(|more| *more > 0) {
            names.push(format!("{more} more"));
        }
        let because = match needs {
            Some(target) => format!(", which needs {target},"),
            None => String::new(),
        };
        words.push(format!("{}{because} is leased by {}", id.name, names.join(" and ")));
    }
    if let Some(more) = holders.len().checked_sub(TOLD).filter(|more| *more > 0) {
        words.push(format!("and {more} more are leased"));
    }
    let leased = holders.iter().flat_map(|(Leased { id, .. }, of)| {
        of.iter().map(|Holder { session, pid, name }| {
            json!({ "project": convert::project(&id.project), "service": &*id.name,
                    "session": session, "pid": pid, "name": name })
        })
    });
    let leased: Vec<_> = leased.collect();
    let hint = "nothing was changed; `--force` takes it from them, \
                    `hearth session end ID` ends a session";
    Problem::new(Code::Leased, words.join("; "), hint)
        .with_details(json!({ "leased": leased }))
        .into()
}

/// A session in somebody's way.
struct Holder {
    session: String,
    pid: u32,
    name: String,
}

impl Holder {
    fn in_words(&self) -> String {
        format!("{} (pid {})", self.name, self.pid)
    }
}
