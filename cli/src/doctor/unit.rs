//! The unit, where one is installed: whose it is, what the service manager says of it, and whether it is
//! still what this version would write.
//!
//! Kept true here: where no unit is installed nobody is asked and nothing is wrong: verbs start the agent
//! themselves. A service manager that hangs is a finding.

use std::path::Path;
use std::time::{Duration, Instant};

use hearth_lifecycle::unit::{self, Answer, Installed, Kind, Standing, Unit};
use hearth_lifecycle::{Home, Running, running, typed};

use crate::app;
use crate::finding::Finding;
use hearth_lifecycle::is_older;

/// Its findings.
pub const NAMES: &[&str] = &["unit", "unit-manager", "unit-version", "unit-executable"];

/// How long the manager may take for its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks.
pub fn look(home: &Home) -> Vec<Finding> {
    match unit::installed(app()) {
        Installed::None => without(Finding::ok(
            "unit",
            "none is installed: verbs start the agent (`hearth install` hands it to the service manager)",
        )),
        Installed::Masked(path) => without(Finding::warning(
            "unit",
            format!(
                "{} is masked (a link to /dev/null): verbs start the agent themselves",
                path.display()
            ),
            format!("where that is not meant: `rm {}`, then `hearth install`", typed(&path)),
        )),
        Installed::Unreadable { path, why } => without(Finding::fault(
            "unit",
            format!("{} can't be understood: {why}", path.display()),
            format!(
                "`hearth install --force` writes it anew and keeps this one as .bak; or `rm {}`",
                typed(&path)
            ),
        )),
        Installed::Unit(unit) => of(home, &unit),
    }
}

fn without(first: Finding) -> Vec<Finding> {
    let rest = NAMES[1..].iter().map(|name| Finding::ok(*name, "no unit is in charge"));
    std::iter::once(first).chain(rest).collect()
}

fn of(home: &Home, unit: &Unit) -> Vec<Finding> {
    // Also where one of them was reached through a link.
    let in_charge = unit::in_charge(app(), home).is_some();
    vec![whose(home, unit, in_charge), manager(home, unit, in_charge), version(unit), runs(unit)]
}

fn whose(home: &Home, unit: &Unit, in_charge: bool) -> Finding {
    const NAME: &str = "unit";
    let file = unit.file().display();
    if in_charge {
        return Finding::ok(NAME, format!("{file} is in charge of this home"));
    }
    let what = format!("{file} is for {}, and not for this home", unit.home.display());
    if home.is_given() {
        return Finding::ok(
            NAME,
            format!("{what}, which was named: verbs start its agent themselves"),
        );
    }
    Finding::warning(
        NAME,
        format!("{what}: verbs start its agent themselves"),
        format!(
            "`hearth --home {} uninstall` takes it away, then `hearth install` installs one for this home",
            typed(&unit.home)
        ),
    )
}

fn manager(home: &Home, unit: &Unit, in_charge: bool) -> Finding {
    const NAME: &str = "unit-manager";
    let answer = match unit.ask(Instant::now() + PATIENCE) {
        Ok(answer) => answer,
        Err(refused) => {
            let why = format!("the service manager can't be asked: {}", refused.words);
            let remedy = match refused.remedy.is_empty() {
                true => "`hearth uninstall`, where there is no service manager here".to_owned(),
                false => refused.remedy,
            };
            return match in_charge {
                true => Finding::fault(NAME, why, remedy),
                false => Finding::warning(NAME, why, remedy),
            };
        }
    };
    match wrong(unit, &answer) {
        Some((why, remedy)) if in_charge => Finding::fault(NAME, why, remedy),
        Some((why, remedy)) => Finding::warning(NAME, why, remedy),
        None if answer.standing == Standing::Inactive => Finding::warning(
            NAME,
            format!("{} is loaded, and nobody listens: {}", unit.name, answer.words),
            "`hearth daemon up` has it started; `hearth install` has it started at each login",
        ),
        None => who_runs(home, unit, in_charge, &answer),
    }
}

