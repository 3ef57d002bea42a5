//! A place in the log that moves forward as far as the log goes, and on when it has grown.
//!
//! Invariant: after `Progress::End` everything that was in the log when the call began has been
//! given out or waits as an open line, each byte once. The cursor holds the file that it is in
//! open, so retention takes nothing from under it; it leaves a file only when a later one was there
//! before it read that file to its end (the writer never goes back to a file that it has left).
//! It holds the directory open too: numbers mean something only within one directory, and where that
//! was removed or moved away and made again, all that is in the new one is new.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::compose::{Composer, Source};
use crate::index::{self, Kind, Record, SIZE};
use crate::since::Since;
use crate::{Line, Position, place};

/// Bytes read at a time.
const PORTION: usize = 64 * 1024;
/// Records read at a time.
const RECORDS: usize = 128;

/// Whether there was more than the caller wanted at a time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    End,
}

#[derive(Debug)]
pub(crate) struct Cursor {
    dir: PathBuf,
    /// Where to begin as long as no file is open.
    from: Position,
    since: Since,
    current: Option<Current>,
    /// How many files have been opened.
    entered: u64,
    composer: Composer,
}

#[derive(Debug)]
struct Current {
    number: u64,
    /// What the file stands in. Held open, its inode is nobody else's.
    dir: File,
    log: File,
    /// None where it is missing: everything in the file is unindexed.
    index: Option<File>,
    /// Everything before this place has gone to the composer.
    offset: u64,
    /// The first record that may still have something to say.
    record: u64,
    window: Window,
}

/// A stretch of a log file in memory, so that many small chunks cost one read.
#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Cursor {
    pub(crate) fn new(dir: &Path, from: Position) -> Cursor {
        let (dir, since, composer) = (dir.to_owned(), Since::EVER, Composer::default());
        Cursor { dir, from, since, current: None, entered: 0, composer }
    }

    /// Gives out only lines since a time.
    pub(crate) fn since(self, since: Since) -> Cursor {
        Cursor { since, ..self }
    }

    /// The number of the file it is in.
    pub(crate) fn number(&self) -> Option<u64> {
        self.current.as_ref().map(|current| current.number)
    }

    /// How many files it has been in, which may have had one number.
    pub(crate) fn entered(&self) -> u64 {
        self.entered
    }

    /// Moves on to the end of the log, or until about `budget` bytes of it have been read.
    pub(crate) fn advance(
        &mut self,
        budget: u64,
        mut out: impl FnMut(Line),
    ) -> io::Result<Progress> {
        let mut left = budget;
        let since = self.since;
        let mut out = |line: Line| {
            if since.wants(&line) {
                out(line);
            }
        };
        loop {
            let Some(current) = &mut self.current else {
                if !self.enter()? {
                    return Ok(Progress::End);
                }
                continue;
            };
            let next = current.next(&self.dir)?;
            if current.read(&mut self.composer, &since, &mut left, &mut out)? == Progress::More {
                return Ok(Progress::More);
            }
            let Some(next) = next else { return Ok(Progress::End) };
            if next != current.number + 1 {
                self.composer.flush(&mut out);
            }
            self.from = Position { file: next, offset: 0 };
            self.current = None;
        }
    }

    /// The log ends here for this reader: what is open stays as it is.
    pub(crate) fn finish(&mut self, mut out: impl FnMut(Line)) {
        let since = self.since;
        self.composer.flush(&mut |line| {
            if since.wants(&line) {
                out(line);
            }
        });
    }

    /// Opens the file of `from`, or the first after it. False: there is none yet.
    fn enter(&mut self) -> io::Result<bool> {
        loop {
            let Some(dir) = open(&self.dir)? else { return Ok(false) };
            let numbers = place::numbers(&self.dir)?;
            // All older than asked for: the log was removed and begun anew since.
            let from = place::log(&self.dir, self.from.file).exists().then_some(&self.from.file);
            let later = from.or_else(|| numbers.iter().find(|&&number| number >= self.from.file));
            let Some(&number) = later.or(numbers.first()) else { return Ok(false) };
            let Some(log) = open(&place::log(&self.dir, number))? else { continue };
            let index = open(&place::index(&self.dir, number))?;
            // Retention takes the log file first: without an index it may be gone by now.
            let retained = index.is_some() || log.metadata()?.nlink() > 0;
            if !retained || !is_at(&dir, &self.dir)? {
                continue;
            }
            let (offset, record, window) = (0, 0, Window::default());
            let mut current = Current { number, dir, log, index, offset, record, window };
            if number == self.from.file && self.from.offset > 0 {
                current.seek(self.from.offset, &mut self.composer)?;
            }
            self.current = Some(current);
            self.entered += 1;
            return Ok(true);
        }
    }
}

impl Current {
    /// The number of the file after this one, as far as there is one by now.
    fn next(&self, dir: &Path) -> io::Result<Option<u64>> {
        // A list of many files is made piece by piece: it may have a file and not the one before it,
        // which was there earlier. So that one is asked for by its name.
        let after = self.number + 1;
        let is_there = place::log(dir, after).exists();
        let numbers = if is_there { Vec::new() } else { place::numbers(dir)? };
        if is_at(&self.dir, dir)? {
            let later = numbers.into_iter().find(|&other| other > self.number);
            let skipped = later.is_some() && place::log(dir, after).exists();
            return Ok(if is_there || skipped { Some(after) } else { later });
        }
        Ok(place::numbers(dir)?.first().copied())
    }

