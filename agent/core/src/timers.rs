//! The deadlines of all nodes, the first one at hand.
//!
//! Invariant: a deadline that is set again moves in its place, so that nothing is allocated for it:
//! thousands of probes that pass would otherwise cost an allocation each. Whoever has a deadline
//! keeps the number under which it stands; no number is anybody else's meanwhile.

use crate::{nouns::ServiceId, time::Time};

/// A binary heap (children of `n` at `2n + 1` and `2n + 2`), and where each number stands in it.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: Vec<(Time, usize)>,
    places: Vec<Place>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Place {
    /// In the heap.
    at: usize,
    id: Option<ServiceId>,
}

impl Timers {
    /// The first deadline.
    pub fn first(&self) -> Option<Time> {
        self.heap.first().map(|(time, _)| *time)
    }

    /// Whose deadlines have come, by time and then by name.
    pub fn due(&self, now: Time) -> Vec<ServiceId> {
        let mut due: Vec<(Time, &ServiceId)> = Vec::new();
        // What stands below one that has not come has not come either.
        let mut todo = Vec::new();
        let come = |at: usize| self.heap.get(at).is_some_and(|(time, _)| *time <= now);
        todo.extend(come(0).then_some(0));
        while let Some(at) = todo.pop() {
            let (time, number) = self.heap[at];
            due.extend(self.places[number].id.as_ref().map(|id| (time, id)));
            todo.extend([2 * at + 1, 2 * at + 2].into_iter().filter(|at| come(*at)));
        }
        due.sort_unstable();
        due.into_iter().map(|(_, id)| id.clone()).collect()
    }

    /// Sets the deadline of `id`, or takes it away. `number`: that of `id`, kept for it.
    pub fn set(&mut self, number: &mut Option<usize>, id: &ServiceId, time: Option<Time>) {
        match (*number, time) {
            (None, None) => {}
            (Some(known), Some(time)) => {
                let at = self.places[known].at;
                self.heap[at].0 = time;
                self.settle(at);
            }
            (None, Some(time)) => {
                let at = self.heap.len();
                let place = Place { at, id: Some(id.clone()) };
                let new = match self.free.pop() {
                    Some(free) => {
                        self.places[free] = place;
                        free
                    }
                    None => {
                        self.places.push(place);
                        self.places.len() - 1
                    }
                };
                *number = Some(new);
                self.heap.push((time, new));
                self.settle(at);
            }
            (Some(known), None) => {
                *number = None;
                let at = self.places[known].at;
                self.places[known].id = None;
                self.free.push(known);
                self.heap.swap_remove(at);
                if at < self.heap.len() {
                    self.settle(at);
                }
            }
        }
    }

    /// Brings what stands at `at` to where it belongs.
    fn settle(&mut self, mut at: usize) {
        self.places[self.heap[at].1].at = at;
        while at > 0 && self.heap[at].0 < self.heap[(at - 1) / 2].0 {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
        loop {
            let below = 2 * at + 1..(2 * at + 3).min(self.heap.len());
            let Some(least) = below.min_by_key(|child| self.heap[*child].0) else { return };
            if self.heap[at].0 <= self.heap[least].0 {
                return;
            }
            self.swap(at, least);
            at = least;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        for at in [one, other] {
            self.places[self.heap[at].1].at = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, time::Duration};

    /// Against a plain sorted set, over many random moves.
    #[test]
    fn the_first_is_always_at_hand_and_none_is_lost() {
        let (mut timers, mut plain) = (Timers::default(), BTreeSet::new());
        let mut numbers = vec![None; 40];
        let mut times: Vec<Option<Time>> = vec![None; 40];
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let who = (seed >> 33) as usize % 40;
            let id = ServiceId::new("/p", format!("{who:02}"));
            let time = Duration::from_millis((seed >> 40) % 50);
            let time = (!(seed >> 20).is_multiple_of(4)).then_some(Time(time));
            times[who].map(|old| plain.remove(&(old, id.clone())));
            plain.extend(time.map(|time| (time, id.clone())));
            times[who] = time;
            timers.set(&mut numbers[who], &id, time);
            assert_eq!(timers.first(), plain.first().map(|(time, _)| *time));
            let now = Time(Duration::from_millis((seed >> 10) % 50));
            let due: Vec<_> = plain.iter().take_while(|(time, _)| *time <= now).collect();
            assert_eq!(
                timers.due(now),
                due.into_iter().map(|(_, id)| id.clone()).collect::<Vec<_>>()
            );
        }
    }
}
