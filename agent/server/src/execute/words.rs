//! What programs say, as a person sees it on a terminal: without colours and other commands to it.

use std::borrow::Cow;

/// So much of what a program says is shown, in characters.
const SHOWN: usize = 200;

/// Without Rust's "(os error 111)".
pub(crate) fn short(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// One line for people, of whatever bytes: bad UTF-8 as U+FFFD, control characters left out.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&plain(bytes)).into_owned();
    let text: String = text.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    let text = text.trim();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A line without its end of line (CRLF is one) and without the escape sequences of ECMA-48: CSI
/// (colours), OSC and other strings (titles, links), and those of two bytes.
pub(crate) fn plain(line: &[u8]) -> Cow<'_, [u8]> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.contains(&ESC) {
        return Cow::Borrowed(line);
    }
    let mut kept = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.iter().position(|byte| *byte == ESC) {
        kept.extend_from_slice(&rest[..at]);
        rest = after_sequence(&rest[at + 1..]);
    }
    kept.extend_from_slice(rest);
    Cow::Owned(kept)
}

const ESC: u8 = 0x1b;

/// What follows a sequence whose ESC was taken; one that does not end takes all.
fn after_sequence(rest: &[u8]) -> &[u8] {
    let behind = |end: Option<usize>| end.map_or(&[][..], |end| &rest[end + 1..]);
    match rest.first() {
        Some(b'[') => {
            let end = rest[1..].iter().position(|byte| (0x40..=0x7e).contains(byte));
            behind(end.map(|end| end + 1))
        }
        // Ended by BEL or by ESC \.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            match rest.iter().position(|byte| matches!(*byte, ESC | 0x07)) {
                Some(end) if rest[end] == ESC => rest.get(end + 2..).unwrap_or_default(),
                end => behind(end),
            }
        }
        // Some more bytes from 0x20 to 0x2f may stand before the last one.
        Some(_) => behind(rest.iter().position(|byte| !(0x20..=0x2f).contains(byte))),
        None => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_a_person_sees() {
        let plain = |text: &str| String::from_utf8(plain(text.as_bytes()).into_owned()).unwrap();
        assert_eq!(plain("ready\r\n"), "ready");
        assert_eq!(plain("\x1b[1;32mready\x1b[0m now"), "ready now");
        assert_eq!(plain("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\x1b(Bc"), "abc");
        for cut in ["a\x1b", "a\x1b[", "a\x1b[3", "a\x1b]0;t", "a\x1b("] {
            assert_eq!(plain(cut), "a");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_and_do_no_harm() {
        assert_eq!(shown(b"\xff\x00\x07ok\x1b[2J\n"), "\u{fffd}ok");
        assert_eq!(shown("\u{e9}".repeat(300).as_bytes()).chars().count(), SHOWN + 3);
    }
}
