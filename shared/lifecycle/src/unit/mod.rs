//! The agent in the hands of the operating system's service manager: systemd's user manager, launchd.
//!
//! A *unit* (systemd: a socket and a service; launchd: a plist) is in charge of the one home that it
//! carries. Kept true here: what stands in files is found without asking anybody, so that who is in
//! charge can be told at any time; the manager itself is asked on slow paths only, always with a
//! deadline, and what it says is passed on in its own words. "The file is there" is not "loaded", and
//! "loaded" is not "running".

mod executable;
mod launchd;
mod login;
mod plan;
mod plist;
mod seal;
mod setup;
mod stamp;
mod stand;
mod standing;
mod surroundings;
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "chosen on Linux"))]
mod systemd;
mod template;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod os;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod os;

pub use executable::{Executable, doubt, executable};
pub use login::{Environment, environment};
pub use plan::{Done, Plan, Step};
pub use setup::{Obstacle, install, uninstall, would_install};
pub use standing::{Answer, Kind, Refused, Standing};
pub use surroundings::{foreign_home, in_ci};
pub use template::{File, Unwritable, Wanted, render};

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::{App, Home, run};

/// What an app has installed for its agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Whose.
    pub kind: Kind,
    /// Name of the app whose agent it runs.
    pub app: &'static str,
    /// Under which name the manager knows the agent: `hearth-agent.service`, `dev.hearth.agent`.
    pub name: String,
    /// Its files; the one that runs the agent first.
    pub files: Vec<PathBuf>,
    /// The home that it carries.
    pub home: PathBuf,
    /// The executable that it runs.
    pub executable: PathBuf,
    /// Of the app that wrote it; `None` where it does not say.
    pub version: Option<String>,
    /// Whether it is not what was written any more.
    pub edited: bool,
}

/// What stands where the manager looks for an app's unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installed {
    /// Nothing.
    None,
    /// A link to `/dev/null`: somebody wants no such unit.
    Masked(PathBuf),
    /// A file that can't be read or understood.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A unit.
    Unit(Box<Unit>),
}

/// Whose the units of this operating system are.
pub const KIND: Kind = os::KIND;

/// What stands there for `app`. Reads files alone.
pub fn installed(app: &App) -> Installed {
    os::installed(app)
}

/// The unit that is in charge of `home`, where one is. Reads files alone.
pub fn in_charge(app: &App, home: &Home) -> Option<Unit> {
    match installed(app) {
        Installed::Unit(unit) if is_same(&unit.home, home.dir()) => Some(*unit),
        Installed::Unit(_)
        | Installed::None
        | Installed::Masked(_)
        | Installed::Unreadable { .. } => None,
    }
}

/// By name, else by what they are: the same directory may be reached through a link above it.
fn is_same(one: &Path, other: &Path) -> bool {
    let which = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    one == other || which(one).is_some_and(|one| which(other) == Some(one))
}

/// What a command prints, where it succeeds by `until`; it is ended where it does not.
pub fn asked(command: std::process::Command, until: Instant) -> Option<String> {
    run::run(command, until).ok().filter(|ran| ran.success).map(|ran| ran.stdout)
}

impl Unit {
    /// How the manager sees it.
    pub fn ask(&self, until: Instant) -> Result<Answer, Refused> {
        stand::ask(self, until)
    }

    /// Has the manager listen for the agent (systemd) and run it, whichever is not so yet. That it does
    /// not come to be ready is no error: how it stands then tells more.
    pub fn start(&self, until: Instant) -> Result<(), Refused> {
        stand::start(self, until)
    }

    /// Has the manager end the agent. What it has started stays, and the next verb may start another one.
    pub fn stop(&self, until: Instant) -> Result<(), Refused> {
        stand::stop(self, until)
    }

    /// Has the manager end the agent and run another one, with nobody refused in between (systemd).
    pub fn restart(&self, until: Instant) -> Result<(), Refused> {
        stand::restart(self, until)
    }

    /// Has the manager listen anew, ending the agent, where somebody has removed the socket's path.
    pub fn mend(&self, until: Instant) -> Result<(), Refused> {
        stand::mend(self, until)
    }

    /// Has the manager forget that it had given up.
    pub fn forgive(&self, until: Instant) -> Result<(), Refused> {
        stand::forgive(self, until)
    }

    /// Has the manager run the agent from login on, or only when somebody wants it (systemd). What runs
    /// now stays as it is. launchd runs it from login on in any case.
    pub fn at_login(&self, at_login: bool, until: Instant) -> Result<(), Refused> {
        stand::at_login(self, at_login, until)
    }

    /// What a person types to see more: `systemctl --user status hearth-agent.service`.
    pub fn look(&self) -> String {
        stand::look(self)
    }

    /// The file that runs the agent.
    pub fn file(&self) -> &Path {
        self.files.first().map_or(Path::new(""), PathBuf::as_path)
    }
}
