//! What an install or an uninstall does, step by step: told before anything is done, then done as it
//! was told.
//!
//! Kept true here: S is held from the first step to the last, so that no verb starts an agent of its own
//! between the end of the one that lives and the moment at which the manager listens; whoever comes
//! meanwhile waits at S and finds the manager's. A file is there whole or not at all. A step that fails
//! ends it, and which steps were done is told.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hearth_process::locked::{LockedFile, TryError};

use super::launchd::{self, Launchctl};
use super::{Refused, Unit};
use crate::ensure::ensure_ready;
use crate::run::{self, Trouble};
use crate::wait::{self, LockWait};
use crate::{App, Home, Options, Stop, StopError, control, kept, record, typed};

/// One command of a manager's may take this long; ending an agent may take its services' hooks.
const COMMAND: Duration = Duration::from_secs(20);
/// Verbs that start an agent hold S for less.
const SPAWNING: Duration = Duration::from_secs(10);
/// Beyond the agent's own time for its end.
const ENDING: Duration = Duration::from_secs(10);

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ends the agent that a verb has started; what it has started stays.
    EndAgent {
        /// Its pid, where it is known.
        pid: Option<u32>,
    },
    /// Writes a file, keeping what stood there under another name where somebody has edited it.
    Write {
        /// Where.
        path: PathBuf,
        /// What.
        text: String,
        /// The other name.
        keep: Option<PathBuf>,
    },
    /// The file is what it is to be.
    Unchanged {
        /// Which.
        path: PathBuf,
    },
    /// The file was edited, and stays as it is.
    Edited {
        /// Which.
        path: PathBuf,
    },
    /// Removes a file, or gives it another name where somebody has edited it.
    Remove {
        /// Which.
        path: PathBuf,
        /// The other name.
        keep: Option<PathBuf>,
    },
    /// Runs a command of the service manager's.
    Run {
        /// Program and arguments.
        command: Vec<String>,
        /// The rest is done although it fails.
        may_fail: bool,
    },
    /// Has launchd load the unit and run the agent.
    Load(Box<Unit>),
    /// Has launchd end the agent and forget the unit.
    Unload(Box<Unit>),
    /// Starts an agent as verbs do, without a manager.
    StartAgent,
}

impl Step {
    /// In a word, as in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Step::EndAgent { .. } => "end-agent",
            Step::Write { .. } => "write",
            Step::Unchanged { .. } => "unchanged",
            Step::Edited { .. } => "edited",
            Step::Remove { .. } => "remove",
            Step::Run { .. } | Step::Load(_) | Step::Unload(_) => "run",
            Step::StartAgent => "start-agent",
        }
    }

    /// The file that it is about.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Step::Write { path, .. }
            | Step::Unchanged { path }
            | Step::Edited { path }
            | Step::Remove { path, .. } => Some(path),
            Step::EndAgent { .. }
            | Step::Run { .. }
            | Step::Load(_)
            | Step::Unload(_)
            | Step::StartAgent => None,
        }
    }

    /// The command that it runs, as it may be typed.
    pub fn command(&self) -> Option<String> {
        match self {
            Step::Run { command, .. } => Some(command.join(" ")),
            Step::Load(unit) => Some(launchd::load_in_words(unit)),
            Step::Unload(unit) => Some(launchd::unload_in_words(unit)),
            Step::EndAgent { .. }
            | Step::Write { .. }
            | Step::Unchanged { .. }
            | Step::Edited { .. }
            | Step::Remove { .. }
            | Step::StartAgent => None,
        }
    }

    /// For people.
    pub fn in_words(&self) -> String {
        let kept = |keep: &Option<PathBuf>| match keep {
            Some(keep) => format!(" (what stands there was edited: kept as {})", keep.display()),
            None => String::new(),
        };
        match self {
            Step::EndAgent { pid } => {
                let pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
                format!("end the agent that runs{pid}; what it has started stays")
            }
            Step::Write { path, keep, .. } => format!("write {}{}", path.display(), kept(keep)),
            Step::Unchanged { path } => format!("unchanged {}", path.display()),
            Step::Edited { path } => format!("keep {}: it was edited", path.display()),
            Step::Remove { path, keep } => format!("remove {}{}", path.display(), kept(keep)),
            Step::Run { .. } | Step::Load(_) | Step::Unload(_) => {
                format!("run {}", self.command().unwrap_or_default())
            }
            Step::StartAgent => "start an agent without the manager, for what runs".to_owned(),
        }
    }

    /// Whether it changes anything.
    pub fn changes(&self) -> bool {
        !matches!(self, Step::Unchanged { .. } | Step::Edited { .. })
    }
}

/// Steps in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

/// How a step ended that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// As it was meant.
    Yes,
    /// It failed, and nothing depends on it.
    Failed(Refused),
}

impl Plan {
    /// Does it, and tells of each step when it is done. Errors: of the step that is the first not to
    /// be told of; those behind it were not tried.
    pub fn carry_out(
        &self,
        app: &App,
        home: &Home,
        told: &mut dyn FnMut(&Step, &Done),
    ) -> Result<(), Refused> {
        let mut held = hold(home)?;
        for step in &self.steps {
            if *step == Step::StartAgent {
                // It takes S itself.
                held = None;
            }
            let done = match (step.carry_out(app, home), step) {
                (Ok(()), _) => Done::Yes,
                (Err(refused), Step::Run { may_fail: true, .. }) => Done::Failed(refused),
                (Err(refused), _) => return Err(refused),
            };
            told(step, &done);
        }
        drop(held);
        Ok(())
    }
}