/// Why the manager will not start the agent, and what to type.
fn wrong(unit: &Unit, answer: &Answer) -> Option<(String, String)> {
    let (name, words) = (&unit.name, &answer.words);
    let systemd = unit.kind == Kind::Systemd;
    match answer.standing {
        Standing::NotLoaded => Some((
            format!("the service manager has not loaded {name}, though its file is there: {words}"),
            if systemd {
                "`systemctl --user daemon-reload`, then `hearth install`"
            } else {
                "`hearth install`"
            }
            .to_owned(),
        )),
        Standing::Masked => Some((
            format!("the service manager was told never to run {name}: {words}"),
            if systemd {
                format!("`systemctl --user unmask {name}`")
            } else {
                format!("`launchctl enable` of {name}")
            },
        )),
        Standing::Failed => Some((
            format!("{name} has given up: {words}"),
            format!("`{}` tells more; then `hearth daemon restart`", unit.look()),
        )),
        Standing::Inactive
        | Standing::Listening
        | Standing::Starting
        | Standing::Running { .. }
        | Standing::Stopping => None,
    }
}

/// Whether the agent that lives is the manager's.
fn who_runs(home: &Home, unit: &Unit, in_charge: bool, answer: &Answer) -> Finding {
    const NAME: &str = "unit-manager";
    let ok = Finding::ok(NAME, answer.words.clone());
    let living = match running(home) {
        Ok(Running::Living(Some(record))) if in_charge && record.process.same_world() => record,
        Ok(_) | Err(_) => return ok,
    };
    let pid = living.process.pid;
    let managed = match answer.standing {
        // 0: the manager did not say.
        Standing::Running { pid: theirs } => theirs == pid || theirs == 0,
        Standing::Listening => false,
        // In the middle of something: the next look tells.
        _ => return ok,
    };
    if managed {
        return ok;
    }
    Finding::warning(
        NAME,
        format!("the agent that runs (pid {pid}) is not that of {}: {}", unit.name, answer.words),
        "`hearth daemon down`, then `hearth daemon up`, which goes through the service manager",
    )
}

fn version(unit: &Unit) -> Finding {
    const NAME: &str = "unit-version";
    let (own, file) = (app().version(), unit.file().display());
    if unit.edited {
        return Finding::warning(
            NAME,
            format!("{file} was edited by hand: it is kept as it is"),
            "`hearth install --force` writes it anew and keeps a copy",
        );
    }
    match unit.version.as_deref() {
        None => Finding::warning(
            NAME,
            format!("{file} does not say which version wrote it"),
            "`hearth install` writes it anew",
        ),
        Some(theirs) if is_older(theirs, own) => Finding::warning(
            NAME,
            format!("{file} was written by {theirs}, and this command is {own}"),
            "`hearth install` writes it anew",
        ),
        Some(theirs) if is_older(own, theirs) => Finding::warning(
            NAME,
            format!("{file} was written by {theirs}, and this command is only {own}"),
            "use the newer `hearth`: see `path` below",
        ),
        Some(theirs) => Finding::ok(NAME, format!("written by {theirs}, unchanged since")),
    }
}

fn runs(unit: &Unit) -> Finding {
    const NAME: &str = "unit-executable";
    let (path, shown) = (&unit.executable, unit.executable.display());
    let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    if !is_file {
        return Finding::fault(
            NAME,
            format!("{} runs {shown}, which is not there", unit.name),
            "`hearth install`, with the `hearth` that is to be used",
        );
    }
    if rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_err() {
        return Finding::fault(
            NAME,
            format!("{} runs {shown}, which may not be executed", unit.name),
            format!("`chmod +x {}`, or `hearth install`", typed(path)),
        );
    }
    if let Some(doubt) = unit::doubt(app(), path) {
        return Finding::warning(NAME, format!("{} runs {}", unit.name, doubt.words), doubt.remedy);
    }
    if !is_ours(path) {
        return Finding::warning(
            NAME,
            format!(
                "{} runs {shown}, and this command is {}",
                unit.name,
                hearth_process::executable().display()
            ),
            "`hearth install`, with the `hearth` that is to be used",
        );
    }
    Finding::ok(NAME, shown.to_string())
}

fn is_ours(path: &Path) -> bool {
    let own = hearth_process::executable().canonicalize();
    matches!((path.canonicalize(), own), (Ok(one), Ok(other)) if one == other)
}
