//! Times on the wire: RFC 3339, UTC, milliseconds.

use std::time::SystemTime;

/// `2026-01-01T10:00:00.000Z`.
pub fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// The time that [`rfc3339`] wrote; `None` for anything else.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}
