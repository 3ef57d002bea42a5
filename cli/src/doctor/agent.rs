//! The agent itself, by its record and by what the kernel tells of its process; and those of other homes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hearth_lifecycle::{AgentConfig, Home, Record, Running, Stage, running};
use hearth_process::facts;

use super::locks;
use crate::finding::Finding;
use crate::{app, table};
use hearth_lifecycle::is_older;

/// Its findings.
pub const NAMES: &[&str] =
    &["agent", "agent-version", "agent-executable", "agent-config", "agent-end", "other-agents"];

/// An agent that starts takes over its shims first; not even a thousand of them take so long.
const START: Duration = Duration::from_secs(10);

/// Looks.
pub fn look(home: &Home) -> Vec<Finding> {
    let (living, last) = match running(home) {
        Ok(Running::Living(record)) => (Some(record), None),
        Ok(Running::Died(record)) => (None, Some(record)),
        Ok(Running::Gone(record)) => (None, record),
        Err(_) => (None, None),
    };
    let record = living.as_ref().and_then(Option::as_ref);
    vec![
        match &living {
            Some(Some(record)) => itself(record),
            Some(None) => Finding::ok("agent", "one is starting"),
            None => Finding::ok("agent", "none runs: the first verb that needs one starts it"),
        },
        version(record),
        executable(record),
        config(home),
        end(home, last.as_ref()),
        others(home),
    ]
}

fn itself(record: &Record) -> Finding {
    const NAME: &str = "agent";
    let (pid, version) = (record.process.pid, &record.version);
    let since = table::ago(&record.started_at).unwrap_or_else(|| "some time".to_owned());
    let what = format!("pid {pid}, {version}, {} for {since}", locks::stage(record.stage));
    if record.hostname != facts::hostname() {
        return Finding::warning(
            NAME,
            format!("{what}, on the host {}", record.hostname),
            "use a home of this machine's own: HEARTH_HOME",
        );
    }
    if !record.process.same_world() {
        let why = format!("{what}, in another pid namespace (a container?)");
        return Finding::warning(NAME, why, "use a home of its own in there: HEARTH_HOME");
    }
    if facts::is_stopped(pid) {
        return Finding::fault(
            NAME,
            format!("{what}, and is stopped by a signal: it answers nobody"),
            format!("`kill -CONT {pid}`, or `hearth daemon restart --force`; services stay"),
        );
    }
    let age = hearth_api::time::parse_rfc3339(&record.started_at)
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    if record.stage == Stage::Starting && age.is_some_and(|age| age > START) {
        return Finding::warning(
            NAME,
            format!("{what}, which is long"),
            "`hearth daemon logs` tells at what it is; `hearth daemon restart --force` ends it",
        );
    }
    if record.stage == Stage::Stopping && !record.hung.is_empty() {
        let why = format!("{what}, waiting for {}", record.hung.join(", "));
        return Finding::warning(NAME, why, "`hearth daemon down --force`");
    }
    Finding::ok(NAME, what)
}

fn version(record: Option<&Record>) -> Finding {
    const NAME: &str = "agent-version";
    let own = app().version();
    let Some(record) = record else {
        return Finding::ok(NAME, format!("no agent; this command is {own}"));
    };
    let theirs = &record.version;
    if is_older(theirs, own) {
        let why = format!("the agent ({theirs}) is older than this command ({own})");
        return Finding::warning(NAME, why, "`hearth daemon restart`; services stay");
    }
    if is_older(own, theirs) {
        let why = format!("the agent ({theirs}) is newer than this command ({own})");
        return Finding::warning(NAME, why, "use the newer `hearth`: see `path` below");
    }
    Finding::ok(NAME, format!("{theirs}, as this command"))
}

fn executable(record: Option<&Record>) -> Finding {
    const NAME: &str = "agent-executable";
    let record = record.filter(|record| record.process.same_world());
    let Some(record) = record else { return Finding::ok(NAME, "no agent here") };
    let shown = record.executable.display();
    let found = facts::executable_of(record.process.pid);
    let gone = found.as_ref().is_some_and(|found| found.gone);
    let there = found.as_ref().map_or(record.executable.as_path(), |found| &found.path).exists();
    match (gone, there) {
        (true, true) => Finding::warning(
            NAME,
            format!("{shown} was replaced since the agent was started"),
            "`hearth daemon restart` puts one of the new file into its place; services stay",
        ),
        (true, false) | (false, false) => Finding::warning(
            NAME,
            format!("{shown}, which the agent runs, is there no more: shims can't bring one back"),
            "install hearth again, then `hearth daemon restart`; services stay",
        ),
        (false, true) => Finding::ok(NAME, shown.to_string()),
    }
}

