//! The reading side for what is there now. It takes no lock and needs nobody: the writer may write
//! meanwhile, and there need be no agent.
//!
//! Invariant: what it costs to read the last lines depends on those lines, not on the log's length.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::cursor::{Cursor, Progress};
use crate::since::Since;
use crate::{Extent, Line, Position, index, place};

/// Bytes looked through at a time for newlines, backward.
const WINDOW: usize = 64 * 1024;
/// Records looked through at a time, backward.
const RECORDS: usize = 128;
/// Bytes after which [`Lines`] gives out what it has.
const BUDGET: u64 = 64 * 1024;

/// Reads one service's log. Lines come in the order in which they ended; lines that nothing ended
/// come last, as far as they are there.
#[derive(Debug, Clone)]
pub struct Reader {
    dir: PathBuf,
}

impl Reader {
    /// A reader of the log in `dir`, which need not be there: such a log is empty.
    pub fn open(dir: impl Into<PathBuf>) -> Reader {
        Reader { dir: dir.into() }
    }

    /// What is there of `extent`.
    pub fn read(&self, extent: Extent) -> io::Result<Lines> {
        let since = Since::of(&self.dir, extent.since)?;
        let start = settled(&self.dir, since.behind())?;
        match extent.last {
            Some(n) => Ok(Lines::of(self.last(n, start, since, |_| true)?)),
            None => Ok(Lines::new(Cursor::new(&self.dir, start).since(since))),
        }
    }

    /// The last `n` lines, or as many as there are.
    pub fn last_lines(&self, n: usize) -> io::Result<Vec<Line>> {
        self.last(n, Position::START, Since::EVER, |_| true)
    }

    /// The last `n` lines that `life` wrote.
    pub fn last_lines_of(&self, life: u64, n: usize) -> io::Result<Vec<Line>> {
        let Some(start) = self.start_of_life(life)? else { return Ok(Vec::new()) };
        self.last(n, start, Since::EVER, |line| line.life == Some(life))
    }

    /// The lines from `from` on; the rest of a line in whose middle that is is left out.
    pub fn lines_from(&self, from: Position) -> Lines {
        Lines::new(Cursor::new(&self.dir, from))
    }

    /// The lines that ended at `since` or later, and those of an unknown time that may have.
    pub fn lines_since(&self, since: SystemTime) -> io::Result<Lines> {
        self.read(Extent { since: Some(since), last: None })
    }

    /// The end of what is there now; what is written later comes behind it.
    pub fn end(&self) -> io::Result<Position> {
        match place::numbers(&self.dir)?.last() {
            Some(&file) => Ok(Position { file, offset: place::length(&self.dir, file)? }),
            None => Ok(Position::START),
        }
    }

    /// Where `life` began, or the first that is kept of it; `None` if it has written nothing and its
    /// writer hasn't been opened.
    pub fn start_of_life(&self, life: u64) -> io::Result<Option<Position>> {
        let mut start = None;
        for file in place::numbers(&self.dir)?.into_iter().rev() {
            let Ok(index) = File::open(place::index(&self.dir, file)) else { continue };
            let first = index::partition(&index, |record| record.life < life)?;
            match index::record(&index, first)? {
                Some(record) if record.life == life => {
                    start = Some(Position { file, offset: record.offset });
                }
                Some(_) | None => {}
            }
            if first > 0 {
                break;
            }
        }
        Ok(start)
    }

    /// The newest life that the log knows of.
    pub fn last_life(&self) -> io::Result<Option<u64>> {
        for number in place::numbers(&self.dir)?.into_iter().rev() {
            let Ok(index) = File::open(place::index(&self.dir, number)) else { continue };
            let Some(last) = index::count(&index)?.checked_sub(1) else { continue };
            if let Some(record) = index::record(&index, last)? {
                return Ok(Some(record.life));
            }
        }
        Ok(None)
    }

    fn last(
        &self,
        n: usize,
        not_before: Position,
        since: Since,
        wanted: impl Fn(&Line) -> bool,
    ) -> io::Result<Vec<Line>> {
        let (mut cursor, mut lines) = tail(&self.dir, n, not_before, since, &wanted)?;
        cursor.finish(|line| lines.extend(wanted(&line).then_some(line)));
        let surplus = lines.len().saturating_sub(n);
        lines.drain(..surplus);
        Ok(lines.into())
    }
}

