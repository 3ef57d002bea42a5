//! The table that `status` draws for people.

use std::time::SystemTime;

use hearth_api::{HealthStatus, ServiceRow, State};

use crate::args::Context;
use crate::{output, story};

const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// One cell: its text, and how it is coloured.
type Cell = (String, &'static str);

/// All rows with a head; with `all`, the project in front.
pub fn of(context: &Context, rows: &[ServiceRow], all: bool) -> String {
    if rows.is_empty() {
        return "no services\n".to_owned();
    }
    let color = output::color(context);
    let skip = usize::from(!all);
    let head = ["PROJECT", "NAME", "STATE", "PID", "SINCE", "RESTARTS", "HEALTH"];
    let mut lines = vec![head.map(|title| (title.to_owned(), DIM))];
    lines.extend(rows.iter().map(cells));
    let mut widths = [0; 7];
    for line in &lines {
        for (width, (text, _)) in widths.iter_mut().zip(line) {
            *width = text.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for line in &lines {
        let mut drawn = String::new();
        for ((text, paint), width) in line.iter().zip(widths).skip(skip) {
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

fn cells(row: &ServiceRow) -> [Cell; 7] {
    let known = |figure: Option<String>| figure.unwrap_or_else(|| "-".to_owned());
    let health = row.health.as_ref().map(|health| {
        let word = health_in_word(health.status);
        let message = health.message.lines().next().unwrap_or_default();
        let message = anstream::adapter::strip_str(message);
        format!("{word} {message}").trim_end().to_owned()
    });
    let mut state = story::in_word(row.state).to_owned();
    if row.changed == Some(true) {
        state.push_str(" (file changed)");
    }
    [
        (row.project.clone().unwrap_or_else(|| "-".to_owned()), ""),
        (row.name.clone(), ""),
        (state, paint(row.state)),
        (known(row.pid.map(|pid| pid.to_string())), ""),
        (known(row.since.as_deref().and_then(ago)), ""),
        (known(row.restarts.map(|restarts| restarts.to_string())), ""),
        (known(health), ""),
    ]
}

fn paint(state: State) -> &'static str {
    match state {
        State::Ready | State::Done => GREEN,
        State::Waiting | State::Starting | State::Backoff | State::Stopping => YELLOW,
        State::Unhealthy | State::Failed => RED,
        State::Down | State::Unknown => DIM,
    }
}

fn health_in_word(status: HealthStatus) -> &'static str {
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
fn ago(at: &str) -> Option<String> {
    let at = hearth_api::time::parse_rfc3339(at)?;
    let seconds = SystemTime::now().duration_since(at).unwrap_or_default().as_secs();
    Some(match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3600 % 24),
    })
}
