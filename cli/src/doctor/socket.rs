//! The socket: what stands at its path, who listens, and whether that one is well.
//!
//! Kept true here: where a service manager may listen in the agent's place, nobody connects unless an
//! agent lives: the connection alone would start one.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use hearth_api::HealthReport;
use hearth_lifecycle::unit::{self, Installed};
use hearth_lifecycle::{Home, Knock, Record, Request, Running, Stage, knock, running, typed};
use hearth_process::{facts, machine};

use crate::app;
use crate::finding::Finding;

/// Its findings.
pub const NAMES: &[&str] = &["socket", "agent-health"];

/// For all of the answers: an agent's own checks take a second at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks.
pub fn look(home: &Home) -> Vec<Finding> {
    let living = match running(home) {
        Ok(Running::Living(record)) => Some(record),
        Ok(Running::Gone(_) | Running::Died(_)) | Err(_) => None,
    };
    let well = |words: &str| Finding::ok("agent-health", words);
    if let Some(finding) = in_the_way(home) {
        return vec![finding, well("not asked: there is no socket to ask through")];
    }
    match living {
        Some(record) => beside_an_agent(home, record.as_ref()),
        None => vec![without_an_agent(home), well("no agent runs")],
    }
}

/// What stands there and may not be used.
fn in_the_way(home: &Home) -> Option<Finding> {
    let (path, own) = (home.socket(), rustix::process::geteuid().as_raw());
    if let Err(blocked) = home.foreign_at_socket() {
        return Some(Finding::fault("socket", blocked.reason, blocked.remedy));
    }
    let found = fs::symlink_metadata(&path).ok().filter(|it| it.file_type().is_socket())?;
    let shown = path.display();
    if found.uid() != own {
        let why = format!("{shown} belongs to uid {}, and we are uid {own}", found.uid());
        return Some(Finding::fault("socket", why, "name another home with --home"));
    }
    None
}

fn without_an_agent(home: &Home) -> Finding {
    const NAME: &str = "socket";
    let (path, shown) = (home.socket(), home.socket().display().to_string());
    if !path.exists() {
        return Finding::ok(NAME, "none, and no agent runs");
    }
    // By the name by which the unit has it, where a link leads here: the kernel knows no other.
    let managers = match unit::installed(app()) {
        Installed::Unit(_) => unit::in_charge(app(), home)
            .map(|unit| path.file_name().map_or(path.clone(), |name| unit.home.join(name))),
        Installed::Unreadable { .. } => Some(path.clone()),
        Installed::Masked(_) | Installed::None => None,
    };
    if let Some(named) = managers {
        let listens = [&path, &named].map(|path| machine::has_listener(path));
        let words = match listens[0].max(listens[1]) {
            Some(true) => "the service manager listens; the first verb has it start the agent",
            Some(false) => "nobody listens; the first verb has the service manager put that right",
            None => "not connected to: it is the service manager's",
        };
        return Finding::ok(NAME, words);
    }
    match knock(app(), home, &Request::get("/v1/version"), PATIENCE) {
        Knock::Nobody => Finding::ok(
            NAME,
            format!("{shown} is stale, nobody listens: the next agent takes its place"),
        ),
        // An agent has come up between the two looks.
        Knock::Answered { .. } if matches!(running(home), Ok(Running::Living(_))) => {
            Finding::ok(NAME, format!("{shown}, an agent listens"))
        }
        other => foreign(&shown, other),
    }
}

/// Somebody listens who holds no L.
fn foreign(shown: &str, knock: Knock) -> Finding {
    let who = match knock {
        Knock::Foreign(uid) => format!("a process of uid {uid} listens on {shown}"),
        Knock::NotOurs(why) => format!("what listens on {shown} is no agent of hearth: {why}"),
        Knock::Cannot(why) => format!("{shown} can't be connected to: {why}"),
        Knock::Answered { version, .. } => format!(
            "an agent (pid {}) listens on {shown}, and its lock in this home is free: the lock's file was \
             replaced under it, or it is of another machine",
            version.pid
        ),
        Knock::Nobody | Knock::Full | Knock::Silent | Knock::Stopping => {
            format!("somebody listens on {shown} who is no agent: the agent's lock is free")
        }
    };
    Finding::fault(
        "socket",
        who,
        format!(
            "`lsof {}` tells who; end it, or name another home with --home",
            typed(Path::new(shown))
        ),
    )
}

