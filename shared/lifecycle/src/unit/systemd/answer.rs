//! What `systemctl show` says of service and socket, put together as one standing.

use std::collections::HashMap;

use super::control::socket as socket_of;
use crate::unit::{Answer, Standing, Unit};

/// One unit's properties.
pub(super) type Seen<'a> = HashMap<&'a str, &'a str>;

pub(super) fn of(unit: &Unit, service: &Seen<'_>, socket: Option<&Seen<'_>>) -> Answer {
    let mut words = format!("{}: {}", unit.name, in_words(service));
    if let Some(socket) = socket {
        words = format!("{words}; {}: {}", socket_of(unit), in_words(socket));
    }
    Answer { standing: standing(service, socket), words }
}

fn get<'a>(seen: &Seen<'a>, key: &str) -> &'a str {
    seen.get(key).copied().unwrap_or_default()
}

fn standing(service: &Seen<'_>, socket: Option<&Seen<'_>>) -> Standing {
    let both = || [Some(service), socket].into_iter().flatten();
    if both().any(|seen| get(seen, "LoadState") == "masked") {
        return Standing::Masked;
    }
    match get(service, "LoadState") {
        "loaded" => {}
        "not-found" => return Standing::NotLoaded,
        _ => return Standing::Failed, // bad-setting, error
    }
    match get(service, "ActiveState") {
        "active" | "reloading" | "refreshing" => {
            Standing::Running { pid: get(service, "MainPID").parse().unwrap_or_default() }
        }
        "activating" => Standing::Starting,
        "deactivating" => Standing::Stopping,
        "failed" => Standing::Failed,
        _ => match socket.map_or("", |socket| get(socket, "ActiveState")) {
            "active" => Standing::Listening,
            "activating" => Standing::Starting,
            "failed" => Standing::Failed,
            _ => Standing::Inactive,
        },
    }
}

/// As `systemctl status` has it: `failed (Result: exit-code, status=203/EXEC)`.
fn in_words(seen: &Seen<'_>) -> String {
    let load = get(seen, "LoadState");
    if load != "loaded" {
        // `org.freedesktop.systemd1.NoSuchUnit "Unit x not found."`
        let error = get(seen, "LoadError").split('"').nth(1).map(|error| format!(": {error}"));
        return format!("{load}{}", error.unwrap_or_default());
    }
    let (active, sub) = (get(seen, "ActiveState"), get(seen, "SubState"));
    let mut words = if active == sub { active.to_owned() } else { format!("{active} ({sub})") };
    let result = get(seen, "Result");
    if !matches!(result, "" | "success") {
        words = format!("{words} (Result: {result}{})", ended(seen));
    }
    if get(seen, "NeedDaemonReload") == "yes" {
        words += " (its file has changed since: `systemctl --user daemon-reload`)";
    }
    match get(seen, "StatusText") {
        "" => words,
        text => format!("{words}: {text}"),
    }
}

/// How its process ended: codes of waitid(2), and what systemd.exec(5) calls its own statuses.
fn ended(seen: &Seen<'_>) -> String {
    let status = get(seen, "ExecMainStatus");
    match (get(seen, "ExecMainCode"), status) {
        ("1", "200") => ", status=200/CHDIR".to_owned(),
        ("1", "203") => ", status=203/EXEC".to_owned(),
        ("1", _) => format!(", status={status}"),
        ("2" | "3", _) => format!(", signal={status}"),
        _ => String::new(),
    }
}
