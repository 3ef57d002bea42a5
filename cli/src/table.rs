//! Tables for people: that of `status`, and what it has in common with others.

use std::time::SystemTime;

use hearth_api::{HealthStatus, HeldBy, Kind, ServiceRow};

use crate::args::Context;
use crate::{drawing, output};

/// What is not meant to be seen first.
pub const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// One cell: its text, and how it is coloured.
type Cell = (String, &'static str);

/// A column: its title, and what stands in it of a row.
type Column = (&'static str, fn(&ServiceRow) -> Cell);

const PROJECT: Column = ("PROJECT", |row| plain(row.project.clone()));
const COLUMNS: [Column; 8] = [
    ("NAME", |row| plain(Some(row.name.clone()))),
    ("KIND", |row| plain(Some(kind(row.kind).to_owned()))),
    ("STATE", state),
    ("PID", |row| plain(row.pid.map(|pid| pid.to_string()))),
    ("SINCE", |row| plain(row.since.as_deref().and_then(ago))),
    ("RESTARTS", |row| plain(row.restarts.map(|restarts| restarts.to_string()))),
    ("PORTS", |row| {
        let ports: Vec<_> = row.ports.iter().map(u16::to_string).collect();
        plain(Some(ports.join(",")).filter(|ports| !ports.is_empty()))
    }),
    ("HEALTH", health),
];
const BOOT: Column =
    ("BOOT", |row| plain(row.boot.filter(|boot| *boot).map(|_| "enabled".to_owned())));
const HELD_BY: Column = ("HELD BY", held_by);
const CPU: Column = ("CPU", |row| plain(row.cpu_percent.map(|percent| format!("{percent:.1}%"))));
const MEMORY: Column = ("MEMORY", |row| plain(row.memory_bytes.map(bytes)));

/// All rows with a head; with `all`, the project in front; with `measured`, what each uses; with
/// `-v`, who holds it, and whether it is up again after a boot. Columns in which nothing would stand are left out.
pub fn of(context: &Context, rows: &[ServiceRow], all: bool, measured: bool) -> String {
    if rows.is_empty() {
        return "no services\n".to_owned();
    }
    let mut columns: Vec<Column> = COLUMNS.to_vec();
    if measured {
        let before_health = columns.len() - 1;
        columns.splice(before_health..before_health, [CPU, MEMORY]);
    }
    if context.verbose {
        let before_health = columns.len() - 1;
        columns.splice(before_health..before_health, [HELD_BY, BOOT]);
    }
    if all {
        columns.insert(0, PROJECT);
    }
    columns.retain(|(title, _)| match *title {
        "KIND" => rows.iter().any(|row| row.kind != Kind::Service),
        "BOOT" => rows.iter().any(|row| row.boot == Some(true)),
        "PORTS" => rows.iter().any(|row| !row.ports.is_empty()),
        _ => true,
    });
    let head = columns.iter().map(|(title, _)| ((*title).to_owned(), DIM)).collect();
    let mut lines: Vec<Vec<Cell>> = vec![head];
    lines.extend(rows.iter().map(|row| columns.iter().map(|(_, cell)| cell(row)).collect()));
    aligned(&lines, output::color(context))
}

/// Cells under each other, two columns apart.
pub fn aligned(lines: &[Vec<Cell>], color: bool) -> String {
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; count];
    for line in lines {
        for (width, (text, _)) in widths.iter_mut().zip(line) {
            *width = text.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for line in lines {
        let mut drawn = String::new();
        for ((text, paint), width) in line.iter().zip(&widths) {
            let pad = " ".repeat(width - text.chars().count() + 2);
            if color && !paint.is_empty() {
                drawn.push_str(&format!("{paint}{text}{PLAIN}{pad}"));
            } else {
                drawn.push_str(&format!("{text}{pad}"));
            }
        }
        out.push_str(drawn.trim_end());
        out.push('\n');
    }
    out
}

/// A figure; what is not known is a dash.
fn plain(figure: Option<String>) -> Cell {
    (figure.unwrap_or_else(|| "-".to_owned()), "")
}

fn state(row: &ServiceRow) -> Cell {
    let mut state = row.state.in_word().to_owned();
    if row.changed == Some(true) {
        state.push_str(" (file changed)");
    }
    (state, drawing::paint(row.state))
}

/// `up, zsh (pid 4100), web`: who typed `up`, the sessions that lease it, what needs it.
fn held_by(row: &ServiceRow) -> Cell {
    let word = |holder: &HeldBy| match holder {
        HeldBy::Up => "up".to_owned(),
        HeldBy::Lease { pid, name, .. } => format!("{} (pid {pid})", harmless(name)),
        HeldBy::Dependent { service } => service.clone(),
    };
    let words: Vec<String> = row.held_by.iter().map(word).collect();
    plain(Some(words.join(", ")).filter(|words| !words.is_empty()))
}

fn health(row: &ServiceRow) -> Cell {
    let Some(health) = &row.health else { return plain(None) };
    let message = health.message.lines().next().unwrap_or_default();
    let message = anstream::adapter::strip_str(message);
    (format!("{} {message}", health_in_word(health.status)).trim_end().to_owned(), "")
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Service => "service",
        Kind::Oneshot => "oneshot",
        Kind::Check => "check",
    }
}

/// What somebody else named, without what could steer a terminal, or turn the direction of a line.
pub fn harmless(text: &str) -> String {
    let turns = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let text = anstream::adapter::strip_str(text).to_string();
    text.chars().filter(|c| !c.is_control() && !turns(*c)).collect()
}

/// `8.0 MiB`.
fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut figure = bytes as f64 / 1024.0;
    let mut unit = 0;
    while figure >= 1024.0 && unit + 1 < units.len() {
        (figure, unit) = (figure / 1024.0, unit + 1);
    }
    format!("{figure:.1} {}", units[unit])
}

/// How a health status is coloured.
pub fn paint(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Success => "\x1b[32m",
        HealthStatus::Loading | HealthStatus::Starting | HealthStatus::Waiting => "\x1b[33m",
        HealthStatus::Failure => "\x1b[31m",
        HealthStatus::Disabled => DIM,
    }
}

/// A health status as it stands everywhere.
pub fn health_in_word(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Success => "success",
        HealthStatus::Loading => "loading",
        HealthStatus::Starting => "starting",
        HealthStatus::Waiting => "waiting",
        HealthStatus::Failure => "failure",
        HealthStatus::Disabled => "disabled",
    }
}

/// How long ago, in its two largest units.
pub fn ago(at: &str) -> Option<String> {
    let at = hearth_api::time::parse_rfc3339(at)?;
    let seconds = SystemTime::now().duration_since(at).unwrap_or_default().as_secs();
    Some(match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3600 % 24),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_its_largest_unit() {
        assert_eq!(bytes(512), "0.5 KiB");
        assert_eq!(bytes(8 * 1024 * 1024), "8.0 MiB");
        assert_eq!(bytes(1536 * 1024 * 1024), "1.5 GiB");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let cell = |text: &str, paint| (text.to_owned(), paint);
        let lines = [vec![cell("a", DIM), cell("b", "")], vec![cell("long", ""), cell("c", DIM)]];
        assert_eq!(aligned(&lines, false), "a     b\nlong  c\n");
        assert_eq!(aligned(&lines, true), "\x1b[2ma\x1b[0m     b\nlong  \x1b[2mc\x1b[0m\n");
    }
}
