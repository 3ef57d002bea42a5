//! Whether what was installed is well: the agent's checks, its environment, what logind does at logout.
//!
//! Kept true here: the agent's own checks are the install's business; those of projects are told, and
//! waited for while they are on their way, and fail nothing.

use std::collections::BTreeSet;
use std::env;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hearth_api::{Check, Code, HealthReport, HealthStatus};
use hearth_lifecycle::unit::{self, Environment, Installed, Kind};
use hearth_lifecycle::{Request, State};
use serde_json::json;

use super::report::Report;
use crate::agent::{self, Wish};
use crate::args::Context;
use crate::finding::{Finding, Level};
use crate::refuse::{self, Refusal};
use crate::{app, output, table};

/// So long is waited for what is not well yet.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two questions: of all checks together no event tells.
const AGAIN: Duration = Duration::from_millis(250);
/// What an installed agent needs. All other checks are of projects; `boot`, too, tells of them.
const OWN: &[&str] = &["agent", "home"];

/// Asks the agent for its health, which has the manager start it, and tells each check.
///
/// Errors: it does not answer; with the manager's words, and how to go on or back.
pub fn health(context: &Context, report: &mut Report) -> Result<(), Refusal> {
    let until = Instant::now() + PATIENCE;
    let (mut connected, mut waiting) = (false, false);
    let checks = loop {
        let left = until.saturating_duration_since(Instant::now());
        let wish = Wish {
            start: true,
            timeout: Some(left.max(Duration::from_secs(1))),
            past_backoff: true,
            ..Wish::default()
        };
        let asked = agent::ask(context, wish, &Request::get("/v1/health"));
        let (ready, mut reply) = asked.map_err(|error| not_connected(error, wish.timeout))?;
        let found: HealthReport = agent::parse(&agent::body(&mut reply)?)?;
        if !connected {
            connected = true;
            let pid = ready.version.as_ref().map(|version| format!("to pid {}", version.pid));
            let message = pid.unwrap_or_default();
            report.tell(context, Finding::ok("connected", message));
        }
        let late = Instant::now() >= until;
        if late || !found.checks.iter().any(|(name, check)| may_come(name, check)) {
            break found.checks;
        }
        if !waiting && !context.quiet && !context.json {
            waiting = true;
            let names: BTreeSet<_> = found
                .checks
                .iter()
                .filter(|(name, check)| may_come(name, check))
                .map(|(name, _)| name.as_str())
                .collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            output::tell(&format!("waiting for {names}, {} s at most", PATIENCE.as_secs()));
        }
        thread::sleep(AGAIN.min(until.saturating_duration_since(Instant::now())));
    };
    for (name, check) in &checks {
        report.tell(context, finding(name, check));
    }
    Ok(())
}

/// Whether it is not well, and may be in a moment.
fn may_come(name: &str, check: &Check) -> bool {
    match check.status {
        HealthStatus::Success | HealthStatus::Disabled => false,
        HealthStatus::Loading | HealthStatus::Starting | HealthStatus::Waiting => true,
        HealthStatus::Failure => OWN.contains(&name),
    }
}

fn finding(name: &str, check: &Check) -> Finding {
    let own = OWN.contains(&name);
    let message = match (check.healthy, check.message.is_empty()) {
        (true, _) => check.message.clone(),
        (false, true) => table::health_in_word(check.status).to_owned(),
        (false, false) => format!("{}: {}", table::health_in_word(check.status), check.message),
    };
    let (level, remedy) = match (check.healthy, own, name) {
        (true, ..) => (Level::Ok, ""),
        (false, true, "home") => {
            (Level::Fault, "make room there, or see whose it is: `ls -ld`; then `hearth health`")
        }
        (false, true, _) => (Level::Fault, "`hearth daemon logs` tells more"),
        (false, false, _) => {
            (Level::Warning, "of a project, not of the install: `hearth status --all`")
        }
    };
    Finding { name: name.to_owned().into(), level, message, remedy: remedy.to_owned() }
}

/// It was installed, and there is no agent.
fn not_connected(error: hearth_lifecycle::CallError, timeout: Option<Duration>) -> Refusal {
    let refusal = refuse::of_call(error, timeout);
    let unit = match unit::installed(app()) {
        Installed::Unit(unit) => Some(unit),
        Installed::None | Installed::Masked(_) | Installed::Unreadable { .. } => None,
    };
    let said =
        unit.as_ref().and_then(|unit| unit.ask(Instant::now() + Duration::from_secs(2)).ok());
    // Mostly they are what the refusal is about, and are not said twice.
    let said = said.filter(|answer| !refusal.message.contains(&answer.words));
    let said = said.map(|answer| format!("\nthe manager says: {}", answer.words));
    let look = unit.map(|unit| format!("`{}`, ", unit.look())).unwrap_or_default();
    Refusal {
        code: Code::ServiceNotReady,
        message: format!(
            "installed, but the agent does not answer: {}{}\nlikely causes: an executable that cannot be \
             run here, a faulty agent.toml, a home that may not be used",
            refusal.message,
            said.unwrap_or_default()
        ),
        hint: format!(
            "{look}`hearth daemon logs`; `hearth install` tries again, `hearth uninstall` undoes it"
        ),
        details: match refusal.details.get("state") {
            Some(_) => refusal.details,
            None => json!({ "state": State::ServiceNotReady.as_str(), "duration_ms": null,
                            "reason": refusal.message, "log": null }),
        },
    }
}

/// From where PATH and the like are.
pub fn of_environment(environment: &Environment) -> Finding {
    let shell = environment.shell.display();
    let (level, message, remedy) = match &environment.instead {
        None => (Level::Ok, format!("as `{shell} -l` has it"), String::new()),
        Some(why) => (
            Level::Warning,
            format!(
                "{shell} did not tell what a login has ({why}): the agent gets this shell's PATH"
            ),
            "where services miss a command: mend that shell's files, then `hearth install`".into(),
        ),
    };
    Finding { name: "environment".into(), level, message, remedy }
}

/// Errors: there is nothing that could be told to linger.
pub fn can_linger() -> Result<(), Refusal> {
    if unit::KIND == Kind::Launchd {
        return Err(Refusal::usage("--linger is systemd's: launchd keeps what runs by itself")
            .hint("hearth install"));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|dir| dir.join("loginctl").is_file()) {
        return Ok(());
    }
    let why = "there is no `loginctl` here, which --linger needs; nothing was installed";
    Err(Refusal::new(Code::ServiceNotReady, why).hint("hearth install").of_state(why))
}

/// Where logind ends the user's manager with the last session, and with it all services.
pub fn hint_about_linger() -> Option<Finding> {
    if unit::KIND == Kind::Launchd || asked_of_logind()?.trim() != "no" {
        return None;
    }
    Some(Finding::warning(
        "linger",
        "agent and services end when you log out, with all that is yours",
        "to keep them: `hearth install --linger`",
    ))
}

/// `yes` or `no`; none where there is no logind, or it takes too long.
fn asked_of_logind() -> Option<String> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let mut command = Command::new("loginctl");
    command.args(["show-user", "--value", "--property=Linger", &uid]).stdin(Stdio::null());
    unit::asked(command, Instant::now() + Duration::from_secs(2))
}
