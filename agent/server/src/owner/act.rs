//! Deeds: each action of the core, handed to what does it. No policy, and nothing that blocks.

use std::sync::Arc;
use std::time::SystemTime;

use hearth_api::stream::Line;
use hearth_api::time::rfc3339;
use hearth_config::{Port, Probe, Values};
use hearth_core::{Action, Event, ServiceId, State, Transition, Verdict};
use hearth_process::port;
use hearth_shim::frames::ToShim;
use tracing::{debug, info};

use super::Owner;
use super::nodes::Running;
use crate::execute::{probe, spawn};
use crate::keep::{Finished, Keep};
use crate::place::Place;
use crate::upstream::to_bytes;
use crate::{convert, ports};

impl Owner {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Spawn { id, life } => self.spawn(id, life),
            Action::Stop { id, life } => self.end(id, life, ToShim::Stop),
            Action::Kill { id, life } => self.end(id, life, ToShim::Kill),
            Action::Acknowledge { id, life } => self.acknowledge(&id, life),
            Action::Probe { id, life, test } => self.probe(id, life, test),
            Action::CancelProbes { id, life } => self.cancel_probes(&id, life),
            Action::MarkReady { id, life } => {
                let at = Some(milliseconds(self.acted_at));
                if let Some(running) = self.running(&id, life) {
                    running.link.tell(ToShim::MarkReady { at });
                }
            }
            Action::Changed(transition) => self.changed(transition),
        }
    }

    pub(super) fn running(&mut self, id: &ServiceId, life: u64) -> Option<&mut Running> {
        self.nodes.get_mut(id)?.life(life)
    }

    /// Begins a life, or has it wait until nothing is left of the one before.
    pub(super) fn spawn(&mut self, id: ServiceId, life: u64) {
        let node = self.nodes.entry(id.clone()).or_default();
        if node.is_occupied() || self.freezing {
            node.next = Some(life);
            return;
        }
        match self.order(&id, life) {
            Ok(order) => {
                let service = Arc::clone(&order.service);
                let resolved = Arc::clone(&order.resolved);
                let before = Arc::clone(&order.before);
                self.ours.insert(Place::shim(&id));
                let link = spawn::begin(order, &self.place, self.tell.clone());
                let holds = self.bundles.get(&id.project).map(|held| held.generation);
                if let Some(node) = self.nodes.get_mut(&id) {
                    let mut running = Running::new(life, link, Some(service), Some(resolved));
                    running.holds = holds;
                    running.before = before;
                    node.running = Some(running);
                }
            }
            // A shim that is mute may hold what is missing: it is waited for.
            Err(Unready::Missing)
                if self.world.unheard().iter().any(|(other, _)| other.project == id.project) =>
            {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.next = Some(life);
                }
            }
            // To try again would not help.
            Err(unready) => {
                let reason = unready.words();
                self.later.push_back(Event::Unstartable { id, life, reason });
            }
        }
    }

    fn order(&self, id: &ServiceId, life: u64) -> Result<spawn::Order, Unready> {
        // Where the definition is gone, so is the environment: they lie together.
        let missing = || match self.nodes.get(id).is_some_and(|node| node.loose) {
            false => Unready::Missing,
            true => Unready::Faulty("its command is gone, run it again with `hearth run`".into()),
        };
        let definition = self.world.definition(id).ok_or_else(missing)?;
        let view = self.world.view(id).ok_or_else(missing)?;
        let node = self.nodes.get(id).ok_or_else(missing)?;
        let service = node.version(definition.fingerprint).ok_or_else(missing)?;
        let capture = node.capture.as_ref().ok_or_else(missing)?;
        if service.port == Some(Port::Auto) && self.ports.chosen(id).is_none() {
            return Err(Unready::Faulty(ports::none_left(&port::ephemeral())));
        }
        let values = Values { ports: self.ports.of(&id.project), captured: &capture.env };
        let resolved = service.resolve(&values);
        let resolved = resolved.map_err(|invalid| Unready::Faulty(invalid.to_string()))?;
        let done = self.world.done_below(id).into_iter().map(Finished::from).collect();
        let (print, order) = (definition.fingerprint, definition.order);
        let keep = Keep::new(print, order, view.want, view.restarts, done);
        Ok(spawn::Order {
            id: id.clone(),
            life,
            service: Arc::clone(service),
            resolved: Arc::new(resolved),
            before: Arc::default(),
            capture: Arc::clone(capture),
            open_files: self.handle.open_files(),
            keep: keep.to_text().map_err(Unready::Faulty)?,
            held: self.bundles.get(&id.project).cloned(),
        })
    }

    fn end(&mut self, id: ServiceId, life: u64, how: ToShim) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if let Some(running) = node.life(life) {
            running.link.tell(how);
        } else if node.next == Some(life) {
            // It has not begun, and now it never will.
            node.next = None;
            let reason = "stopped before it was started".to_owned();
            self.later.push_back(Event::StartFailed { id, life, reason });
        }
    }

    fn acknowledge(&mut self, id: &ServiceId, life: u64) {
        self.cancel_probes(id, life);
        let Some(node) = self.nodes.get_mut(id) else { return };
        if let Some(running) = node.running.take_if(|running| running.life == life) {
            // Not let go of before it is gone: that is when the next life may begin.
            node.closing.push((life, running.link));
            self.owed.push((id.clone(), life));
        }
    }

    fn probe(&mut self, id: ServiceId, life: u64, test: usize) {
        if self.is_check(&id) {
            return self.ask_check(id, life, test);
        }
        self.probes += 1;
        let (number, log, tell) = (self.probes, self.place.log(&id), self.tell.clone());
        let lived = self.world.lived(&id, self.clock.now());
        let Some(running) = self.running(&id, life) else { return };
        let Some(resolved) = running.resolved.clone() else { return };
        let Some(asked) = resolved.ready.get(test) else { return };
        if let Probe::Exec(run) = &asked.probe {
            let timeout_ms = convert::milliseconds(asked.timeout);
            running.link.tell(ToShim::Probe { id: number, run: convert::run(run), timeout_ms });
            running.execs.insert(number, test);
            return;
        }
        if let Probe::Notify = asked.probe {
            // That it is still at work it says unasked: asked for that again and again, it would
            // be a poll.
            let said = probe::said(asked, &running.notify);
            if let Some(verdict @ (Verdict::Pass(_) | Verdict::Fail(_))) = said {
                self.later.push_back(Event::Probed { id, life, test, verdict });
            }
            return;
        }
        if let Probe::File(_) = asked.probe {
            let asked = asked.clone();
            return self.watch_file(id, life, test, asked);
        }
        let (asked, answers) = (asked.clone(), probe::Answers { id, life, test, tell });
        let before = Arc::clone(&running.before);
        let task = tokio::spawn(async move {
            let verdict = probe::ask_service(&asked, &before, log, life, lived).await;
            if let Some(verdict) = verdict {
                answers.tell(verdict).await;
            }
        });
        if let Some(before) = running.probes.insert(test, task.abort_handle()) {
            before.abort();
        }
    }

    fn cancel_probes(&mut self, id: &ServiceId, life: u64) {
        self.end_checking(id, life);
        let Some(running) = self.running(id, life) else { return };
        for number in running.cancel_probes() {
            running.link.tell(ToShim::CancelProbe { id: number });
        }
    }

    fn changed(&mut self, transition: Transition) {
        let Transition { id, from, to, message } = transition;
        let at = self.acted_at;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.since = Some(at);
        }
        match to {
            State::Failed => {
                info!(project = %id.project, service = %id.name, ?from, ?to, message)
            }
            State::Down
            | State::Waiting
            | State::Starting
            | State::Ready
            | State::Unhealthy
            | State::Backoff
            | State::Stopping
            | State::Done
            | State::Unknown => {
                debug!(project = %id.project, service = %id.name, ?from, ?to, message);
            }
        }
        let line = Line::Transition {
            project: convert::project(&id.project),
            service: id.name.to_string(),
            from,
            to,
            at: rfc3339(at),
            message: message.clone(),
        };
        self.publish(&id, &message, &to_bytes(&line));
        self.tell_transition(&id, from, to, &message);
    }
}

/// Why a life can't begin.
enum Unready {
    /// What it needs may be in a shim that is not heard.
    Missing,
    /// To try again would not help.
    Faulty(String),
}

impl Unready {
    fn words(self) -> String {
        match self {
            Self::Missing => "its environment is gone, run `hearth up`".to_owned(),
            Self::Faulty(words) => words,
        }
    }
}

/// Since the Unix epoch, as shims have it.
pub(super) fn milliseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    convert::milliseconds(since)
}
