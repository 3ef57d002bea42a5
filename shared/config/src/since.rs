//! A point in the past as people write it: how long ago (`10m`, `1h30m`), or when
//! (`2026-01-01T10:00:00Z`). The same grammar holds for `--since` and for `since=` of the API.
//!
//! A time without its offset is refused: read as UTC it would be wrong for whoever meant the clock
//! on the wall, and the other way round, and both would see some lines and believe that they are all.

use std::time::{Duration, SystemTime};

use crate::duration;
use crate::invalid::{Invalid, quoted};

const EXPECTED: &str = "how long ago, in whole numbers with the units ms, s, m, h or d (`10m`, `1h30m`), \
or a time of RFC 3339 with its offset (`2026-01-01T10:00:00Z`, `2026-01-01T12:00:00.5+02:00`)";

/// Reads a point in the past, counted from `now`. What lies before 1970 is 1970.
///
/// Errors: neither a duration as [`duration::parse`] has it nor a time of RFC 3339 with its offset.
pub fn parse(text: &str, now: SystemTime) -> Result<SystemTime, Invalid> {
    let bad = |why: &str| Invalid::new(format!("bad time {}: {why}", quoted(text)), EXPECTED);
    if !text.contains(['-', ':']) || text.starts_with('-') {
        let ago = duration::parse(text).map_err(|invalid| bad(why(&invalid)))?;
        let at = now.checked_sub(ago).filter(|at| *at > SystemTime::UNIX_EPOCH);
        return Ok(at.unwrap_or(SystemTime::UNIX_EPOCH));
    }
    let upper = text.to_ascii_uppercase();
    let (clock, offset) = match upper.strip_suffix('Z') {
        Some(clock) => (clock, 0),
        None => offset(&upper).ok_or_else(|| bad("its offset from UTC is missing"))?,
    };
    let at = humantime::parse_rfc3339(&format!("{clock}Z"));
    let at = at.map_err(|_| bad("there is no such time"))?;
    let distance = Duration::from_secs(offset.unsigned_abs());
    let at = if offset < 0 { at.checked_add(distance) } else { at.checked_sub(distance) };
    Ok(at.filter(|at| *at > SystemTime::UNIX_EPOCH).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// What is wrong, without the text that it is wrong with.
fn why(invalid: &Invalid) -> &str {
    invalid.message.rsplit_once("`: ").map_or(&invalid.message, |(_, why)| why)
}

/// The time of day and its offset from UTC in seconds, where it ends with one: `+02:00`.
fn offset(text: &str) -> Option<(&str, i64)> {
    let (clock, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let sign = match offset.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = offset[1..].split_once(':')?;
    let number = |text: &str, below: i64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| digits && *number < below)
    };
    // `2026-01-01` ends like an offset, but for the colon; a time of day without seconds does not.
    let seconds = number(hours, 24)? * 3600 + number(minutes, 60)? * 60;
    Some((clock, sign * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds since 1970 of what was read on 2026-01-01 at noon.
    fn read(text: &str) -> Result<f64, Invalid> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_268_800);
        let at = parse(text, now)?.duration_since(SystemTime::UNIX_EPOCH);
        Ok(at.expect("after 1970").as_secs_f64())
    }

    #[test]
    fn how_long_ago_and_when() {
        let noon = 1_767_268_800.0;
        for (text, at) in [
            ("0s", noon),
            ("10m", noon - 600.0),
            ("1h30m", noon - 5400.0),
            ("500ms", noon - 0.5),
            ("36500d", 0.0),
            ("2026-01-01T12:00:00Z", noon),
            ("2026-01-01t12:00:00.250z", noon + 0.25),
            ("2026-01-01T14:00:00+02:00", noon),
            ("2026-01-01T06:30:00-05:30", noon),
            ("1970-01-01T00:00:00+01:00", 0.0),
        ] {
            assert_eq!(read(text).map_err(|e| e.to_string()), Ok(at), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_reason_and_what_is_accepted() {
        for (text, why) in [
            ("", "it is empty"),
            ("10", "a number without a unit"),
            ("-10m", "it is negative"),
            ("soon", "a whole number is missing"),
            ("2026-01-01", "offset from UTC is missing"),
            ("2026-01-01T10:00:00", "offset from UTC is missing"),
            ("2026-01-01T10:00+01:00", "no such time"),
            ("2026-02-30T10:00:00Z", "no such time"),
            ("2026-01-01T25:00:00Z", "no such time"),
            ("2026-01-01T10:00:00+24:00", "offset from UTC is missing"),
            ("2026-01-01T10:00:00+é:00", "offset from UTC is missing"),
            ("-é:", "it is negative"),
            (":", "offset from UTC is missing"),
        ] {
            let refusal = read(text).expect_err(text);
            assert!(refusal.message.contains(why), "{text}: {refusal}");
            assert!(refusal.expected.contains("`10m`") && refusal.expected.contains("Z`"));
        }
    }
}
