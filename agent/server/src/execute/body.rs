//! The body of an HTTP answer, put together from what is read: by its length, by chunks
//! (RFC 9112, 7.1), or to the connection's end.

use super::http::{BODY, Head};

/// Longest line that tells a chunk's size.
const SIZE_LINE: usize = 4 << 10;

/// As far as it has come.
pub(super) struct Body {
    text: Vec<u8>,
    framing: Framing,
}

enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunks(Chunk),
    ToTheEnd,
}

enum Chunk {
    /// The line with its size, as far as it has come.
    Size(Vec<u8>),
    /// So many bytes of it are still to come.
    Inside(u64),
    /// The line's end behind it.
    Behind,
    /// The last one has come.
    Last,
}

impl Body {
    pub(super) fn new(head: &Head) -> Self {
        let framing = match (head.chunked, head.length) {
            // 204 and 304 have none, whatever their headers say (RFC 9112, 6.3).
            _ if matches!(head.status, 204 | 304) => Framing::Length(0),
            (true, _) => Framing::Chunks(Chunk::Size(Vec::new())),
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::ToTheEnd,
        };
        Self { text: Vec::new(), framing }
    }

    /// Takes in what was read. Errors: why it is no body, to follow "its body".
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        match &mut self.framing {
            Framing::ToTheEnd => self.text.extend_from_slice(bytes),
            Framing::Length(left) => take(&mut self.text, &mut bytes, left),
            Framing::Chunks(chunk) => {
                while !bytes.is_empty() && self.text.len() <= BODY {
                    chunk.push(&mut self.text, &mut bytes)?;
                }
            }
        }
        Ok(())
    }

    /// Nothing more is to be read: it has ended, or there is more than is looked at.
    pub(super) fn is_complete(&self) -> bool {
        self.text.len() > BODY
            || matches!(self.framing, Framing::Length(0) | Framing::Chunks(Chunk::Last))
    }

    /// The connection's end is its end.
    pub(super) fn may_end_here(&self) -> bool {
        self.is_complete() || matches!(self.framing, Framing::ToTheEnd)
    }

    /// What is looked at of it, and whether that is not all.
    pub(super) fn into_text(mut self) -> (Vec<u8>, bool) {
        let cut = self.text.len() > BODY;
        self.text.truncate(BODY);
        (self.text, cut)
    }
}

impl Chunk {
    fn push(&mut self, text: &mut Vec<u8>, bytes: &mut &[u8]) -> Result<(), &'static str> {
        match self {
            Self::Size(line) => match bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    line.extend_from_slice(&bytes[..end]);
                    *bytes = &bytes[end + 1..];
                    *self = match size(line).ok_or("is not in chunks, as its headers say")? {
                        0 => Self::Last,
                        left => Self::Inside(left),
                    };
                }
                None if line.len() + bytes.len() > SIZE_LINE => {
                    return Err("is not in chunks, as its headers say");
                }
                None => line.extend_from_slice(std::mem::take(bytes)),
            },
            Self::Inside(left) => {
                take(text, bytes, left);
                if *left == 0 {
                    *self = Self::Behind;
                }
            }
            Self::Behind => {
                let (first, rest) = (bytes[0], &bytes[1..]);
                *bytes = rest;
                match first {
                    b'\n' => *self = Self::Size(Vec::new()),
                    b'\r' => {}
                    _ => return Err("is not in chunks, as its headers say"),
                }
            }
            // Trailers say nothing of the body.
            Self::Last => *bytes = &[],
        }
        Ok(())
    }
}

/// Of a line such as `1a;name=value`, with its `\r`.
fn size(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let digits = text.split(';').next()?.trim();
    u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
}

fn take(text: &mut Vec<u8>, bytes: &mut &[u8], left: &mut u64) {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    text.extend_from_slice(&bytes[..count]);
    *bytes = &bytes[count..];
    *left -= count as u64;
}