/// A cursor at the log's end, and the last `n` ended lines before it that are wanted and stand
/// behind `not_before`, where no line may be open.
pub(crate) fn tail(
    dir: &Path,
    n: usize,
    not_before: Position,
    since: Since,
    wanted: impl Fn(&Line) -> bool,
) -> io::Result<(Cursor, VecDeque<Line>)> {
    // Not every newline ends a wanted line.
    let mut newlines = n.saturating_add(3);
    loop {
        let from = settled(dir, before_newlines(dir, newlines)?)?.max(not_before);
        let mut cursor = Cursor::new(dir, from).since(since);
        let mut lines = VecDeque::new();
        let keep = |line: Line| {
            if wanted(&line) {
                lines.push_back(line);
            }
            if lines.len() > n {
                lines.pop_front();
            }
        };
        let progress = cursor.advance(u64::MAX, keep)?;
        debug_assert_eq!(progress, Progress::End, "there is no end to the budget");
        if lines.len() >= n || from <= not_before {
            return Ok((cursor, lines));
        }
        newlines = newlines.saturating_mul(2);
    }
}

/// The place behind the last newline but `newlines`, found from the end backward.
fn before_newlines(dir: &Path, newlines: usize) -> io::Result<Position> {
    let mut left = newlines;
    let mut window = vec![0; WINDOW];
    for file in place::numbers(dir)?.into_iter().rev() {
        let log = match File::open(place::log(dir, file)) {
            Ok(log) => log,
            // Retention was quicker: what is older is gone too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        let mut end = log.metadata()?.len();
        while end > 0 {
            let start = end.saturating_sub(WINDOW as u64);
            let size = usize::try_from(end - start).unwrap_or(WINDOW);
            let got = index::read_at(&log, &mut window[..size], start)?;
            let bytes = &window[..got];
            let here = bytes.iter().filter(|&&byte| byte == b'\n').count();
            if here > left {
                let at = nth_newline_from_end(bytes, left);
                return Ok(Position { file, offset: start + at as u64 + 1 });
            }
            left -= here;
            end = start;
        }
    }
    Ok(Position::START)
}

/// The last place up to `from` at which no stream had a line open, so that who begins to read there
/// gets every line whole. How far back that is depends on how long a line was open.
pub(crate) fn settled(dir: &Path, from: Position) -> io::Result<Position> {
    let mut oldest = from;
    let mut buffer = [[0; index::SIZE]; RECORDS];
    for file in place::numbers(dir)?.into_iter().rev().filter(|&file| file <= from.file) {
        let Ok(index) = File::open(place::index(dir, file)) else { break };
        let mut left = match file == from.file {
            true => index::partition(&index, |record| record.offset <= from.offset)?,
            false => index::count(&index)?,
        };
        while left > 0 {
            let start = left.saturating_sub(RECORDS as u64);
            let size = usize::try_from(left - start).unwrap_or(RECORDS);
            let records: Vec<_> = index::block(&index, start, &mut buffer[..size])?.collect();
            for record in records.iter().rev() {
                oldest = Position { file, offset: record.offset };
                if record.is_clean() {
                    return Ok(oldest);
                }
            }
            left = start;
        }
    }
    Ok(oldest)
}

/// Where the newline stands that has exactly `after` newlines behind it; there is one.
fn nth_newline_from_end(bytes: &[u8], after: usize) -> usize {
    let newlines = bytes.iter().enumerate().rev().filter(|&(_, &byte)| byte == b'\n');
    newlines.map(|(at, _)| at).nth(after).unwrap_or(0)
}

/// Lines of a log, forward, as far as it goes when its end is reached; after that, none.
#[derive(Debug)]
pub struct Lines {
    /// None when its end was reached.
    cursor: Option<Cursor>,
    ready: VecDeque<Line>,
}

impl Lines {
    fn new(cursor: Cursor) -> Lines {
        Lines { cursor: Some(cursor), ready: VecDeque::new() }
    }

    /// These, and no more.
    fn of(lines: Vec<Line>) -> Lines {
        Lines { cursor: None, ready: lines.into() }
    }

    /// Some of the lines that come next; none: there are no more.
    pub fn portion(&mut self) -> io::Result<Vec<Line>> {
        self.refill()?;
        Ok(std::mem::take(&mut self.ready).into())
    }

    /// Reads on until there is a line, or no more of them.
    fn refill(&mut self) -> io::Result<()> {
        while self.ready.is_empty()
            && let Some(mut cursor) = self.cursor.take()
        {
            let mut keep = |line: Line| self.ready.push_back(line);
            match cursor.advance(BUDGET, &mut keep)? {
                Progress::More => self.cursor = Some(cursor),
                Progress::End => cursor.finish(keep),
            }
        }
        Ok(())
    }
}

impl Iterator for Lines {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.refill() {
            Ok(()) => self.ready.pop_front().map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}
