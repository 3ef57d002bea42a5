//! News of executors, made into events.
//!
//! Invariant: the core hears of a life in order and once: started before exited, exited before
//! emptied, whatever a connection lost or a new one repeats.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use hearth_api::time::rfc3339;
use hearth_core::{Event, ServiceId};
use hearth_shim::frames::{FromShim, State};

use super::Owner;
use crate::execute::link::Told;
use crate::execute::probe;
use crate::place::Place;
use crate::{adopt, convert};

impl Owner {
    pub(super) fn hear(&mut self, told: Told) {
        match told {
            Told::Answered { state, link, bundle } => self.answered(*state, link, bundle),
            Told::Unanswered(record) => self.unanswered(&record),
            Told::Released(record) => self.released(&record),
            Told::Appeared(record) => self.appeared(&record),
            Told::Frame { id, life, frame } => self.frame(id, life, frame),
            Told::Gone { id, life, reason, killed } => self.gone(id, life, reason, killed),
            Told::Overdue { id, life } => self.overdue(id, life),
            Told::Cleared { id, life, record, left } => self.cleared(id, life, &record, left),
            Told::Probed { id, life, test, verdict } => {
                if let Some(running) = self.running(&id, life) {
                    // Who watches a file goes on, and is to be ended with the life.
                    running.probes.retain(|_, task| !task.is_finished());
                } else if !self.is_checking(&id, life) {
                    return;
                }
                self.step(Event::Probed { id, life, test, verdict });
            }
        }
    }

    fn frame(&mut self, id: ServiceId, life: u64, frame: FromShim) {
        let Some(running) = self.running(&id, life) else { return };
        match frame {
            FromShim::State(state) => self.catch_up(id, life, *state),
            FromShim::Started { leader } => {
                if !std::mem::replace(&mut running.told.started, true) {
                    self.step(Event::Started { id, life, pid: leader.pid });
                }
            }
            FromShim::Exited { exit } => {
                if !std::mem::replace(&mut running.told.exited, true) {
                    self.step(Event::Exited { id, life, exit: convert::exit(&exit) });
                }
            }
            FromShim::Emptied => {
                if !std::mem::replace(&mut running.told.over, true) {
                    self.step(Event::Emptied { id, life });
                }
            }
            FromShim::StartFailed { reason } => {
                if !std::mem::replace(&mut running.told.over, true) {
                    self.step(Event::StartFailed { id, life, reason });
                }
            }
            FromShim::Refused { reason } => {
                running.refused = Some(reason);
                self.ask_who_has_it(id, life);
            }
            FromShim::Probed { id: number, .. } => {
                let Some(test) = running.execs.remove(&number) else { return };
                let resolved = running.resolved.clone();
                let asked = resolved.as_ref().and_then(|resolved| resolved.ready.get(test));
                if let Some(verdict) = asked.and_then(|asked| probe::judge(asked, frame)) {
                    self.step(Event::Probed { id, life, test, verdict });
                }
            }
            FromShim::Notified { notify } => {
                running.notify = notify;
                let tests =
                    running.resolved.iter().flat_map(|resolved| &resolved.ready).enumerate();
                let said =
                    tests.filter_map(|(n, test)| Some((n, probe::said(test, &running.notify)?)));
                for (test, verdict) in said.collect::<Vec<_>>() {
                    self.step(Event::Probed { id: id.clone(), life, test, verdict });
                }
            }
            FromShim::Held { .. } | FromShim::Unknown => {}
        }
    }

    /// What a shim knows and the core does not yet.
    pub(super) fn catch_up(&mut self, id: ServiceId, life: u64, state: State) {
        if let Some(running) = self.running(&id, life) {
            running.shim = Some(state.shim);
        }
        let mut missed = Vec::new();
        missed.extend(state.leader.map(|leader| FromShim::Started { leader }));
        let notify = state.notify;
        missed.extend((!notify.is_empty()).then_some(FromShim::Notified { notify }));
        missed.extend(state.exit.map(|exit| FromShim::Exited { exit }));
        missed.extend(state.failed.map(|reason| FromShim::StartFailed { reason }));
        missed.extend(state.emptied.then_some(FromShim::Emptied));
        for frame in missed {
            self.frame(id.clone(), life, frame);
        }
    }

    /// A shim has ended, and all that it had.
    fn gone(&mut self, id: ServiceId, life: u64, reason: String, killed: Option<Vec<u32>>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.closing.retain(|(closing, _)| *closing != life);
        if node.life(life).is_some_and(|running| running.refused.is_some()) {
            // Who refused has gone, as it should: who has the service is being asked.
            return;
        }
        if let Some(mut running) = node.running.take_if(|running| running.life == life) {
            running.cancel_probes();
            let record = self.place.record(&Place::shim(&id));
            adopt::remove(&record, &self.place);
            if killed.is_some() {
                self.output_lost(&id, life);
            }
            let left = killed.unwrap_or_default();
            let (id, at) = (id.clone(), rfc3339(SystemTime::now()));
            match (running.told.over, running.told.started) {
                (true, _) => {}
                (false, true) => self.step(Event::ShimLost { id, life, at, left }),
                (false, false) => {
                    let reason =
                        if reason.is_empty() { "its shim was killed".into() } else { reason };
                    self.step(Event::StartFailed { id, life, reason });
                }
            }
        }
        self.begin_next(id);
    }

    /// Lives that waited for what a mute shim of their project may hold.
    pub(super) fn begin_all_next(&mut self, project: &str) {
        let waiting = self.nodes.iter().filter(|(id, node)| {
            *id.project == *project && node.next.is_some() && !node.is_occupied()
        });
        let waiting: Vec<ServiceId> = waiting.map(|(id, _)| id.clone()).collect();
        waiting.into_iter().for_each(|id| self.begin_next(id));
    }

    /// Every life that waits for nobody any more.
    pub(super) fn begin_everywhere(&mut self) {
        let projects: BTreeSet<Arc<str>> =
            self.nodes.keys().map(|id| Arc::clone(&id.project)).collect();
        projects.iter().for_each(|project| self.begin_all_next(project));
    }

    /// The life that waited for the last one to be gone.
    pub(super) fn begin_next(&mut self, id: ServiceId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.is_occupied() {
            return;
        }
        if let Some(life) = node.next.take() {
            self.spawn(id, life);
            // A start that failed at once has left an event.
            while let Some(event) = self.later.pop_front() {
                self.step(event);
            }
        }
    }
}
