//! S and L, who holds them, and the record of failures between them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use hearth_lifecycle::{Failures, Home, Running, Stage, running, typed};
use hearth_process::{ProcessId, facts, locked, machine};

use crate::finding::Finding;

/// Its findings.
pub const NAMES: &[&str] = &["spawn-lock", "agent-lock", "backoff"];

/// A verb holds S for as long as an agent starts: milliseconds, on a bad day a second.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks.
pub fn look(home: &Home) -> Vec<Finding> {
    vec![spawn_lock(home), agent_lock(home), backoff(home)]
}

/// What is wrong with the file itself; `Ok(false)`: there is none.
fn file(name: &'static str, path: &Path) -> Result<bool, Finding> {
    let shown = path.display();
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        // A home that can't be entered is told as the home.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            let why = format!("{shown} can't be looked at: {error}");
            return Err(Finding::fault(name, why, "see who owns it with `ls -ld`"));
        }
    };
    let own = rustix::process::geteuid().as_raw();
    if !found.is_file() {
        let why = format!("{shown} is no regular file, and can't be locked");
        return Err(Finding::fault(name, why, format!("look at it, then `rm -r {}`", typed(path))));
    }
    if found.uid() != own {
        let why = format!("{shown} belongs to uid {}, and we are uid {own}", found.uid());
        return Err(Finding::fault(name, why, format!("`sudo chown $(id -u) {}`", typed(path))));
    }
    match found.mode() & 0o777 {
        0o600 => Ok(true),
        mode if mode & 0o600 == 0o600 => {
            let why = format!("{shown} has mode {mode:04o}, and should have 0600");
            Err(Finding::warning(name, why, format!("`chmod 600 {}`", typed(path))))
        }
        mode => {
            let why = format!("{shown} has mode {mode:04o}: we can't read and write it");
            Err(Finding::fault(name, why, format!("`chmod 600 {}`", typed(path))))
        }
    }
}

fn spawn_lock(home: &Home) -> Finding {
    const NAME: &str = "spawn-lock";
    let path = home.spawn_lock();
    match file(NAME, &path) {
        Ok(true) => {}
        Ok(false) => return Finding::ok(NAME, "not there: no verb has started an agent here"),
        Err(finding) => return finding,
    }
    match locked::is_held(&path) {
        Ok(false) => return Finding::ok(NAME, "free"),
        Ok(true) => {}
        Err(error) => {
            let why = format!("{} can't be tested: {error}", path.display());
            return Finding::fault(
                NAME,
                why,
                "name a home on a local file system with HEARTH_HOME",
            );
        }
    }
    // An agent that starts has it from the verb that took it, which may have ended since.
    let taker = machine::lock_taker(&path).filter(|pid| ProcessId::of(*pid).is_ok());
    let taker = taker.or_else(|| match running(home) {
        Ok(Running::Living(Some(record))) if record.process.same_world() => {
            Some(record.process.pid)
        }
        Ok(_) | Err(_) => None,
    });
    let who = taker.map_or_else(|| "somebody".to_owned(), |pid| format!("pid {pid}"));
    if let Some(pid) = taker.filter(|pid| facts::is_stopped(*pid)) {
        return Finding::fault(
            NAME,
            format!("pid {pid} holds it and is stopped by a signal: no verb can start an agent"),
            format!("`kill -CONT {pid}`, or `kill -KILL {pid}`"),
        );
    }
    if is_let_go(&path) {
        return Finding::ok(NAME, format!("{who} was just starting an agent"));
    }
    let lsof = format!("`lsof {}` tells who; end that process", typed(&path));
    Finding::fault(
        NAME,
        format!(
            "{who} has held it for more than {} s: no other verb can start an agent",
            PATIENCE.as_secs()
        ),
        taker.map_or(lsof, |pid| format!("see what it is (`ps -fp {pid}`), then `kill {pid}`")),
    )
}

/// Waits for it in the kernel, on a thread that is left behind where it takes longer.
fn is_let_go(path: &Path) -> bool {
    let (sender, receiver) = channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        let file = locked::open(&path, false);
        let shared = |file| rustix::fs::flock(&file, rustix::fs::FlockOperation::LockShared);
        let _ = file.map(shared);
        sender.send(())
    });
    receiver.recv_timeout(PATIENCE).is_ok()
}

fn agent_lock(home: &Home) -> Finding {
    const NAME: &str = "agent-lock";
    let path = home.agent_lock();
    match file(NAME, &path) {
        Ok(true) => {}
        Ok(false) => return Finding::ok(NAME, "not there: no agent has run here"),
        Err(finding) => return finding,
    }
    let torn = || matches!(locked::read_path(&path), Ok(locked::Record::Torn));
    match running(home) {
        Err(blocked) => Finding::fault(NAME, blocked.reason, blocked.remedy),
        Ok(Running::Living(Some(record))) => {
            let (pid, version) = (record.process.pid, &record.version);
            Finding::ok(
                NAME,
                format!("held by the agent (pid {pid}, {version}, {})", stage(record.stage)),
            )
        }
        Ok(Running::Living(None)) => {
            let taker =
                machine::lock_taker(&path).map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            Finding::ok(
                NAME,
                format!("held by somebody who has not said who it is{taker}: an agent starts"),
            )
        }
        Ok(Running::Gone(None)) if torn() => {
            Finding::ok(NAME, "free; the record in it is torn: the next agent writes another one")
        }
        Ok(Running::Gone(_) | Running::Died(_)) => Finding::ok(NAME, "free"),
    }
}

/// How far an agent has come, in a word.
pub fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Starting => "starting",
        Stage::Running => "running",
        Stage::Stopping => "stopping",
        Stage::Stopped => "stopped",
    }
}

fn backoff(home: &Home) -> Finding {
    const NAME: &str = "backoff";
    let path = home.failures();
    let Some(failures) = Failures::read(&path) else {
        return match fs::symlink_metadata(&path) {
            Ok(_) => Finding::warning(
                NAME,
                format!("{} can't be read: nothing is held back because of it", path.display()),
                format!("`rm -r {}`", typed(&path)),
            ),
            Err(_) => Finding::ok(NAME, "no start has failed"),
        };
    };
    let reason = failures.reason.trim_end();
    if let Some(left) = failures.pause_left() {
        let seconds = left.as_secs_f64().ceil();
        return Finding::fault(
            NAME,
            format!(
                "the agent failed to start {} in a row; verbs try again in {seconds:.0} s: {reason}",
                times(failures.count)
            ),
            "mend that, then `hearth daemon up`, which tries at once; `hearth daemon logs` shows more",
        );
    }
    if failures.succeeded {
        return Finding::ok(NAME, "the last start has succeeded");
    }
    if failures.boot != facts::boot_id().as_str() {
        return Finding::ok(NAME, "a start failed before the last boot; nothing is held back");
    }
    Finding::warning(
        NAME,
        format!(
            "the last start failed ({}); the next verb tries again: {reason}",
            times(failures.count)
        ),
        "mend that, then `hearth daemon up`",
    )
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
