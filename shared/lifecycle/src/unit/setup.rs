//! Which steps an install and an uninstall take, by what stands there.
//!
//! Kept true here: what is as it is to be is not touched, so that an install can be repeated at any
//! time; what a person has written is kept, unless he says otherwise, and then under another name; and
//! what cannot be done is refused before anything is written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::plan::{Plan, Step};
use super::template::{self, File, Wanted};
use super::{Installed, Kind, Refused, Standing, Unit, in_charge, installed, stamp};
use crate::{App, Home, Running, running, typed};

/// Why nothing can be installed. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The manager can't be reached, or does not want the unit.
    #[error("{0}")]
    Manager(Refused),
    /// What stands there is somebody else's.
    #[error("{0}")]
    Foreign(Refused),
    /// The unit that stands there is in charge of another home.
    #[error("{0}")]
    OtherHome(Refused),
    /// A path that cannot stand in a unit, or cannot be read.
    #[error("{0}")]
    Path(Refused),
}

impl Obstacle {
    /// Stable, for programs: `service-not-ready`, `bad-config`, `already-running`, `blocked`.
    pub fn code(&self) -> &'static str {
        match self {
            Obstacle::Manager(_) => "service-not-ready",
            Obstacle::Foreign(_) => "bad-config",
            Obstacle::OtherHome(_) => "already-running",
            Obstacle::Path(_) => "blocked",
        }
    }

    /// In words, with what to do.
    pub fn refused(self) -> Refused {
        match self {
            Obstacle::Manager(refused)
            | Obstacle::Foreign(refused)
            | Obstacle::OtherHome(refused)
            | Obstacle::Path(refused) => refused,
        }
    }
}

/// What an install would do for `wanted`. With `force`, what somebody has edited is written anew, and
/// a unit of another home gives way.
///
/// Reads files, and asks the manager until `until`. Errors: why it cannot be done.
pub fn install(app: &App, wanted: &Wanted, force: bool, until: Instant) -> Result<Plan, Obstacle> {
    let (plan, unreached) = would_install(app, wanted, force, until)?;
    unreached.map_or(Ok(plan), |refused| Err(Obstacle::Manager(refused)))
}

/// The same to look at: where the manager can't be reached, what would be done if it could and knew of
/// no unit, and beside it why it can't.
pub fn would_install(
    app: &App,
    wanted: &Wanted,
    force: bool,
    until: Instant,
) -> Result<(Plan, Option<Refused>), Obstacle> {
    let directory = directory(wanted.kind)?;
    may_be_ours(app, &wanted.home, force)?;
    let files = template::render(app, wanted, &directory).map_err(|error| {
        Obstacle::Path(Refused {
            words: error.to_string(),
            remedy: "name a home by another path with --home, or run an executable at another one"
                .into(),
        })
    })?;
    let unit = unit_of(app, wanted, &files);
    // Of a unit that it does not know a manager says so, and that it can be reached.
    let (standing, unreached) = match unit.ask(until) {
        Ok(answer) if answer.standing == Standing::Masked => {
            return Err(masked(&unit.files, &answer.words));
        }
        Ok(answer) => (answer.standing, None),
        Err(refused) => (Standing::NotLoaded, Some(unreached(app, refused))),
    };
    let mut plan = Plan::default();
    plan.steps.extend(ending(&wanted.home, standing));
    let mut written = Vec::new();
    for File { path, text } in files {
        let step = step_of(app, path.clone(), text, force).map_err(|error| {
            Obstacle::Path(Refused {
                words: format!("cannot read {}: {error}", path.display()),
                remedy: format!("see whose it is: `ls -ld {}`", typed(&path)),
            })
        })?;
        written.push(step.changes());
        plan.steps.push(step);
    }
    plan.steps.extend(match wanted.kind {
        Kind::Systemd => of_systemd(&unit, &written, standing),
        Kind::Launchd => super::launchd::steps_to_load(&unit, written[0], standing),
    });
    Ok((plan, unreached))
}

/// What an uninstall would do; `None`: nothing is installed for this home. With `start`, an agent of
/// its own is started afterwards.
pub fn uninstall(app: &App, home: &Home, start: bool) -> Option<Plan> {
    let unit = in_charge(app, home)?;
    let mut plan = Plan::default();
    let run = |words: &[&str]| Step::Run {
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        may_fail: true,
    };
    let names: Vec<_> = unit.files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let systemctl = |verb: &str| run(&[&["systemctl", "--user", verb], &names[..]].concat());
    if unit.kind == Kind::Systemd {
        plan.steps.push(systemctl("disable"));
    }
    // First the files, so that no verb has the manager start what is about to be stopped.
    for path in &unit.files {
        let text = fs::read_to_string(path).unwrap_or_default();
        let keep = (!stamp::is_ours_and_whole(app, &text)).then(|| aside(path));
        plan.steps.push(Step::Remove { path: path.clone(), keep });
    }
    match unit.kind {
        Kind::Systemd => {
            plan.steps.push(systemctl("stop"));
            plan.steps.push(run(&["systemctl", "--user", "daemon-reload"]));
        }
        Kind::Launchd => plan.steps.extend(super::launchd::steps_to_unload(&unit)),
    }
    plan.steps.extend(start.then_some(Step::StartAgent));
    Some(plan)
}