impl Step {
    fn carry_out(&self, app: &App, home: &Home) -> Result<(), Refused> {
        match self {
            Step::EndAgent { .. } => end_agent(app, home),
            Step::Write { path, text, keep } => {
                write(path, text, keep.as_deref()).map_err(|error| cannot("write", path, &error))
            }
            Step::Unchanged { .. } | Step::Edited { .. } => Ok(()),
            Step::Remove { path, keep } => {
                remove(path, keep.as_deref()).map_err(|error| cannot("remove", path, &error))
            }
            Step::Run { command, .. } => command_of_manager(command, Instant::now() + COMMAND),
            Step::Load(unit) => Launchctl::default().load(unit, Instant::now() + COMMAND),
            Step::Unload(unit) => Launchctl::default().unload(unit, Instant::now() + COMMAND),
            Step::StartAgent => {
                let ready = ensure_ready(app, home, &Options::default());
                if ready.state.is_ready() {
                    return Ok(());
                }
                let words = ready.reason.unwrap_or_else(|| ready.state.as_str().to_owned());
                let remedy = ready.hint.unwrap_or_else(|| format!("{} daemon up", app.name));
                Err(Refused { words, remedy })
            }
        }
    }
}

fn cannot(doing: &str, path: &Path, error: &io::Error) -> Refused {
    Refused {
        words: format!("cannot {doing} {}: {error}", path.display()),
        remedy: format!("see whose it is: `ls -ld {}`", typed(path.parent().unwrap_or(path))),
    }
}

/// Takes S, in a home that may be used. In one that is gone nobody starts an agent, and it is not made
/// again for an uninstall.
fn hold(home: &Home) -> Result<Option<LockedFile>, Refused> {
    if !home.dir().exists() {
        return Ok(None);
    }
    home.prepare().map_err(|blocked| Refused { words: blocked.reason, remedy: blocked.remedy })?;
    let path = home.spawn_lock();
    let failed = |error: &io::Error| cannot("lock", &path, error);
    let file = match LockedFile::try_exclusive(record::open(&path).map_err(|e| failed(&e))?) {
        Ok(lock) => return Ok(Some(lock)),
        Err((file, TryError::Held)) => file,
        Err((_, TryError::Unsupported(error) | TryError::Os(error))) => return Err(failed(&error)),
    };
    let waiting = LockWait::begin(file).map_err(|e| failed(&e))?;
    let until = Instant::now() + SPAWNING;
    wait::any_readable(&[waiting.as_fd()], until).map_err(|e| failed(&e))?;
    match waiting.take() {
        Some(lock) => lock.map(Some).map_err(|e| failed(&e)),
        None => Err(Refused {
            words: format!("a verb has been starting the agent for {} s", SPAWNING.as_secs()),
            remedy: "try again when it is through".into(),
        }),
    }
}

fn end_agent(app: &App, home: &Home) -> Result<(), Refused> {
    let within = Some(control::patience(home).saturating_add(ENDING));
    let words = match control::stop(app, home, Stop { within, force: false }) {
        Ok(_) => return Ok(()),
        Err(StopError::Failed(words)) => words,
        Err(StopError::Blocked(blocked)) => blocked.reason,
        Err(StopError::NotReady(ready)) => ready.reason.unwrap_or_default(),
        Err(StopError::Late { .. }) => "it has not ended in time".into(),
    };
    Err(Refused {
        words: format!("the agent that runs could not be ended: {words}"),
        remedy: format!("`{0} daemon down --force`, then try again", app.name),
    })
}

/// By another name first, so that it is never there in part: an empty unit would be a mask. A link is
/// replaced, not followed.
fn write(path: &Path, text: &str, keep: Option<&Path>) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    if let Some(keep) = keep {
        fs::rename(path, keep)?;
    }
    kept::replace_for_good(path, text.as_bytes())
}

fn remove(path: &Path, keep: Option<&Path>) -> io::Result<()> {
    let done = match keep {
        Some(keep) => fs::rename(path, keep),
        None => fs::remove_file(path),
    };
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Runs it, for no longer than `until`. Errors: in its own words.
pub(super) fn command_of_manager(words: &[String], until: Instant) -> Result<(), Refused> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command: Command = run::command(program);
    command.args(arguments);
    super::systemd::find_the_manager(&mut command);
    let shown = words.join(" ");
    let refused = |why: String| Refused {
        words: format!("`{shown}` failed: {why}"),
        remedy: format!("look at what it says when typed: `{shown}`"),
    };
    match run::run(command, until) {
        Ok(ran) if ran.success => Ok(()),
        Ok(ran) => {
            let said = if ran.stderr.trim().is_empty() { ran.stdout } else { ran.stderr };
            let code = ran.code.map_or_else(|| "killed".into(), |code| format!("exit code {code}"));
            let said = said.trim();
            Err(refused(if said.is_empty() { code } else { said.to_owned() }))
        }
        Err(Trouble::Absent) => Err(refused(format!("there is no {program} in PATH"))),
        Err(Trouble::Late) => Err(refused("it did not end in time".into())),
        Err(Trouble::Os(error)) => Err(refused(error.to_string())),
    }
}
