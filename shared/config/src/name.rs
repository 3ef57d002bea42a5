//! What a service, a check or a group may be called. A name becomes part of file names, of variables
//! and of lines on a terminal, so nothing may stand in it that means something there.

use crate::invalid::{Invalid, quoted};

pub(crate) const EXPECTED: &str = "a name of at most 63 small letters, digits, `-` and `_`, \
                                   beginning with a letter or digit";

/// Whether a service may have this name: `[a-z0-9][a-z0-9_-]{0,62}`.
pub fn is_name(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 63
        && name.bytes().next().is_some_and(word)
        && name.bytes().all(|b| word(b) || b == b'-' || b == b'_')
}

/// The same as a refusal that says what is expected.
pub(crate) fn check(name: &str) -> Result<(), Invalid> {
    if is_name(name) {
        return Ok(());
    }
    Err(Invalid::new(format!("bad name {}", quoted(name)), EXPECTED))
}
