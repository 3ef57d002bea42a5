//! What tests say while a state stays, for who asked to be told: a person who waits.
//!
//! Invariant: whoever asked has a service's words within [`TOGETHER`] of their change, and is told
//! none twice in a row and none of a service more often than that, however fast its tests answer. A
//! transition has words of its own, which count as told.

use std::collections::{BTreeMap, BTreeSet};

use hearth_api::ServiceRow;
use hearth_api::stream::Line;
use hearth_core::{Event, ServiceId, State};
use tokio::time::{Duration, Instant};

use super::Owner;
use super::streams::Listener;
use crate::convert;
use crate::upstream::{Item, to_bytes};

/// For so long what is said is put together.
const TOGETHER: Duration = Duration::from_millis(100);

/// Services of which a test has answered, until that is told.
#[derive(Debug, Default)]
pub(super) struct Said {
    whose: BTreeSet<ServiceId>,
    due: Option<Instant>,
}

/// What one listener was last told of each service.
pub(super) type Heard = BTreeMap<ServiceId, String>;

/// What a snapshot has told.
pub(super) fn heard<'r>(rows: impl Iterator<Item = &'r ServiceRow>) -> Heard {
    let words = |row: &ServiceRow| {
        let project = row.project.as_deref().unwrap_or_default();
        Some((ServiceId::new(project, row.name.as_str()), row.health.as_ref()?.message.clone()))
    };
    rows.filter_map(words).collect()
}

impl Said {
    /// When it is to be told.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

impl Owner {
    /// An answer of a test may change what is said, though it changes no state.
    pub(super) fn may_be_said(&mut self, event: &Event) {
        if let Event::Probed { id, .. } = event
            && self.listeners.iter().any(|listener| listener.hears(id))
        {
            self.said.whose.insert(id.clone());
            self.said.due.get_or_insert_with(|| Instant::now() + TOGETHER);
        }
    }

    /// Tells what has come together.
    pub(super) fn tell_said(&mut self) {
        self.said.due = None;
        for id in std::mem::take(&mut self.said.whose) {
            let Some(view) = self.world.view(&id) else { continue };
            if !is_asked(view.state) {
                continue;
            }
            let message = view.health.message;
            let line = to_bytes(&Line::Message {
                project: convert::project(&id.project),
                service: id.name.to_string(),
                message: message.clone(),
            });
            self.listeners.retain_mut(|listener| {
                !listener.learns(&id, &message) || listener.source.put(Item::Line(line.clone()))
            });
        }
    }
}

impl Listener {
    /// Whether it is told what is said of this one.
    fn hears(&self, id: &ServiceId) -> bool {
        self.heard.is_some() && self.scope.contains(id)
    }

    /// Takes in what it is told of a service; says whether that is news to it.
    pub(super) fn learns(&mut self, id: &ServiceId, message: &str) -> bool {
        if !self.hears(id) {
            return false;
        }
        let Some(heard) = &mut self.heard else { return false };
        let before = heard.insert(id.clone(), message.to_owned());
        before.is_none_or(|before| before != message)
    }
}

/// Whether its tests are what is waited for: of what is ready nobody waits for words.
fn is_asked(state: State) -> bool {
    match state {
        State::Starting | State::Unhealthy => true,
        State::Down
        | State::Waiting
        | State::Ready
        | State::Backoff
        | State::Stopping
        | State::Done
        | State::Failed
        | State::Unknown => false,
    }
}
