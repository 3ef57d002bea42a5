//! Room on the disk: for what is saved and logged, and how much of it the logs take.

use std::fs;
use std::path::Path;

use hearth_lifecycle::{Home, typed};
use hearth_process::machine;

use super::home::nearest;
use crate::finding::Finding;

/// Its findings.
pub const NAMES: &[&str] = &["disk", "logs"];

/// With less, a log or the state that is saved may not fit any more: that of the agent's own check.
const ROOM: u64 = 4 << 20;
/// With less, it is soon so.
const SOON: u64 = 100 << 20;
/// Files of a home: some for each service, and never so few.
const FILES: u64 = 100;
/// More than the logs of a hundred services of the default size.
const MUCH: u64 = 5 << 30;

/// Looks.
pub fn look(home: &Home) -> Vec<Finding> {
    vec![disk(home), logs(home)]
}

/// The logs may be on another one, by a link.
fn disk(home: &Home) -> Finding {
    let logs = fs::canonicalize(home.dir().join("logs")).ok();
    let places = [Some(nearest(home.dir()).to_owned()), logs];
    let mut words = Vec::new();
    for place in places.into_iter().flatten() {
        let Ok(found) = machine::file_system(&place) else { continue };
        let shown = place.display();
        let files = found.files_left.filter(|left| *left < FILES);
        let (free, remedy) = (size(found.free), "make room on that file system: `df -h`, `df -i`");
        if found.free < ROOM {
            let why = format!("only {free} are left for {shown}: nothing can be saved or logged");
            return Finding::fault("disk", why, remedy);
        }
        if let Some(left) = files {
            let why = format!("only {left} more files can be made in {shown}");
            return Finding::fault("disk", why, remedy);
        }
        if found.free < SOON {
            return Finding::warning("disk", format!("only {free} are left for {shown}"), remedy);
        }
        words = vec![format!("{free} free")];
    }
    match words.pop() {
        Some(words) => Finding::ok("disk", words),
        None => Finding::fault(
            "disk",
            format!("no file system tells how much is left for {}", home.dir().display()),
            "see `df` of that path",
        ),
    }
}

fn logs(home: &Home) -> Finding {
    let services = below(&home.dir().join("logs"));
    let agent = fs::read_dir(home.dir()).into_iter().flatten().flatten();
    let agent: u64 = agent
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("agent.log"))
        .map(|entry| entry.metadata().map_or(0, |found| found.len()))
        .sum();
    let words = format!("{} of services, {} of the agent", size(services), size(agent));
    if services + agent > MUCH {
        return Finding::warning(
            "logs",
            words,
            format!(
                "`du -sh {}/*`: those of projects that are no more may be removed; `log.max_size` in hearth.toml",
                typed(&home.dir().join("logs"))
            ),
        );
    }
    Finding::ok("logs", words)
}

fn below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => below(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

/// `1.5 GB`, as `max_size` counts.
fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "KB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}
