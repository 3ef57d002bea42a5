//! Sizes in bytes as people write them: `10MB`, `64KiB`. Units of a thousand and of 1,024 are told
//! apart by their names, as IEC 80000-13 has it; a bare number is refused.

use crate::invalid::{Invalid, quoted};

const UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

const EXPECTED: &str =
    "a whole number with one of the units B, KB, MB, GB, KiB, MiB, GiB: `10MB`, `64KiB`";

/// Reads a size, in bytes.
///
/// Errors: empty, negative, no unit, an unknown unit (capitals count), more than 2^64 - 1.
pub fn parse(text: &str) -> Result<u64, Invalid> {
    let bad = |why: &str| Invalid::new(format!("bad size {}: {why}", quoted(text)), EXPECTED);
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    if text.is_empty() {
        return Err(bad("it is empty"));
    }
    if number.is_empty() {
        return Err(bad("it does not begin with a whole number"));
    }
    if unit.is_empty() {
        return Err(bad("a number without a unit"));
    }
    let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(bad(&format!("unknown unit {}", quoted(unit))));
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(*bytes)).ok_or_else(|| bad("too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_a_thousand_and_of_1024() {
        for (text, bytes) in [("0B", 0), ("10MB", 10_000_000), ("64KiB", 65_536), ("2GiB", 2 << 30)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "empty"),
            ("10", "without a unit"),
            ("MB", "does not begin"),
            ("-1MB", "does not begin"),
            ("10mb", "unknown unit `mb`"),
            ("1.5MB", "unknown unit"),
            ("99999999999GiB", "too large"),
        ] {
            let refusal = parse(text).expect_err(text);
            assert!(refusal.message.contains(why), "{text}: {refusal}");
        }
    }
}
