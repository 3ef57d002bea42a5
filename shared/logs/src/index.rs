//! The index: one record a chunk, little-endian, 32 bytes, appended and never moved.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | where the chunk begins in the log file |
//! | 8..16 | when it was read from the service: nanoseconds since 1970, never less than in the record before |
//! | 16..24 | the life that wrote it |
//! | 24..28 | how long it is |
//! | 28 | kind: 0 standard output, 1 standard error, 2 hearth's own lines, 3 a life begins, 4 a life has ended |
//! | 29 | bit 0: the chunk goes on with a line that its stream left open (0: it begins a line); bit 1: the other stream has a line open here |
//! | 30..32 | 0, reserved |
//!
//! Invariant: offsets, times and lives never go back from one record to the next, so all three can
//! be searched by halving. A record says how far its chunk was meant to go; the next record's offset
//! says how far it came. Bytes that no record covers have no known time, stream or life. What is
//! left of a record at the end of the file (a torn write) is none.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Size of a record in bytes.
pub(crate) const SIZE: usize = 32;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stdout,
    Stderr,
    /// Whole lines of hearth's own about output that was lost at this place.
    Hearth,
    /// A life's first record; without bytes.
    Begin,
    /// A life's last record: nothing will be added to its open lines; without bytes.
    End,
    /// Written by a version that knows more kinds, or not by us.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub offset: u64,
    pub at: u64,
    pub life: u64,
    pub length: u32,
    pub kind: Kind,
    pub continues: bool,
    pub other_open: bool,
}

impl Record {
    pub(crate) fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.at.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.life.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.length.to_le_bytes());
        bytes[28] = match self.kind {
            Kind::Stdout => 0,
            Kind::Stderr => 1,
            Kind::Hearth => 2,
            Kind::Begin => 3,
            Kind::End => 4,
            Kind::Unknown => u8::MAX,
        };
        bytes[29] = u8::from(self.continues) | (u8::from(self.other_open) << 1);
        bytes
    }

    fn decode(bytes: &[u8; SIZE]) -> Record {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        Record {
            offset: word(0),
            at: word(8),
            life: word(16),
            // The low half of the last word is the length.
            length: (word(24) & u64::from(u32::MAX)) as u32,
            kind: match bytes[28] {
                0 => Kind::Stdout,
                1 => Kind::Stderr,
                2 => Kind::Hearth,
                3 => Kind::Begin,
                4 => Kind::End,
                _ => Kind::Unknown,
            },
            continues: bytes[29] & 1 != 0,
            other_open: bytes[29] & 2 != 0,
        }
    }

    /// Whether no line that stands before this record goes on after it.
    pub(crate) fn is_clean(&self) -> bool {
        match self.kind {
            Kind::Stdout | Kind::Stderr | Kind::Unknown => !self.continues && !self.other_open,
            Kind::Hearth | Kind::Begin | Kind::End => true,
        }
    }

    /// Where the chunk was meant to end.
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.length))
    }
}

/// How many whole records the index holds now.
pub(crate) fn count(index: &File) -> io::Result<u64> {
    Ok(index.metadata()?.len() / SIZE as u64)
}

/// Record number `number`, or none where the index ends before it.
pub(crate) fn record(index: &File, number: u64) -> io::Result<Option<Record>> {
    let mut one = [[0; SIZE]; 1];
    Ok(block(index, number, &mut one)?.next())
}

/// As many records from number `first` on as are there and fit into `buffer`.
pub(crate) fn block<'a>(
    index: &File,
    first: u64,
    buffer: &'a mut [[u8; SIZE]],
) -> io::Result<impl ExactSizeIterator<Item = Record> + 'a> {
    let got = read_at(index, buffer.as_flattened_mut(), first * SIZE as u64)?;
    Ok(buffer[..got / SIZE].iter().map(Record::decode))
}

/// Number of the first record for which `before` does not hold; `before` must hold for a beginning
/// of the index and no further.
pub(crate) fn partition(index: &File, before: impl Fn(&Record) -> bool) -> io::Result<u64> {
    let (mut low, mut high) = (0, count(index)?);
    while low < high {
        let middle = low + (high - low) / 2;
        match record(index, middle)? {
            Some(found) if before(&found) => low = middle + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// Reads until `buffer` is full or the file ends; how many bytes came.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_its_bytes() {
        let record = Record {
            offset: 0x0102_0304,
            at: 7,
            life: 9,
            length: u32::MAX - 1,
            kind: Kind::Stderr,
            continues: true,
            other_open: false,
        };
        let bytes = record.encode();
        assert_eq!(bytes[..8], [4, 3, 2, 1, 0, 0, 0, 0]);
        assert_eq!(bytes[24..], [254, 255, 255, 255, 1, 1, 0, 0]);
        assert_eq!(Record::decode(&bytes), record);
        let other = Record { continues: false, other_open: true, ..record };
        assert_eq!(other.encode()[29], 2);
        assert_eq!(Record::decode(&other.encode()), other);
    }
}
