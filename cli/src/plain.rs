//! A service's line without its colours: what is not a terminal gets no escape sequences.
//!
//! Kept true here: nothing else is taken away. A byte that is no part of a sequence is the
//! service's, whatever it is in any encoding.

/// Appends `line` to `out` without the sequences of ECMA-48 in their seven-bit form: CSI (colours,
/// the cursor), OSC (titles, links) and other strings, and those of two bytes.
pub fn without_escapes(line: &[u8], out: &mut Vec<u8>) {
    let mut left = line;
    while let Some(escape) = left.iter().position(|&byte| byte == ESC) {
        out.extend_from_slice(&left[..escape]);
        left = &left[escape + sequence(&left[escape..])..];
    }
    out.extend_from_slice(left);
}

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;

/// The length of the sequence at the beginning; one that the line does not end is all of the rest.
fn sequence(bytes: &[u8]) -> usize {
    let body = bytes.get(2..).unwrap_or_default();
    let within = match bytes.get(1) {
        None => return 1,
        // Parameters and intermediates, then one final byte.
        Some(b'[') => body.iter().position(|byte| !(0x20..0x40).contains(byte)).map(|at| at + 1),
        // Up to BEL or ST.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => string(body),
        Some(0x20..0x30) => {
            body.iter().position(|byte| !(0x20..0x30).contains(byte)).map(|at| at + 1)
        }
        Some(_) => Some(0),
    };
    within.map_or(bytes.len(), |length| 2 + length)
}

fn string(body: &[u8]) -> Option<usize> {
    let end = body.iter().position(|&byte| byte == BEL || byte == ESC)?;
    let st = body[end] == ESC && body.get(end + 1) == Some(&b'\\');
    Some(if body[end] == BEL { end + 1 } else { end + if st { 2 } else { 0 } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(line: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        without_escapes(line, &mut out);
        out
    }

    #[test]
    fn colours_titles_and_links_go() {
        assert_eq!(plain(b"\x1b[1;31mred\x1b[0m and \x1b[38;5;208mmore"), b"red and more");
        assert_eq!(plain(b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\"), b"alink");
        assert_eq!(plain(b"\x1b(Bx\x1bMy\x1b[?25lz"), b"xyz");
        assert_eq!(plain(b"cut \x1b[31"), b"cut ");
        assert_eq!(plain(b"end\x1b"), b"end");
    }

    #[test]
    fn every_other_byte_stays() {
        let all: Vec<u8> = (0..=255).filter(|byte| *byte != ESC).collect();
        assert_eq!(plain(&all), all);
        assert_eq!(plain("é – 日本".as_bytes()), "é – 日本".as_bytes());
    }
}
