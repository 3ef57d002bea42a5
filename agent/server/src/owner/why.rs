//! Who holds what: the leases of sessions, and because of whom a service is wanted.
//!
//! Invariant: a session that has ended holds nothing in any answer, also in the moment in which its
//! leases are still to be given back.

use std::collections::HashSet;
use std::sync::Arc;

use hearth_api::time::rfc3339;
use hearth_api::{HeldBy, LeaseRow, Reason, SessionRow, Why};
use hearth_core::{Holder, Lease, LeaseView, NodeView, ServiceId, Want};
use hearth_lifecycle::sessions::Session;

use super::Owner;
use crate::convert;
use crate::refuse::Refusal;

impl Owner {
    /// These sessions, each with what it holds, oldest first.
    pub(super) fn session_rows(&self, sessions: Vec<Session>) -> Vec<SessionRow> {
        let leases =
            |of: &Session| self.world.leases_of(&of.id).into_iter().map(lease_row).collect();
        sessions.iter().map(|session| session_row(session, leases(session))).collect()
    }

    /// Everybody because of whom it is wanted. Errors: there is no such service.
    pub(super) fn why(&mut self, id: &ServiceId) -> Result<Why, Refusal> {
        self.must_know(Some(&id.project), &[id.name.to_string()])?;
        let mut held_by: Vec<Reason> = Vec::new();
        // Several leases of one session.
        let mut seen = HashSet::new();
        for reason in self.world.why(id) {
            let session = reason.lease.as_ref().map(|lease| lease.session.clone());
            if !seen.insert((session, reason.through.clone())) {
                continue;
            }
            let through = reason.through.iter().map(ToString::to_string).collect();
            let (holder, since) = match reason.lease {
                None => (HeldBy::Up, None),
                Some(lease) => match self.sessions.get(&lease.session) {
                    Some(session) => (by_lease(&session), Some(rfc3339(session.started_at))),
                    None => continue,
                },
            };
            held_by.push(Reason { holder, since, through });
        }
        let message = self.world.view(id).map_or_else(
            || format!("nobody wants {}", id.name),
            |view| self.how_it_is(&view, held_by.is_empty()),
        );
        let (project, service) = (convert::project(&id.project), id.name.to_string());
        Ok(Why { project, service, held_by, message })
    }

    fn how_it_is(&self, view: &NodeView, free: bool) -> String {
        let name = &view.id.name;
        if let Some(until) = view.lingers_until {
            // Rounded up: what goes in less than a second has not gone.
            let left = until.since(self.clock.now()).as_millis().div_ceil(1000);
            return format!("nobody holds {name} any more: it goes in {left} s");
        }
        if free && view.want == Want::Down {
            return format!("nobody wants {name}");
        }
        let state = view.state.in_word();
        match view.message.is_empty() {
            true => format!("{name} is {state}"),
            false => format!("{name} is {state}: {}", view.message),
        }
    }

    /// For a row: a session once, whatever it holds it by.
    pub(crate) fn held_by(&self, holders: Vec<Holder>) -> Vec<HeldBy> {
        let mut seen: HashSet<Arc<str>> = HashSet::new();
        let held_by = |holder| match holder {
            Holder::Up => Some(HeldBy::Up),
            Holder::Lease(Lease { session, .. }) => {
                let session = seen.insert(session.clone()).then(|| self.sessions.get(&session))?;
                session.as_ref().map(by_lease)
            }
            Holder::Dependent(service) => Some(HeldBy::Dependent { service: service.to_string() }),
        };
        holders.into_iter().filter_map(held_by).collect()
    }
}

/// What is told of a session.
pub(super) fn session_row(session: &Session, leases: Vec<LeaseRow>) -> SessionRow {
    SessionRow {
        id: session.id.to_string(),
        pid: session.process.pid,
        started_at: rfc3339(session.started_at),
        kind: session.kind.to_string(),
        name: session.name.to_string(),
        cwd: session.cwd.as_ref().map(|cwd| cwd.to_string_lossy().into_owned()),
        leases,
    }
}

fn by_lease(session: &Session) -> HeldBy {
    let (pid, name) = (session.process.pid, session.name.to_string());
    HeldBy::Lease { session: session.id.to_string(), pid, name }
}

fn lease_row(view: LeaseView) -> LeaseRow {
    LeaseRow {
        id: view.lease.id.to_string(),
        project: convert::project(&view.project),
        services: view.services.iter().map(ToString::to_string).collect(),
    }
}
