//! What stays for a while when nobody holds it any more.
//!
//! Invariant: a node lingers only while it runs (or is a oneshot that is done) and nothing that
//! stays needs it; whatever a lingering node needs and has lingers at least as long. So a dependent
//! never loses what it needs by the clock, and what has gone bad is not kept warm for nobody.
//!
//! A lingering node is wanted still: it is found as it was by whoever needs it again, be it a second
//! session that comes when the first has ended. It is held by nobody, neither by `up` nor by a lease
//! nor by what stays, and no `down` waits for it. A check lingers only for a node that needs it: there
//! is no process to keep warm.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    node::{Next, Node, Phase},
    nouns::{Kind, Want},
    project::Project,
    time::Time,
    words,
    world::Turn,
};

/// For how long it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Linger {
    /// When its last holder went.
    pub since: Time,
    /// When it goes.
    pub until: Time,
}

impl Linger {
    /// For people.
    pub fn words(self) -> String {
        let pause = words::duration(self.until.since(self.since));
        format!("nobody needs it any more, goes in {pause}")
    }

    /// Of an earlier agent; a clock that was another one must not make it stay for ever.
    pub fn restored(self, now: Time) -> Self {
        let until = self.until.min(now.after(self.until.since(self.since)));
        Self { since: self.since.min(now), until }
    }
}

impl Node {
    /// Whether there is anything about it that is worth keeping.
    fn is_worth_keeping(&self) -> bool {
        let done = matches!(self.phase, Phase::Done | Phase::Ended(Next::Done));
        self.runs() || done && self.definition.kind == Kind::Oneshot
    }

    /// Whether it may linger where something that lingers needs it. One that is about to begin a new
    /// life may: it is told to end for that, and not because nobody wants it.
    fn may_stay(&self) -> bool {
        self.want == Want::Up && self.is_worth_keeping()
    }

    /// Whether it may linger for its own sake.
    fn may_linger(&self) -> bool {
        let goes = self.again || self.pending.is_some() || self.leaving.is_some();
        self.may_stay() && !goes
    }
}

impl Project {
    /// What stays though nothing of `wanted` needs it. `at_once`: these don't.
    pub fn lingering(
        &self,
        wanted: &BTreeSet<Arc<str>>,
        at_once: &BTreeSet<Arc<str>>,
        now: Time,
    ) -> BTreeMap<Arc<str>, Linger> {
        let free = |name: &Arc<str>| !wanted.contains(name) && !at_once.contains(name);
        let since = |node: &Node| node.linger.map_or(now, |linger| linger.since);
        let mut roots: Vec<(&Arc<str>, Time)> = Vec::new();
        for (name, node) in self.nodes.iter().filter(|(name, node)| free(name) && !node.gone) {
            let pause = if node.is_check() { Duration::ZERO } else { node.definition.linger };
            let until = since(node).after(pause);
            if until > now && node.may_linger() {
                roots.push((name, until));
            }
        }
        // The longest first: what it needs stays as long, and need not be come to again.
        roots.sort_by_key(|(_, until)| std::cmp::Reverse(*until));
        let mut lingering = BTreeMap::new();
        for (root, until) in roots {
            let mut todo = vec![root];
            while let Some(name) = todo.pop() {
                let Some(node) = self.nodes.get(name) else { continue };
                if !free(name) || !node.may_stay() || lingering.contains_key(name) {
                    continue;
                }
                lingering.insert(name.clone(), Linger { since: since(node), until });
                todo.extend(node.definition.needs.iter().map(|need| &need.service));
            }
        }
        lingering
    }
}

impl Turn<'_> {
    /// One that lingers and has gone bad goes at once, and with it what lingers for it alone.
    pub fn drop_linger_if_bad(&mut self, name: &Arc<str>) {
        let Some(node) = self.project.nodes.get_mut(name) else { return };
        if node.linger.is_some() && !node.is_worth_keeping() && !node.unheard {
            node.linger = None;
            node.set_want(Want::Down);
            if !node.linked.is_empty() {
                self.weigh(&BTreeSet::new());
            }
        }
    }

    /// Its time is over, and so is that of what lingers on top of it.
    pub fn end_linger(&mut self, name: &Arc<str>) {
        let mut todo = vec![name.clone()];
        while let Some(name) = todo.pop() {
            let Some(node) = self.project.nodes.get_mut(&name) else { continue };
            if node.linger.take().is_some() {
                node.set_want(Want::Down);
                todo.extend(self.project.dependents(&name).cloned());
                self.look_at(&name);
            }
        }
    }
}