    /// Begins in the middle: finds the record, and whether `offset` is within a line.
    fn seek(&mut self, offset: u64, composer: &mut Composer) -> io::Result<()> {
        self.offset = offset.min(self.log.metadata()?.len());
        let Some(index) = &self.index else {
            return self.seek_line(Source::UNINDEXED, composer);
        };
        self.record = index::partition(index, |record| record.offset < self.offset)?;
        let Some(before) = self.record.checked_sub(1) else {
            return self.seek_line(Source::UNINDEXED, composer);
        };
        let Some(around) = index::record(index, before)? else { return Ok(()) };
        let next = index::record(index, self.record)?;
        if next.is_some_and(|next| next.offset == self.offset) {
            return Ok(()); // At a record's beginning, which tells by itself.
        }
        if around.end() > self.offset {
            self.record = before;
            self.seek_line(Source::of(&around), composer)
        } else {
            self.seek_line(Source::UNINDEXED, composer)
        }
    }

    fn seek_line(&self, source: Source, composer: &mut Composer) -> io::Result<()> {
        let mut before = [b'\n'];
        if self.offset > 0 {
            index::read_at(&self.log, &mut before, self.offset - 1)?;
        }
        if before != [b'\n'] {
            composer.behead(source);
        }
        Ok(())
    }

    /// Reads on to the file's end, or until `left` bytes have been read. The length is taken before
    /// the index is read: every byte before it has its record by then.
    fn read(
        &mut self,
        composer: &mut Composer,
        since: &Since,
        left: &mut u64,
        out: &mut impl FnMut(Line),
    ) -> io::Result<Progress> {
        let length = self.log.metadata()?.len();
        let mut buffer = [[0; SIZE]; RECORDS];
        loop {
            let records: Vec<Record> = match &self.index {
                Some(index) => index::block(index, self.record, &mut buffer)?.collect(),
                None => Vec::new(),
            };
            // How far a chunk came is told by the record after it, so the last of a full block waits.
            let whole = records.len() < RECORDS;
            let sure = if whole { records.len() } else { RECORDS - 1 };
            for (at, record) in records[..sure].iter().enumerate() {
                let next = records.get(at + 1).map_or(u64::MAX, |next| next.offset);
                if !self.feed_unindexed(record.offset.min(length), composer, since, left, out)? {
                    return Ok(Progress::More);
                }
                if record.offset > length {
                    return Ok(Progress::End);
                }
                if matches!(record.kind, Kind::Begin | Kind::End) {
                    composer.mark(out);
                    self.record += 1;
                    continue;
                }
                let (source, end) = (Source::of(record), record.end().min(next));
                if self.offset == record.offset && self.offset < end.min(length) {
                    composer.begin(source, record.continues, out);
                }
                if !self.feed(source, end.min(length), composer, left, out)? {
                    return Ok(Progress::More);
                }
                if self.offset < end {
                    return Ok(Progress::End); // The rest of the chunk is still to come.
                }
                self.record += 1;
            }
            if whole {
                let fed = self.feed_unindexed(length, composer, since, left, out)?;
                return Ok(if fed { Progress::End } else { Progress::More });
            }
        }
    }

    /// As `feed`, but nothing comes of what is older than the time in `since`: no stretch without
    /// records lies on both sides of that.
    fn feed_unindexed(
        &mut self,
        end: u64,
        composer: &mut Composer,
        since: &Since,
        left: &mut u64,
        out: &mut impl FnMut(Line),
    ) -> io::Result<bool> {
        let here = Position { file: self.number, offset: self.offset };
        let is_since = here >= since.behind();
        let mut out = |line: Line| {
            if is_since {
                out(line);
            }
        };
        self.feed(Source::UNINDEXED, end, composer, left, &mut out)
    }

    /// Gives the bytes up to `end` to the composer. False: `left` was used up before.
    fn feed(
        &mut self,
        source: Source,
        end: u64,
        composer: &mut Composer,
        left: &mut u64,
        out: &mut impl FnMut(Line),
    ) -> io::Result<bool> {
        while self.offset < end {
            if *left == 0 {
                return Ok(false);
            }
            let bytes = self.window.at(&self.log, self.offset)?;
            if bytes.is_empty() {
                return Ok(true); // Somebody cut the file.
            }
            let wanted = usize::try_from(end - self.offset).unwrap_or(usize::MAX);
            let bytes = &bytes[..bytes.len().min(wanted)];
            composer.push(source, bytes, out);
            self.offset += bytes.len() as u64;
            *left = left.saturating_sub(bytes.len() as u64);
        }
        Ok(true)
    }
}

impl Window {
    /// Some bytes from `offset` on; none where the file ends.
    fn at(&mut self, log: &File, offset: u64) -> io::Result<&[u8]> {
        let inside = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let inside = inside.filter(|&at| at < self.bytes.len());
        if inside.is_none() {
            self.bytes.resize(PORTION, 0);
            let got = index::read_at(log, &mut self.bytes, offset)?;
            self.bytes.truncate(got);
            self.start = offset;
        }
        Ok(&self.bytes[inside.unwrap_or(0)..])
    }
}

/// Whether the open file is what stands at the path.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a file for reading, or none where it isn't there.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
