//! Shims: that an agent looks after those that live, and what the dead have left.

use std::path::{Path, PathBuf};

use hearth_lifecycle::{Home, Running, running};
use hearth_process::{ProcessId, facts, locked};

use crate::cold;
use crate::finding::Finding;

/// Its findings.
pub const NAMES: &[&str] = &["shims", "shim-records"];

/// What a record tells of its shim.
#[derive(serde::Deserialize)]
struct Record {
    service: String,
    shim: ProcessId,
}

/// Looks.
pub fn look(home: &Home) -> Vec<Finding> {
    let (held, free): (Vec<PathBuf>, Vec<PathBuf>) =
        cold::records(home).into_iter().partition(|path| cold::is_held(path));
    let agent = matches!(running(home), Ok(Running::Living(_)));
    vec![living(&held, agent), records(&free, agent)]
}

fn living(held: &[PathBuf], agent: bool) -> Finding {
    const NAME: &str = "shims";
    let seen: Vec<Record> = held.iter().filter_map(|path| read(path)).collect();
    let names: Vec<_> = seen.iter().map(|record| record.service.as_str()).collect();
    let count = match held.len() {
        0 => return Finding::ok(NAME, "no service runs"),
        1 => format!("1 service runs: {}", names.join(", ")),
        many => format!("{many} services run: {}", names.join(", ")),
    };
    if !agent {
        return Finding::warning(
            NAME,
            format!("{count}; no agent looks after them"),
            "`hearth daemon up` (or any other verb) starts one, which adopts them; `hearth down --all` ends them",
        );
    }
    let stopped =
        seen.iter().find(|record| record.shim.same_world() && facts::is_stopped(record.shim.pid));
    if let Some(record) = stopped {
        let pid = record.shim.pid;
        return Finding::fault(
            NAME,
            format!("the shim of {} (pid {pid}) is stopped by a signal", record.service),
            format!("`kill -CONT {pid}`"),
        );
    }
    let older = seen.iter().filter(|record| {
        record.shim.same_world()
            && facts::executable_of(record.shim.pid).is_some_and(|found| found.gone)
    });
    match older.count() {
        0 => Finding::ok(NAME, count),
        // Their protocol is frozen: a newer agent looks after them as after its own.
        older => Finding::ok(
            NAME,
            format!("{count}; {older} by an executable that was replaced, which is no matter"),
        ),
    }
}

fn read(path: &Path) -> Option<Record> {
    let locked::Record::Valid(bytes) = locked::read_path(path).ok()? else { return None };
    serde_json::from_slice(&bytes).ok()
}

fn records(free: &[PathBuf], agent: bool) -> Finding {
    const NAME: &str = "shim-records";
    let torn =
        free.iter().filter(|path| matches!(locked::read_path(path), Ok(locked::Record::Torn)));
    let torn = match torn.count() {
        0 => String::new(),
        count => format!(" ({count} torn)"),
    };
    match (free.len(), agent) {
        (0, _) => Finding::ok(NAME, "none is left over"),
        (count, true) => Finding::ok(NAME, format!("{count} of ended lives{torn}, with the agent")),
        (count, false) => Finding::ok(
            NAME,
            format!("{count} of ended lives{torn}: the next agent takes note of them"),
        ),
    }
}
