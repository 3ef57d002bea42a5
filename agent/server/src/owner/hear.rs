//! News of executors, made into events.
//!
//! Invariant: the core hears of a life in order and once: started before exited, exited before
//! emptied, whatever a connection lost or a new one repeats.

use std::time::{Duration, SystemTime};

use hearth_api::time::rfc3339;
use hearth_core::{Event, ServiceId, Want};
use hearth_process::locked;
use hearth_shim::frames::{FromShim, State};
use tracing::{info, warn};

use super::Owner;
use super::nodes::Running;
use crate::execute::link::{Link, Told};
use crate::execute::probe;
use crate::keep::Keep;
use crate::place::Place;
use crate::{adopt, convert};

impl Owner {
    pub(super) fn hear(&mut self, told: Told) {
        match told {
            Told::Answered { state, link } => self.answered(*state, link),
            Told::Unanswered(record) => self.unanswered(&record),
            Told::Frame { id, life, frame } => self.frame(id, life, frame),
            Told::Gone { id, life, reason } => self.gone(id, life, reason),
            Told::Cleared(id) => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.clearing = false;
                }
                self.begin_next(id);
            }
            Told::Probed { id, life, test, verdict } => {
                if let Some(running) = self.running(&id, life) {
                    running.probes.remove(&test);
                    self.step(Event::Probed { id, life, test, verdict });
                }
            }
        }
    }

    /// A shim of an earlier agent: ours from here on.
    fn answered(&mut self, state: State, link: Link) {
        let id = ServiceId::new(state.project.as_str(), state.service.as_str());
        let keep = match Keep::from_text(&state.keep) {
            Ok(keep) => keep,
            Err(reason) => {
                warn!(
                    project = state.project,
                    service = state.service,
                    reason,
                    "a shim is left alone"
                );
                return;
            }
        };
        if self.nodes.get(&id).is_some_and(|node| node.running.is_some()) {
            // It is ours already, or a start that it will refuse is on its way.
            return;
        }
        let definition = convert::definition(&keep.service, keep.order);
        let capture = self.share(&id, keep.capture.into_owned());
        let began = state.started_at.map(Duration::from_millis);
        let since = began.and_then(|began| SystemTime::UNIX_EPOCH.checked_add(began));
        let life = state.life;
        let node = self.nodes.entry(id.clone()).or_default();
        node.capture = Some(capture);
        let service = node.offer(keep.service.into_owned());
        let mut running = Running::new(life, link, service);
        running.told.started = state.leader.is_some();
        running.told.exited = state.exit.is_some();
        node.running = Some(running);
        info!(
            project = state.project,
            service = state.service,
            life,
            pid = state.shim.pid,
            "took over a shim"
        );
        self.step(Event::Adopted {
            id: id.clone(),
            definition,
            life,
            pid: state.leader.as_ref().filter(|_| state.exit.is_none()).map(|leader| leader.pid),
            exit: state.exit.as_ref().map(convert::exit),
            ready: state.ready,
            want: if state.stopping { Want::Down } else { keep.want },
            restarts: keep.restarts,
            stopping: state.stopping,
        });
        if let Some(node) = self.nodes.get_mut(&id) {
            node.since = since.or(node.since);
        }
        self.catch_up(id, life, state);
    }

    /// It ended while it was asked, or does not speak; in the first case its record is free now.
    fn unanswered(&mut self, record: &std::path::Path) {
        if locked::is_held(record).unwrap_or(true) {
            return;
        }
        let mut found = adopt::Found::default();
        adopt::settle(record, &self.place, &self.tell, &mut found);
        for (record, clearing) in found.dead {
            let id = ServiceId::new(record.project.as_str(), record.service.as_str());
            self.world.set_last_life(&id, record.life);
            self.nodes.entry(id).or_default().clearing = clearing;
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
                // Somebody has it whom we do not know: a shim that an agent began in its last
                // moment, or one that did not answer.
                running.told.over = true;
                adopt::ask(&self.place.record(&Place::shim(&id)), &self.place, &self.tell);
                self.step(Event::StartFailed { id, life, reason });
            }
            FromShim::Probed { id: number, .. } => {
                let Some(test) = running.execs.remove(&number) else { return };
                let asked = running.service.ready.get(test);
                if let Some(verdict) = asked.and_then(|asked| probe::judge(asked, frame)) {
                    self.step(Event::Probed { id, life, test, verdict });
                }
            }
            FromShim::Unknown => {}
        }
    }

    /// What a shim knows and the core does not yet.
    fn catch_up(&mut self, id: ServiceId, life: u64, state: State) {
        let mut missed = Vec::new();
        missed.extend(state.leader.map(|leader| FromShim::Started { leader }));
        missed.extend(state.exit.map(|exit| FromShim::Exited { exit }));
        missed.extend(state.failed.map(|reason| FromShim::StartFailed { reason }));
        missed.extend(state.emptied.then_some(FromShim::Emptied));
        for frame in missed {
            self.frame(id.clone(), life, frame);
        }
    }

    /// A shim has ended, and all that it had.
    fn gone(&mut self, id: ServiceId, life: u64, reason: String) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.closing.retain(|(closing, _)| *closing != life);
        if let Some(mut running) = node.running.take_if(|running| running.life == life) {
            running.cancel_probes();
            let record = self.place.record(&Place::shim(&id));
            if matches!(locked::is_held(&record), Ok(false)) {
                adopt::remove(&record, &self.place);
            }
            let (id, at) = (id.clone(), rfc3339(SystemTime::now()));
            match (running.told.over, running.told.started) {
                (true, _) => {}
                (false, true) => self.step(Event::ShimLost { id, life, at }),
                (false, false) => {
                    let reason =
                        if reason.is_empty() { "its shim was killed".into() } else { reason };
                    self.step(Event::StartFailed { id, life, reason });
                }
            }
        }
        self.begin_next(id);
    }

    /// The life that waited for the last one to be gone.
    fn begin_next(&mut self, id: ServiceId) {
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
