//! Which processes belong to which service, as far as the owner knows it: by their shims.

use super::Owner;
use crate::measure::Trees;

impl Owner {
    /// Every life that has a shim. Of all projects: one's shims may hang below the service of another,
    /// and are no part of it.
    pub(super) fn trees(&self) -> Trees {
        let lives = self.nodes.iter().filter_map(|(id, node)| {
            let running = node.running.as_ref()?;
            Some((id.clone(), running.life, running.shim.as_ref()?.pid))
        });
        Trees { lives: lives.collect() }
    }
}
