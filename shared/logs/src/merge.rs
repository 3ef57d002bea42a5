//! Several logs in one order, by time.
//!
//! Invariant: lines of one log keep their order, and a line is given out only when every other log
//! has shown what comes next in it, or has no more for now. So whatever is there already comes out
//! sorted, however it was read; only lines that are written at the same instant may change places.

use std::collections::VecDeque;

use crate::Line;

/// Puts the lines of several logs into one order. It reads nothing itself: it says of which log it
/// needs lines, so that those who wait in different ways can use it alike.
#[derive(Debug)]
pub struct Merge {
    logs: Vec<Log>,
}

#[derive(Debug, Default)]
struct Log {
    lines: VecDeque<Line>,
    /// There was nothing more when it was last asked for.
    dry: bool,
}

/// What a [`Merge`] has, or needs.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The next line, and the number of the log that it is of.
    Line(usize, Line),
    /// The log of this number is to be read: [`Merge::give`] what comes.
    Needs(usize),
    /// No log has anything more for now. [`Merge::wake`] when one may have.
    Dry,
}

impl Merge {
    /// Of so many logs, numbered from 0.
    pub fn new(logs: usize) -> Merge {
        Merge { logs: (0..logs).map(|_| Log::default()).collect() }
    }

    /// What comes next. Of lines with one time, that of the log with the lowest number; a line of an
    /// unknown time does not wait for others.
    #[expect(clippy::should_implement_trait, reason = "no iterator: it asks for what it needs")]
    pub fn next(&mut self) -> Next {
        let mut earliest = None;
        for (number, log) in self.logs.iter().enumerate() {
            match log.lines.front() {
                Some(head) if earliest.is_none_or(|(at, _)| head.at < at) => {
                    earliest = Some((head.at, number));
                }
                Some(_) => {}
                None if log.dry => {}
                None => return Next::Needs(number),
            }
        }
        let line = earliest.and_then(|(_, number)| {
            let line = self.logs[number].lines.pop_front();
            line.map(|line| Next::Line(number, line))
        });
        line.unwrap_or(Next::Dry)
    }

    /// What was read of a log; no lines: it has no more for now.
    pub fn give(&mut self, number: usize, lines: impl IntoIterator<Item = Line>) {
        let log = &mut self.logs[number];
        let before = log.lines.len();
        log.lines.extend(lines);
        log.dry = log.lines.len() == before;
    }

    /// Something may have come: each log is asked again.
    pub fn wake(&mut self) {
        for log in &mut self.logs {
            log.dry = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn line(second: Option<u64>, text: &str) -> Line {
        let at = second.map(|second| SystemTime::UNIX_EPOCH + Duration::from_secs(second));
        Line { at, life: None, stream: None, bytes: text.into(), terminated: true }
    }

    /// The texts of all that comes until it is dry; each log gives what it has in portions of two.
    fn drain(merge: &mut Merge, logs: &mut [VecDeque<Line>]) -> String {
        let mut texts = String::new();
        loop {
            match merge.next() {
                Next::Line(_, line) => texts.push_str(std::str::from_utf8(&line.bytes).unwrap()),
                Next::Needs(number) => {
                    let log = &mut logs[number];
                    let portion: Vec<Line> = log.drain(..log.len().min(2)).collect();
                    merge.give(number, portion);
                }
                Next::Dry => return texts,
            }
        }
    }

    #[test]
    fn by_time_whatever_the_portions_and_on_after_a_pause() {
        let mut logs = [
            VecDeque::from([line(Some(1), "a"), line(Some(4), "d"), line(Some(5), "e")]),
            VecDeque::from([line(Some(2), "b"), line(Some(3), "c"), line(Some(5), "f")]),
            VecDeque::new(),
        ];
        let mut merge = Merge::new(3);
        assert_eq!(drain(&mut merge, &mut logs), "abcdef");
        assert_eq!(merge.next(), Next::Dry);
        logs[2].push_back(line(Some(6), "g"));
        assert_eq!(drain(&mut merge, &mut logs), "", "nobody has said that there is more");
        merge.wake();
        assert_eq!(drain(&mut merge, &mut logs), "g");
    }

    #[test]
    fn an_unknown_time_keeps_its_place_in_its_log() {
        let mut logs = [
            VecDeque::from([line(Some(5), "x"), line(None, "y"), line(Some(7), "z")]),
            VecDeque::from([line(Some(1), "a"), line(Some(6), "b")]),
        ];
        assert_eq!(drain(&mut Merge::new(2), &mut logs), "axybz");
    }
}
