//! Limits that can break hearth: descriptors, processes, watches, and the queue of connections.

use hearth_lifecycle::Home;
use hearth_process::{facts, machine};
use rustix::process::{Resource, getrlimit};

use crate::finding::Finding;

/// Its findings.
pub const NAMES: &[&str] = &["open-files", "processes", "watches", "queue"];

/// The agent raises its own soft limit to the hard one: 1,024 connections, and some for each service.
const FILES: u64 = 1024;
/// What a project needs to come up: a shim, a service and its children, for a dozen of them.
const PROCESSES: u64 = 64;
/// An agent watches by a handful of descriptors, each shim and each `logs -f` by one.
const INSTANCES: u64 = 8;
/// Of watches likewise.
const WATCHES: u64 = 64;
/// Verbs that start at once; more of them wait longer, or are refused on macOS.
const QUEUE: u64 = 128;

/// Looks.
pub fn look(_: &Home) -> Vec<Finding> {
    vec![files(), processes(), watches(), queue()]
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string())
}

fn files() -> Finding {
    const NAME: &str = "open-files";
    let limit = getrlimit(Resource::Nofile);
    let words = format!("{} here, at most {}", shown(limit.current), shown(limit.maximum));
    if limit.maximum.is_some_and(|most| most < FILES) {
        return Finding::warning(
            NAME,
            format!("{words}: too few for an agent with many services or clients"),
            "raise the hard limit: `nofile` in /etc/security/limits.conf, or LimitNOFILE= of whatever starts the session",
        );
    }
    Finding::ok(NAME, words)
}

fn processes() -> Finding {
    const NAME: &str = "processes";
    if let Some((left, what)) = machine::room_in_group()
        && left < PROCESSES
    {
        return Finding::warning(
            NAME,
            format!("only {left} more can be started: {}", what.display()),
            "raise TasksMax= (systemd) or the container's limit of processes",
        );
    }
    let limit = getrlimit(Resource::Nproc).current;
    let own = rustix::process::getuid();
    // Root is not held to it (setrlimit(2)).
    let Some(limit) = limit.filter(|_| !own.is_root()) else {
        return Finding::ok(NAME, "no limit");
    };
    let used = facts::processes_of(own.as_raw()).map_or(0, |pids| pids.len() as u64);
    let words = format!("{used} of {limit}");
    if limit.saturating_sub(used) < PROCESSES {
        return Finding::warning(NAME, words, "end some, or raise `ulimit -u`");
    }
    Finding::ok(NAME, words)
}

fn watches() -> Finding {
    const NAME: &str = "watches";
    let Some(found) = machine::watches() else {
        return Finding::ok(NAME, "as many as there may be open files");
    };
    let words = format!(
        "{} of {} descriptors and {} of {} watches are used, as far as can be seen",
        found.instances_used, found.instances, found.watches_used, found.watches
    );
    let few = |limit: u64, used: u64, least| limit.saturating_sub(used) < least;
    if few(found.instances, found.instances_used, INSTANCES) {
        return Finding::warning(
            NAME,
            format!("{words}: `file` tests and `logs -f` are told later"),
            "`sudo sysctl fs.inotify.max_user_instances=1024`",
        );
    }
    if few(found.watches, found.watches_used, WATCHES) {
        return Finding::warning(
            NAME,
            format!("{words}: `file` tests and `logs -f` are told later"),
            "`sudo sysctl fs.inotify.max_user_watches=524288`",
        );
    }
    Finding::ok(NAME, words)
}

fn queue() -> Finding {
    const NAME: &str = "queue";
    match machine::backlog() {
        Some(most) if most < QUEUE => Finding::warning(
            NAME,
            format!("only {most} connections may wait for a listener"),
            "`sudo sysctl net.core.somaxconn=4096` (macOS: kern.ipc.somaxconn)",
        ),
        Some(most) => Finding::ok(NAME, format!("{most} connections may wait for a listener")),
        None => Finding::ok(NAME, "the system does not tell how many connections may wait"),
    }
}
