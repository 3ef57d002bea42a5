//! The graph of needs: order, levels, cycles, what belongs to what.
//!
//! Invariant: the graph that decisions go by has no cycle. Nodes on one, or with a need that the
//! file doesn't have, are told apart here and never started; else they would wait for each other
//! for ever, and nobody would say why. No recursion: a chain of any length is walked on the heap.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::definition::Definition;

/// What is wrong with the needs of a file, by the name of the service that has them, in words for
/// people. Empty: the order is sound.
#[must_use]
pub fn faults(definitions: &BTreeMap<Arc<str>, Definition>) -> BTreeMap<Arc<str>, String> {
    let mut faults = BTreeMap::new();
    for (name, definition) in definitions {
        for need in &definition.needs {
            if !definitions.contains_key(&need.service) {
                let words = format!("needs {}, which the file does not have", need.service);
                faults.insert(name.clone(), words);
            }
        }
    }
    let left = on_cycles(definitions);
    for name in &left {
        let words = format!("needs itself: {}", cycle_from(name, &left, definitions));
        faults.insert(name.clone(), words);
    }
    faults
}

/// The services in the order of their start: what stands in one level can be started side by side
/// once the levels before are ready. What is on a cycle, or needs what is on one, is left out.
#[must_use]
pub fn levels(definitions: &BTreeMap<Arc<str>, Definition>) -> Vec<Vec<Arc<str>>> {
    let mut missing: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&Arc<str>, Vec<&Arc<str>>> = BTreeMap::new();
    for (name, definition) in definitions {
        let known = definition.needs.iter().filter(|need| definitions.contains_key(&need.service));
        missing.insert(name, known.clone().count());
        for need in known {
            dependents.entry(&need.service).or_default().push(name);
        }
    }
    let mut level: Vec<&Arc<str>> =
        missing.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    let mut levels = Vec::new();
    while !level.is_empty() {
        let mut next = Vec::new();
        for dependent in level.iter().flat_map(|name| dependents.get(name)).flatten().copied() {
            if let Some(count) = missing.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    next.push(dependent);
                }
            }
        }
        levels.push(level.into_iter().cloned().collect());
        level = next;
    }
    levels
}

/// Everything that can be come to from `roots` along `next`, the roots too.
pub(crate) fn reach<I>(
    roots: impl IntoIterator<Item = Arc<str>>,
    next: impl Fn(&str) -> I,
) -> BTreeSet<Arc<str>>
where
    I: IntoIterator<Item = Arc<str>>,
{
    let mut todo: Vec<Arc<str>> = roots.into_iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = todo.pop() {
        if seen.insert(name.clone()) {
            todo.extend(next(&name));
        }
    }
    seen
}

/// What is left when everything that can be started in order, and everything that nobody left
/// needs, is taken away: the cycles, and what lies between two of them.
fn on_cycles(definitions: &BTreeMap<Arc<str>, Definition>) -> BTreeSet<Arc<str>> {
    let mut left: BTreeSet<Arc<str>> = definitions.keys().cloned().collect();
    for name in levels(definitions).into_iter().flatten() {
        left.remove(&name);
    }
    loop {
        let needed: BTreeSet<Arc<str>> = left
            .iter()
            .flat_map(|name| &definitions[name].needs)
            .map(|need| need.service.clone())
            .collect();
        let before = left.len();
        left.retain(|name| needed.contains(name));
        if left.len() == before {
            return left;
        }
    }
}

/// `a -> b -> a`, the cycle that is come to from `start`.
fn cycle_from(
    start: &Arc<str>,
    left: &BTreeSet<Arc<str>>,
    definitions: &BTreeMap<Arc<str>, Definition>,
) -> String {
    let mut path: Vec<&str> = vec![start];
    let mut at: &str = start;
    loop {
        let needs = definitions[at].needs.iter();
        // There is always one: whoever needs nothing of `left` is not in it.
        let Some(next) = needs.map(|need| &need.service).find(|name| left.contains(*name)) else {
            return path.join(" -> ");
        };
        let seen = path.iter().position(|name| *name == &**next);
        path.push(next);
        if let Some(first) = seen {
            return path[first..].join(" -> ");
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backoff, GiveUp, Kind, Lost, Need, Restart};
    use std::time::Duration;

    fn file(edges: &[(&str, &[&str])]) -> BTreeMap<Arc<str>, Definition> {
        let define = |needs: &[&str]| Definition {
            kind: Kind::Service,
            enabled: true,
            display: None,
            needs: needs.iter().map(|n| Need { service: (*n).into(), lost: Lost::Keep }).collect(),
            tests: Vec::new(),
            settle: Duration::ZERO,
            start_timeout: None,
            restart: Restart::Never,
            backoff: Backoff {
                min: Duration::ZERO,
                max: Duration::ZERO,
                reset_after: Duration::ZERO,
            },
            give_up: GiveUp { failures: 1, within: Duration::ZERO },
            stop_timeout: Duration::ZERO,
            linger: Duration::ZERO,
            fingerprint: 0,
            order: 0,
        };
        edges.iter().map(|(name, needs)| ((*name).into(), define(needs))).collect()
    }

    #[test]
    fn levels_hold_what_can_start_side_by_side() {
        let file = file(&[("web", &["api"]), ("api", &["db", "mq"]), ("db", &[]), ("mq", &[])]);
        let levels = levels(&file);
        let names: Vec<Vec<&str>> =
            levels.iter().map(|level| level.iter().map(|n| &**n).collect()).collect();
        assert_eq!(names, [vec!["db", "mq"], vec!["api"], vec!["web"]]);
        assert!(faults(&file).is_empty());
    }

    #[test]
    fn a_cycle_is_told_by_its_way_and_only_to_those_on_it() {
        let file = file(&[("a", &["b"]), ("b", &["a"]), ("after", &["a"]), ("before", &[])]);
        let faults = faults(&file);
        assert_eq!(faults.len(), 2);
        assert_eq!(faults["a"], "needs itself: a -> b -> a");
    }

    #[test]
    fn an_unknown_need_is_told() {
        let faults = faults(&file(&[("a", &["nobody"])]));
        assert_eq!(faults["a"], "needs nobody, which the file does not have");
    }
}
