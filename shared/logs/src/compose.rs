//! Puts lines together from chunks: each stream's for itself, across files.
//!
//! Invariant: no byte of one stream or life ever gets into another's line, and memory holds at most
//! one line of [`MAX_LINE`] bytes a stream. A fragment whose beginning is gone (retention removed
//! the file it stood in, or the reader began in the middle) is left out, never shown as a line.

use std::time::{Duration, SystemTime};

use crate::index::{Kind, Record};
use crate::{Line, Stream};

/// Bytes of a line that are put together at most; a longer one comes in pieces of this size.
pub const MAX_LINE: usize = 1 << 20;

/// Where a chunk comes from: its record's facts, or that no record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    kind: Kind,
    at: Option<u64>,
    life: Option<u64>,
}

impl Source {
    pub(crate) const UNINDEXED: Source = Source { kind: Kind::Unknown, at: None, life: None };

    pub(crate) fn of(record: &Record) -> Source {
        Source { kind: record.kind, at: Some(record.at), life: Some(record.life) }
    }

    fn line(&self, bytes: Vec<u8>, terminated: bool) -> Line {
        let stream = match self.kind {
            Kind::Stdout => Some(Stream::Stdout),
            Kind::Stderr | Kind::Hearth => Some(Stream::Stderr),
            Kind::Begin | Kind::End | Kind::Unknown => None,
        };
        let at = self.at.map(|at| SystemTime::UNIX_EPOCH + Duration::from_nanos(at));
        Line { at, life: self.life, stream, bytes, terminated }
    }
}

/// The last line of one stream, so far.
#[derive(Debug)]
struct Open {
    /// Of its last chunk.
    source: Source,
    bytes: Vec<u8>,
    /// Its beginning is gone: what comes up to the next newline is left out.
    headless: bool,
    /// Orders the open lines by when they began.
    begun: u64,
}

/// The open lines of all streams.
#[derive(Debug, Default)]
pub(crate) struct Composer {
    /// Standard output, standard error, hearth's own, unindexed.
    open: [Option<Open>; 4],
    begun: u64,
}

impl Composer {
    /// A record without bytes: a life begins or has ended, so no open line goes on.
    pub(crate) fn mark(&mut self, out: &mut impl FnMut(Line)) {
        self.flush(out);
    }

    /// A chunk begins. `continues`: its first bytes belong to the line that its stream left open.
    pub(crate) fn begin(&mut self, source: Source, continues: bool, out: &mut impl FnMut(Line)) {
        if source.kind == Kind::Hearth {
            // Told where bytes were lost, so every line before it stays as it is.
            self.flush(out);
            return;
        }
        let slot = slot(source.kind);
        let same_life =
            self.open[slot].as_ref().is_some_and(|open| open.source.life == source.life);
        if continues && same_life {
            return;
        }
        self.close(slot, out);
        if continues {
            self.behead(source);
        }
    }

    /// The bytes of this source that come next are the rest of a line whose beginning is gone.
    pub(crate) fn behead(&mut self, source: Source) {
        let open = Open { source, bytes: Vec::new(), headless: true, begun: self.begun };
        self.begun += 1;
        self.open[slot(source.kind)] = Some(open);
    }

    /// Bytes of the chunk that has begun, in any number of portions.
    pub(crate) fn push(&mut self, source: Source, mut bytes: &[u8], out: &mut impl FnMut(Line)) {
        let slot = slot(source.kind);
        while !bytes.is_empty() {
            let newline = bytes.iter().position(|&byte| byte == b'\n');
            let (content, rest) = match newline {
                Some(at) => (&bytes[..at], &bytes[at + 1..]),
                None => (bytes, &bytes[..0]),
            };
            self.extend(source, content, out);
            if newline.is_some() {
                let Some(open) = self.open[slot].take() else { continue };
                // Hearth puts an empty line before its own where the file stands within a line.
                let blank = source.kind == Kind::Hearth && open.bytes.is_empty();
                if !open.headless && !blank {
                    out(source.line(open.bytes, true));
                }
            }
            bytes = rest;
        }
    }

    fn extend(&mut self, source: Source, mut content: &[u8], out: &mut impl FnMut(Line)) {
        let begun = self.begun;
        let open = self.open[slot(source.kind)].get_or_insert_with(|| {
            self.begun += 1;
            Open { source, bytes: Vec::new(), headless: false, begun }
        });
        open.source = source;
        if open.headless {
            return;
        }
        while open.bytes.len() + content.len() > MAX_LINE {
            let (fits, rest) = content.split_at(MAX_LINE - open.bytes.len());
            open.bytes.extend_from_slice(fits);
            out(source.line(std::mem::take(&mut open.bytes), false));
            content = rest;
        }
        open.bytes.extend_from_slice(content);
    }

    /// Gives out every open line as it is, in the order in which they began.
    pub(crate) fn flush(&mut self, out: &mut impl FnMut(Line)) {
        let mut slots = [0, 1, 2, 3];
        slots.sort_by_key(|&slot| self.open[slot].as_ref().map(|open| open.begun));
        for slot in slots {
            self.close(slot, out);
        }
    }

    fn close(&mut self, slot: usize, out: &mut impl FnMut(Line)) {
        let Some(open) = self.open[slot].take() else { return };
        // Half a line of hearth's own is a try that failed; the whole one comes later.
        if !open.headless && !open.bytes.is_empty() && open.source.kind != Kind::Hearth {
            out(open.source.line(open.bytes, false));
        }
    }
}

fn slot(kind: Kind) -> usize {
    match kind {
        Kind::Stdout => 0,
        Kind::Stderr => 1,
        Kind::Hearth => 2,
        Kind::Begin | Kind::End | Kind::Unknown => 3,
    }
}
