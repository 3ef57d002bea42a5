//! What was last told: a bounded run of events, each as it goes over the wire.
//!
//! Invariant: every event has the number after the one before it, and whoever reads from a number on
//! gets every event from there, in order, or is told that some of them are gone; never fewer. And
//! what is kept is bounded by number and by bytes, whoever reads or does not.

use std::collections::VecDeque;
use std::sync::Arc;

use hyper::body::Bytes;

/// Events that are kept: a reader may be so far behind. Enough for what bringing up a thousand
/// services says at once.
pub(crate) const EVENTS: usize = 10_000;
/// And so many bytes of them.
pub(crate) const BYTES: usize = 4 << 20;
/// Put together up to this for one write.
const TOGETHER: usize = 16 * 1024;

/// One event.
#[derive(Debug)]
struct Entry {
    /// The project that it is about; `None`: everybody is told.
    project: Option<Arc<str>>,
    /// As it goes over the wire.
    bytes: Bytes,
    /// Nothing comes after it for who reads it.
    is_end: bool,
}

/// The events.
#[derive(Debug)]
pub(crate) struct Ring {
    entries: VecDeque<Entry>,
    /// The number of the first that is kept, or would be.
    first: u64,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

/// What there is from a number on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Some of it, to go out in one piece (empty: it was all about other projects); and from where to
    /// read on, `None` where it ends with the last word.
    Some(Bytes, Option<u64>),
    /// Nothing yet.
    Nothing,
    /// Not all of it any more.
    Gone,
}

impl Ring {
    /// An empty one. The first event has the number 1.
    pub(crate) fn new(most: usize, most_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), first: 1, bytes: 0, most, most_bytes }
    }

    /// The number that the next event will have.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The number of the oldest that is kept; that of the next, where none is.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Takes in the next one, and lets go of the oldest that are too many. The newest stays, however
    /// long it is.
    pub(crate) fn push(&mut self, project: Option<Arc<str>>, bytes: Bytes, is_end: bool) {
        self.bytes += bytes.len();
        self.entries.push_back(Entry { project, bytes, is_end });
        while self.entries.len() > 1
            && (self.entries.len() > self.most || self.bytes > self.most_bytes)
        {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.bytes.len();
            self.first += 1;
        }
    }

    /// What there is from the event `at` on, for who wants to know of `project` alone, or of all.
    pub(crate) fn read(&self, at: u64, project: Option<&str>) -> Read {
        let Some(skipped) = at.checked_sub(self.first) else { return Read::Gone };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let (mut together, mut next) = (Together::default(), at);
        for entry in self.entries.iter().skip(skipped) {
            if together.len() >= TOGETHER {
                break;
            }
            next += 1;
            if project.is_none() || entry.project.is_none() || entry.project.as_deref() == project {
                together.add(&entry.bytes);
            }
            if entry.is_end {
                return Read::Some(together.into_bytes(), None);
            }
        }
        if next == at { Read::Nothing } else { Read::Some(together.into_bytes(), Some(next)) }
    }
}

/// Pieces for one write; one alone is not copied.
#[derive(Default)]
struct Together {
    first: Bytes,
    rest: Vec<u8>,
}

impl Together {
    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    fn add(&mut self, bytes: &Bytes) {
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = bytes.clone();
            return;
        }
        if self.rest.is_empty() {
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(bytes);
    }

    fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        /// An event of so many bytes, of this project.
        Push(usize, Option<u8>),
        /// This reader reads once.
        Read(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => (1usize..40, prop::option::of(0u8..2)).prop_map(|(n, p)| Act::Push(n, p)),
            1 => (0usize..4).prop_map(Act::Read),
        ]
    }

    fn project(number: u8) -> Arc<str> {
        format!("/p{number}").into()
    }

    /// What reader `number` wants to know of.
    fn of(number: usize) -> Option<Arc<str>> {
        [None, Some(project(0)), Some(project(1)), None][number].clone()
    }

    proptest! {
        /// Against a list that keeps everything: a reader gets exactly what was pushed since it last
        /// read, or is told that it can't, and then exactly that is true.
        #[test]
        fn a_reader_gets_all_in_order_or_is_told(acts in prop::collection::vec(act(), 1..200)) {
            const MOST: usize = 12;
            const MOST_BYTES: usize = 200;
            let mut ring = Ring::new(MOST, MOST_BYTES);
            let mut all: Vec<(Option<Arc<str>>, Bytes)> = Vec::new();
            let mut readers = [1u64; 4];
            for act in acts {
                match act {
                    Act::Push(length, of) => {
                        let text = format!("{:>length$}", all.len() % 10);
                        let (of, bytes) = (of.map(project), Bytes::from(text));
                        all.push((of.clone(), bytes.clone()));
                        ring.push(of, bytes, false);
                        prop_assert!(ring.entries.len() <= MOST);
                        prop_assert!(ring.bytes <= MOST_BYTES || ring.entries.len() == 1);
                        let kept: usize = ring.entries.iter().map(|e| e.bytes.len()).sum();
                        prop_assert_eq!(ring.bytes, kept);
                        prop_assert_eq!(ring.next(), all.len() as u64 + 1);
                    }
                    Act::Read(number) => {
                        let at = readers[number];
                        let missed = &all[(at as usize - 1)..];
                        // What fits is kept, and the newest always.
                        let fits = missed.iter().map(|(_, b)| b.len()).sum::<usize>() <= MOST_BYTES;
                        let whole = missed.len() <= MOST && (fits || missed.len() == 1);
                        let wanted = of(number);
                        let mine = |p: &Option<Arc<str>>| {
                            wanted.is_none() || p.is_none() || *p == wanted
                        };
                        let expected: Vec<u8> = missed
                            .iter()
                            .filter(|(p, _)| mine(p))
                            .flat_map(|(_, b)| b.to_vec())
                            .collect();
                        match ring.read(at, wanted.as_deref()) {
                            Read::Nothing => prop_assert!(missed.is_empty()),
                            Read::Gone => {
                                prop_assert!(!whole);
                                readers[number] = ring.next();
                            }
                            Read::Some(bytes, next) => {
                                prop_assert!(whole);
                                prop_assert_eq!(&bytes[..], &expected[..]);
                                prop_assert_eq!(next, Some(ring.next()));
                                readers[number] = ring.next();
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn much_goes_out_in_pieces_and_nothing_twice() {
        let mut ring = Ring::new(100, 1 << 20);
        for number in 0..40 {
            ring.push(None, vec![number; 1000].into(), false);
        }
        let (mut at, mut got) = (1, Vec::new());
        while let Read::Some(bytes, Some(next)) = ring.read(at, None) {
            assert!(bytes.len() < TOGETHER + 1000, "{}", bytes.len());
            got.extend_from_slice(&bytes);
            at = next;
        }
        assert_eq!(got, (0..40).flat_map(|n| vec![n; 1000]).collect::<Vec<u8>>());
        assert_eq!((at, ring.read(at, None)), (41, Read::Nothing));
    }

    #[test]
    fn nothing_is_read_beyond_the_last_word_and_it_is_heard_in_every_project() {
        let mut ring = Ring::new(100, 1 << 20);
        ring.push(Some("/a".into()), "a".into(), false);
        ring.push(None, "end".into(), true);
        ring.push(None, "later".into(), false);
        assert_eq!(ring.read(1, Some("/b")), Read::Some("end".into(), None));
        assert_eq!(ring.read(1, None), Read::Some("aend".into(), None));
        assert_eq!(ring.read(3, None), Read::Some("later".into(), Some(4)));
    }

    #[test]
    fn of_other_projects_there_is_nothing_to_say_and_the_place_moves_on() {
        let mut ring = Ring::new(100, 1 << 20);
        ring.push(Some("/a".into()), "a".into(), false);
        assert_eq!(ring.read(1, Some("/b")), Read::Some(Bytes::new(), Some(2)));
        assert_eq!(ring.read(2, Some("/b")), Read::Nothing);
    }

    #[test]
    fn one_that_is_longer_than_all_may_be_is_kept_while_it_is_the_newest() {
        let mut ring = Ring::new(10, 5);
        ring.push(None, "abc".into(), false);
        ring.push(None, "longer".into(), false);
        assert_eq!((ring.first(), ring.next()), (2, 3));
        assert_eq!(ring.read(1, None), Read::Gone);
        assert_eq!(ring.read(2, None), Read::Some("longer".into(), Some(3)));
    }
}
