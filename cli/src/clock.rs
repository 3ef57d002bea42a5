//! Times for people, by the clock on their wall.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Older than that it is told by its date.
const A_DAY: Duration = Duration::from_secs(86_400);

/// `10:02`, local time (`TZ`); of more than a day ago `2026-01-31`. `None`: no calendar has it.
pub fn since(at: SystemTime, now: SystemTime) -> Option<String> {
    let parts = parts(at)?;
    Some(if now.duration_since(at).unwrap_or_default() < A_DAY {
        format!("{:02}:{:02}", parts.tm_hour, parts.tm_min)
    } else {
        format!("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday)
    })
}

/// `10:02:11`, local time. `None`: no calendar has it.
pub fn time(at: SystemTime) -> Option<String> {
    let parts = parts(at)?;
    Some(format!("{:02}:{:02}:{:02}", parts.tm_hour, parts.tm_min, parts.tm_sec))
}

fn parts(at: SystemTime) -> Option<libc::tm> {
    let seconds = at.duration_since(UNIX_EPOCH).ok()?.as_secs();
    // Of the type that the call takes; its name is deprecated for musl, where it is about to widen.
    let seconds = seconds.try_into().ok()?;
    // SAFETY: both live through the call, and the parts are plain numbers.
    unsafe {
        let mut parts: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&seconds, &mut parts).is_null() { None } else { Some(parts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_day_it_is_a_date() {
        // Noon of a day in the middle of a year, so that no time zone makes another year of it.
        let at = UNIX_EPOCH + Duration::from_secs(1_782_000_000);
        let soon = since(at, at + Duration::from_secs(60)).unwrap();
        assert_eq!((soon.len(), &soon[2..3]), (5, ":"), "{soon}");
        let late = since(at, at + A_DAY).unwrap();
        assert!(late.starts_with("2026-06-"), "{late}");
        // A clock that was set back since.
        assert_eq!(since(at, at - A_DAY), Some(soon));
    }
}
