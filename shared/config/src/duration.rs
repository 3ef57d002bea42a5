//! Durations as people write them: `500ms`, `2s`, `1m30s`. The same grammar holds in the file and
//! for `--timeout`. A bare number is refused, because `timeout = 5` was meant as minutes by
//! somebody.

use std::time::Duration;

use crate::invalid::{Invalid, quoted};

/// Units, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Longest duration that is accepted: a hundred years. It keeps any sum of a time and a few
/// durations far from overflow.
pub const MAX: Duration = Duration::from_secs(36_500 * 86_400);

const EXPECTED: &str = "whole numbers with the units ms, s, m, h or d: `500ms`, `2s`, `1m30s`";

/// Reads a duration: one or more whole numbers, each with a unit, the longer unit first.
///
/// Errors: empty, negative, a number without unit, an unknown unit, units out of order or twice,
/// more than [`MAX`].
pub fn parse(text: &str) -> Result<Duration, Invalid> {
    let bad = |why: &str| Invalid::new(format!("bad duration {}: {why}", quoted(text)), EXPECTED);
    if text.is_empty() {
        return Err(bad("it is empty"));
    }
    if text.starts_with('-') {
        return Err(bad("it is negative"));
    }
    let (mut rest, mut total, mut next_unit) = (text, 0u64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        rest = &rest[digits + letters..];
        if number.is_empty() {
            return Err(bad("a whole number is missing"));
        }
        if unit.is_empty() {
            return Err(bad(if rest.is_empty() {
                "a number without a unit"
            } else {
                "only whole numbers and units may stand in it"
            }));
        }
        let Some(place) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(bad(&format!("unknown unit {}", quoted(unit))));
        };
        if place < next_unit {
            return Err(bad("each unit may stand once, the longer before the shorter"));
        }
        next_unit = place + 1;
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(UNITS[place].1))
            .and_then(|ms| total.checked_add(ms))
            .filter(|ms| Duration::from_millis(*ms) <= MAX)
            .ok_or_else(|| bad("more than a hundred years"))?;
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration so that [`parse`] reads it back: `1m30s`. What is below a millisecond is cut.
pub fn format(duration: Duration) -> String {
    let mut left = duration.as_millis();
    let mut out = String::new();
    for (name, millis) in UNITS {
        let count = left / u128::from(millis);
        left %= u128::from(millis);
        if count > 0 {
            out += &format!("{count}{name}");
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_and_written_back() {
        for (text, millis) in [
            ("500ms", 500),
            ("2s", 2_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(format(Duration::from_millis(millis)), text);
        }
        assert_eq!(format(Duration::from_micros(999)), "0s");
        assert_eq!(format(Duration::from_millis(90_500)), "1m30s500ms");
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "empty"),
            ("5", "without a unit"),
            ("0", "without a unit"),
            ("1m30", "without a unit"),
            ("-1s", "negative"),
            ("1.5s", "only whole numbers"),
            ("1w", "unknown unit `w`"),
            ("1S", "unknown unit `S`"),
            ("s", "whole number is missing"),
            ("1s1m", "longer before the shorter"),
            ("1s1s", "each unit may stand once"),
            ("1 s", "only whole numbers"),
            ("1s ", "whole number is missing"),
            ("99999999999999999999s", "more than a hundred years"),
            ("36501d", "more than a hundred years"),
            ("1é", "only whole numbers"),
        ] {
            let refusal = parse(text).expect_err(text);
            assert!(refusal.message.contains(why), "{text}: {refusal}");
            assert!(refusal.expected.contains("`1m30s`"));
        }
    }
}