fn beside_an_agent(home: &Home, record: Option<&Record>) -> Vec<Finding> {
    let (path, shown) = (home.socket(), home.socket().display().to_string());
    let stage = record.map_or(Stage::Starting, |record| record.stage);
    let mut findings = vec![beside(home, record, stage)];
    let ok = |words: &str| Finding::ok("agent-health", words);
    findings.push(match stage {
        _ if !path.exists() => ok("not asked: there is no socket to ask through"),
        Stage::Starting => ok("not asked: it is starting"),
        Stage::Stopping | Stage::Stopped => ok("not asked: it is shutting down"),
        Stage::Running => health(home, &shown, record),
    });
    findings
}

fn beside(home: &Home, record: Option<&Record>, stage: Stage) -> Finding {
    const NAME: &str = "socket";
    let (path, shown) = (home.socket(), home.socket().display().to_string());
    if let Some(record) = record.filter(|record| record.socket != path) {
        return Finding::fault(
            NAME,
            format!(
                "the agent (pid {}) listens on {}, and verbs connect to {shown}",
                record.process.pid,
                record.socket.display()
            ),
            "`hearth daemon down --force`, then `hearth daemon up`",
        );
    }
    let Ok(found) = fs::symlink_metadata(&path) else {
        return match stage {
            Stage::Running => Finding::fault(
                NAME,
                format!(
                    "an agent lives and has no socket at {shown}: it was taken away, and the agent publishes it again when it hears of it"
                ),
                "look once more; where it stays like this: `hearth daemon restart --force`",
            ),
            Stage::Starting | Stage::Stopping | Stage::Stopped => {
                Finding::ok(NAME, "none yet, or no more: the agent is starting or ending")
            }
        };
    };
    match found.mode() & 0o777 {
        0o600 => Finding::ok(NAME, format!("{shown} (0600, yours)")),
        mode => Finding::warning(
            NAME,
            format!("{shown} has mode {mode:04o}, and should have 0600"),
            format!("`chmod 600 {}`", typed(&path)),
        ),
    }
}

fn health(home: &Home, shown: &str, record: Option<&Record>) -> Finding {
    const NAME: &str = "agent-health";
    let who = record.map_or_else(String::new, |record| format!(" (pid {})", record.process.pid));
    let silent = || {
        let stopped = record
            .filter(|record| record.process.same_world() && facts::is_stopped(record.process.pid));
        let remedy = stopped.map_or_else(
            || {
                "`hearth daemon restart --force` ends it and starts another; services stay"
                    .to_owned()
            },
            |record| format!("`kill -CONT {}`", record.process.pid),
        );
        let why =
            format!("the agent{who} lives and does not answer within {} s", PATIENCE.as_secs());
        Finding::fault(NAME, why, remedy)
    };
    match knock(app(), home, &Request::get("/v1/health"), PATIENCE) {
        Knock::Answered { reply: Some((200 | 503, body)), .. } => {
            match serde_json::from_slice(&body) {
                Ok(report) => of_report(&report),
                Err(error) => Finding::fault(
                    NAME,
                    format!("its report can't be read: {error}"),
                    "hearth daemon restart",
                ),
            }
        }
        // Told with the versions.
        Knock::Answered { reply: Some((426, _)), .. } => Finding::ok(
            NAME,
            "it answers, in a version of the API that this command does not speak",
        ),
        Knock::Answered { reply: Some((status, _)), .. } => Finding::fault(
            NAME,
            format!("it answers {status} to GET /v1/health"),
            "hearth daemon restart",
        ),
        Knock::Answered { reply: None, .. } | Knock::Silent | Knock::Full => silent(),
        Knock::Stopping => Finding::ok(NAME, "it is shutting down"),
        Knock::Nobody => Finding::fault(
            NAME,
            format!("the agent{who} lives, and nobody listens on {shown}"),
            "`hearth daemon restart --force`",
        ),
        other @ (Knock::Foreign(_) | Knock::NotOurs(_) | Knock::Cannot(_)) => {
            Finding { name: NAME.into(), ..foreign(shown, other) }
        }
    }
}

/// The agent's own checks; those of projects are `hearth health`'s.
fn of_report(report: &HealthReport) -> Finding {
    const NAME: &str = "agent-health";
    let failing: Vec<_> = report.checks.iter().filter(|(_, check)| !check.healthy).collect();
    if failing.is_empty() {
        let words: Vec<_> = report.checks.keys().map(String::as_str).collect();
        return Finding::ok(NAME, format!("it answers, and is well ({})", words.join(", ")));
    }
    let words: Vec<_> =
        failing.iter().map(|(name, check)| format!("{name}: {}", check.message)).collect();
    Finding::fault(
        NAME,
        format!("it is not well: {}", words.join("; ")),
        "`hearth health`, `hearth daemon logs`",
    )
}
