//! Which shims hold what of a project: its bundle.
//!
//! Invariant: after every command each shim of the project was given what is in force, before any
//! life begins with it; a shim that has another number is given it when it is taken over.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::warn;

use super::Owner;
use crate::bundle::{Bundle, Held};

impl Owner {
    /// Makes it anew where something has changed, and gives it to every shim of the project.
    pub(super) fn renew_bundle(&mut self, project: &Arc<str>) {
        let mut bundle = Bundle::new();
        for view in self.world.views(Some(project)) {
            if let Some(node) = self.nodes.get(&view.id) {
                bundle.add(&view.id.name, view.order, node, self.ports.chosen(&view.id));
            }
        }
        let last = self.bundles.get(project);
        // A shim may hold a later one than any that was given back.
        let running = self.nodes.iter().filter(|(id, _)| id.project == *project);
        let held = running.filter_map(|(_, node)| node.running.as_ref()?.holds);
        let newest = held.chain(last.map(|last| last.generation)).max().unwrap_or(0);
        match bundle.seal(last, newest + 1) {
            Ok(Some(held)) => {
                self.bundles.insert(Arc::clone(project), held);
                self.hold_all();
            }
            Ok(None) => {}
            Err(error) => {
                warn!(%project, %error, "cannot keep its environment for an agent that follows this one");
            }
        }
    }

    /// Takes in what a shim gave back, unless something later is known.
    pub(super) fn take_bundle(&mut self, project: &Arc<str>, bundle: Bundle, held: Held) {
        if self.bundles.get(project).is_some_and(|known| known.generation >= held.generation) {
            return;
        }
        let Bundle { captures, services, .. } = bundle;
        for (name, part) in services {
            let id = hearth_core::ServiceId::new(Arc::clone(project), name);
            if let Some(port) = part.port {
                self.ports.put_back(id.clone(), port);
            }
            if let Some(service) = part.versions.last() {
                self.ports.learn(&id, service);
            }
            let node = self.nodes.entry(id).or_default();
            node.loose |= part.loose;
            for version in part.versions {
                if node.version(version.fingerprint).is_none() {
                    node.offer(version);
                }
            }
            let capture = part.capture.and_then(|number| captures.get(number));
            if node.capture.is_none() {
                node.capture = capture.cloned();
            }
        }
        self.bundles.insert(Arc::clone(project), held);
    }

    /// Gives it to every shim that has another one.
    pub(super) fn hold_all(&mut self) {
        let bundles: &BTreeMap<Arc<str>, Held> = &self.bundles;
        for (id, node) in &mut self.nodes {
            let Some(running) = &mut node.running else { continue };
            if let Some(held) = bundles.get(&id.project)
                && running.holds != Some(held.generation)
            {
                running.link.hold(held);
                running.holds = Some(held.generation);
            }
        }
    }
}