fn config(home: &Home) -> Finding {
    const NAME: &str = "agent-config";
    let path = home.config();
    match AgentConfig::DEFAULT.with_file(path) {
        Ok(_) if path.exists() => Finding::ok(NAME, path.display().to_string()),
        Ok(_) => Finding::ok(NAME, format!("{} is not there: defaults", path.display())),
        Err(error) => Finding::fault(
            NAME,
            error.to_string(),
            "mend that file: no agent starts with it (`hearth daemon up` tries)",
        ),
    }
}

/// How the last one ended, where none lives.
fn end(home: &Home, last: Option<&Record>) -> Finding {
    const NAME: &str = "agent-end";
    let Some(last) = last else { return Finding::ok(NAME, "no end is on record") };
    let pid = last.process.pid;
    if last.stage == Stage::Stopped {
        return match last.hung.is_empty() {
            true => Finding::ok(NAME, format!("the last agent (pid {pid}) has ended in order")),
            false => Finding::warning(
                NAME,
                format!(
                    "the last agent (pid {pid}) did not wait any longer for {}",
                    last.hung.join(", ")
                ),
                "`hearth daemon logs` tells more",
            ),
        };
    }
    if last.process.boot != facts::boot_id() {
        return Finding::ok(NAME, format!("the last agent (pid {pid}) ended with the machine"));
    }
    let heard = fs::metadata(home.log()).and_then(|log| log.modified()).ok();
    let heard =
        heard.map(|at| format!(", and wrote its last line at {}", hearth_api::time::rfc3339(at)));
    Finding::warning(
        NAME,
        format!(
            "the last agent (pid {pid}, started at {}) died without a word{}",
            last.started_at,
            heard.unwrap_or_default()
        ),
        "nothing is lost: the next verb goes on where it was; `hearth daemon logs` may tell why",
    )
}

/// Agents of this user elsewhere: no fault, and good to know. One whose home is gone serves nobody.
fn others(home: &Home) -> Finding {
    const NAME: &str = "other-agents";
    let own = rustix::process::geteuid().as_raw();
    let pids = facts::processes_of(own).unwrap_or_default();
    let (mut living, mut lost) = (Vec::new(), Vec::new());
    for pid in pids.into_iter().filter(|pid| is_agent(*pid)) {
        match home_of(pid) {
            Some(dir) if dir == home.dir() => {}
            Some(dir) if !facts::is_there_for(pid, &dir) => lost.push((pid, dir)),
            Some(dir) => living.push(format!("pid {pid} in {}", dir.display())),
            None => {}
        }
    }
    let others = match living.is_empty() {
        true => "none of yours in other homes".to_owned(),
        false => format!("in other homes: {}", living.join(", ")),
    };
    if lost.is_empty() {
        return Finding::ok(NAME, others);
    }
    let gone =
        lost.iter().map(|(pid, dir)| format!("pid {pid} in {}, which is gone", dir.display()));
    let kill: Vec<_> = lost.iter().map(|(pid, _)| pid.to_string()).collect();
    let mut words: Vec<_> = gone.collect();
    words.extend((!living.is_empty()).then_some(others));
    Finding::warning(NAME, words.join("\n"), format!("`kill {}`", kill.join(" ")))
}

fn is_agent(pid: u32) -> bool {
    let Some(arguments) = facts::arguments_of(pid) else { return false };
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let name =
        words.first().map(|first| Path::new(&**first).file_name().unwrap_or_default().to_owned());
    let named = name.is_some_and(|name| name == app().name());
    let rest: Vec<&str> = words.iter().skip(1).map(|word| &**word).collect();
    named && app().is_run_by(&rest)
}

/// As it resolves it itself, by its environment.
fn home_of(pid: u32) -> Option<PathBuf> {
    let variable = |name: &str| {
        let value = facts::variable_of(pid, name).filter(|value| !value.is_empty());
        value.map(PathBuf::from).filter(|path| path.is_absolute())
    };
    let own = variable(&app().var_name("HOME"));
    own.or_else(|| Some(variable("XDG_STATE_HOME")?.join(app().name())))
        .or_else(|| Some(variable("HOME")?.join(".local/state").join(app().name())))
}
