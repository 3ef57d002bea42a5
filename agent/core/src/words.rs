//! The words of messages, so that one thing is said in one way.

use std::time::Duration;

use crate::nouns::Exit;

/// `400ms`, `2s`, `1m30s`, as hearth.toml has them.
pub(crate) fn duration(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    match (seconds / 60, seconds % 60, millis) {
        (0, 0, millis) => format!("{millis}ms"),
        (0, seconds, 0) => format!("{seconds}s"),
        (0, seconds, millis) => format!("{seconds}s{millis}ms"),
        (minutes, 0, _) => format!("{minutes}m"),
        (minutes, seconds, _) => format!("{minutes}m{seconds}s"),
    }
}

/// How a life ended.
pub(crate) fn exit(exit: &Exit) -> String {
    match (exit.code, &exit.signal) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("ended by {signal}"),
        (None, None) => "ended, and nobody saw how".into(),
    }
}

/// What could not be ended.
pub(crate) fn left(pids: &[u32]) -> String {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    format!("processes of it may be left: {}", pids.join(", "))
}