/// Where a manager looks for the units of this user.
fn directory(kind: Kind) -> Result<PathBuf, Obstacle> {
    let found = match kind {
        Kind::Systemd => super::systemd::directory(),
        Kind::Launchd => super::launchd::directory(),
    };
    found.ok_or_else(|| {
        Obstacle::Path(Refused {
            words: "neither HOME nor XDG_CONFIG_HOME says where units stand".into(),
            remedy: "set HOME".into(),
        })
    })
}

/// Whether what stands there may give way to a unit for `home`.
fn may_be_ours(app: &App, home: &Home, force: bool) -> Result<(), Obstacle> {
    let unit = match installed(app) {
        Installed::None => return Ok(()),
        Installed::Masked(path) => return Err(masked(&[path], "a link to /dev/null")),
        Installed::Unreadable { .. } if force => return Ok(()),
        Installed::Unreadable { path, why } => {
            let kept = aside(&path);
            return Err(Obstacle::Foreign(Refused {
                words: format!("{} is not one of {}'s: {why}", path.display(), app.name),
                remedy: format!("`{} install --force` keeps it as {}", app.name, kept.display()),
            }));
        }
        Installed::Unit(unit) => unit,
    };
    // A home that was moved away has no agent to take anything from.
    if force || in_charge(app, home).is_some() || !unit.home.exists() {
        return Ok(());
    }
    let other = unit.home.display();
    Err(Obstacle::OtherHome(Refused {
        words: format!("{} is installed for another home, {other}", unit.name),
        remedy: format!(
            "`{0} --home {1} uninstall` first; `{0} install --force` puts this one in its place",
            app.name,
            typed(&unit.home)
        ),
    }))
}

fn masked(files: &[PathBuf], words: &str) -> Obstacle {
    let names: Vec<_> = files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    Obstacle::Manager(Refused {
        words: format!("{} is masked ({words}): somebody wants no such unit", names.join(" ")),
        remedy: format!("`systemctl --user unmask {}`, then try again", names.join(" ")),
    })
}

/// Nothing is in the manager's hands yet, so nothing has to be mended.
fn unreached(app: &App, refused: Refused) -> Refused {
    let words = format!("the service manager of this user can't be reached: {}", refused.words);
    let remedy = format!(
        "nothing has to be installed: verbs start the agent themselves (`{} daemon up`); for a user \
         manager log in anew, or `loginctl enable-linger`",
        app.name
    );
    Refused { words, remedy }
}

/// The unit as it will be, for asking the manager how it stands with it.
fn unit_of(app: &App, wanted: &Wanted, files: &[File]) -> Unit {
    Unit {
        kind: wanted.kind,
        app: app.name,
        name: match wanted.kind {
            Kind::Systemd => super::systemd::names(app)[0].clone(),
            Kind::Launchd => app.launchd_label(),
        },
        files: files.iter().map(|file| file.path.clone()).collect(),
        home: wanted.home.dir().to_owned(),
        executable: wanted.executable.clone(),
        version: Some(app.version.to_owned()),
        edited: false,
    }
}

/// The end of an agent that lives and is not the manager's: a socket unit that starts would take the
/// socket's path away from it.
fn ending(home: &Home, standing: Standing) -> Option<Step> {
    let Ok(Running::Living(record)) = running(home) else { return None };
    let pid = record.map(|record| record.process.pid);
    (!standing.has(pid)).then_some(Step::EndAgent { pid })
}

fn step_of(app: &App, path: PathBuf, text: String, force: bool) -> io::Result<Step> {
    let there = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        // Also a link to nothing: it is replaced.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Step::Write { path, text, keep: None });
        }
        Err(error) => return Err(error),
    };
    Ok(match there == text {
        true => Step::Unchanged { path },
        false if stamp::is_ours_and_whole(app, &there) => Step::Write { path, text, keep: None },
        false if force => Step::Write { keep: Some(aside(&path)), path, text },
        false => Step::Edited { path },
    })
}

/// The name under which an edited file is kept: `FILE.bak`, `FILE.bak.2`, ...
fn aside(path: &Path) -> PathBuf {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 1 { ".bak".to_owned() } else { format!(".bak.{number}") });
        PathBuf::from(name)
    };
    (1..100).map(numbered).find(|path| !path.exists()).unwrap_or_else(|| numbered(100))
}

/// `written`: which of service and socket are.
fn of_systemd(unit: &Unit, written: &[bool], standing: Standing) -> Vec<Step> {
    let names: Vec<_> = unit.files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let (service, socket) = (names[0], names[names.len() - 1]);
    let run = |words: &[&str]| Step::Run {
        command: ["systemctl", "--user"].iter().chain(words).map(|&word| word.into()).collect(),
        may_fail: false,
    };
    let mut steps = Vec::new();
    if written.contains(&true) || standing == Standing::NotLoaded {
        steps.push(run(&["daemon-reload"]));
    }
    if standing == Standing::Failed {
        steps.push(run(&["reset-failed", service, socket]));
    }
    steps.push(run(&["enable", socket]));
    let listens = match standing {
        Standing::Listening
        | Standing::Starting
        | Standing::Running { .. }
        | Standing::Stopping => true,
        Standing::NotLoaded | Standing::Masked | Standing::Inactive | Standing::Failed => false,
    };
    steps.push(match written {
        // Where it listens is told to it anew; the service requires it, and is restarted with it.
        [_, true] if listens => run(&["restart", socket]),
        // Who comes meanwhile waits at the socket.
        [true, _] if listens => run(&["try-restart", service]),
        _ => run(&["start", socket]),
    });
    steps
}
