//! A project that is built in code instead of being read from a file.
//!
//! Invariant: there is one set of rules. What was built is written as a file and read by the reader
//! of files, so nothing can be built that no file could say, and a fault shows the line of the
//! file that it would be.
//!
//! ```
//! use std::time::Duration;
//!
//! use hearth_config::{Need, Project, Test};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! # let dir = home.path();
//! let project = Project::at(dir)
//!     .service("db", ["postgres", "-D", "data"])
//!     .port(5432)
//!     .ready(Test::tcp(5432).every(Duration::from_millis(100)))
//!     .oneshot("migrate", "make migrate")
//!     .needs("db")
//!     .check("mail", Test::tcp_at("smtp.example.com:25").failures(5))
//!     .service("api", ["./api"])
//!     .needs(Need::stop("db"))
//!     .needs("migrate")
//!     .port_auto()
//!     .env("DATABASE", "postgres://localhost:${services.db.port}/")
//!     .ready(Test::http("http://localhost:${port}/health"))
//!     .group("backend", ["db", "api"])
//!     .build()?;
//!
//! std::fs::write(dir.join("hearth.toml"), project.to_toml())?;
//! assert_eq!(hearth_config::load(dir)?, project);
//!
//! let faults = Project::at(dir).service("web", "serve").needs("dv").build().unwrap_err();
//! assert_eq!(faults.as_slice()[0].message, "unknown service `dv`");
//! # Ok(())
//! # }
//! ```

use std::path::PathBuf;
use std::time::Duration;

use crate::fault::Faults;
use crate::load::{FILE, LOCAL_FILE};
use crate::parse::parse;
use crate::project::{
    Backoff, GiveUp, Group, Kind, Log, Lost, Need, Port, Project, Restart, Run, Scope, Service,
};
use crate::ready::Test;

/// A project in the making, see [`Project::at`].
#[derive(Clone, Debug)]
#[must_use = "nothing is checked before `build`"]
pub struct Builder {
    project: Project,
}

/// The service, oneshot or check that was added last, and the project around it.
#[derive(Clone, Debug)]
#[must_use = "nothing is checked before `build`"]
pub struct Node {
    before: Builder,
    service: Service,
}

impl Project {
    /// Begins a project in this directory, which has to exist. Nothing is read from it but that
    /// each `dir` is there, and the env files.
    pub fn at(dir: impl Into<PathBuf>) -> Builder {
        let dir: PathBuf = dir.into();
        let root = dir.canonicalize().unwrap_or(dir);
        let (file, local) = (root.join(FILE), root.join(LOCAL_FILE));
        let sources = vec![file.clone(), local];
        Builder {
            project: Self {
                root,
                file,
                sources,
                auto: false,
                services: Vec::new(),
                groups: Vec::new(),
            },
        }
    }
}

impl Builder {
    /// The shell hook may bring it up.
    pub fn auto(mut self) -> Self {
        self.project.auto = true;
        self
    }

    fn node(self, name: &str, run: Option<Run>, kind: Kind) -> Node {
        let service = Service::new(name, run, kind, self.project.root.clone());
        Node { before: self, service }
    }

    /// Adds a service: a list is executed as it is, a string by `sh -c`.
    pub fn service(self, name: &str, run: impl Into<Run>) -> Node {
        self.node(name, Some(run.into()), Kind::Service)
    }

    /// Adds what runs once.
    pub fn oneshot(self, name: &str, run: impl Into<Run>) -> Node {
        self.node(name, Some(run.into()), Kind::Oneshot)
    }

    /// Adds a check.
    pub fn check(self, name: &str, test: Test) -> Node {
        self.node(name, None, Kind::Check).ready(test)
    }

    /// Names several services and checks at once.
    pub fn group<'n>(mut self, name: &str, members: impl IntoIterator<Item = &'n str>) -> Self {
        let services = members.into_iter().map(str::to_owned).collect();
        self.project.groups.push(Group { name: name.to_owned(), services });
        self
    }

    /// The project. Durations are cut to whole milliseconds.
    ///
    /// Errors: every fault, each with the line of the file that it would be.
    pub fn build(self) -> Result<Project, Faults> {
        let Project { root, file, sources, .. } = &self.project;
        let mut built = parse(&self.project.to_toml(), file, root)?;
        // As `load` has them: the env files come after these two.
        built.sources.splice(..1, sources.iter().cloned());
        Ok(built)
    }
}

/// Keys of the last node. Each does what the key of its name does in a file.
impl Node {
    fn with(mut self, change: impl FnOnce(&mut Service)) -> Self {
        change(&mut self.service);
        self
    }

    /// Whether a verb without names means it too.
    pub fn enabled(self, enabled: bool) -> Self {
        self.with(|service| service.enabled = enabled)
    }

    /// Its name in health; `None` leaves it out of health.
    pub fn display(self, name: Option<&str>) -> Self {
        self.with(|service| service.display = name.map(str::to_owned))
    }

    /// One more that must be ready before it starts.
    pub fn needs(self, need: impl Into<Need>) -> Self {
        self.with(|service| service.needs.push(need.into()))
    }

    /// Where it runs, from the project's directory.
    pub fn dir(self, dir: impl Into<PathBuf>) -> Self {
        let dir = self.before.project.root.join(dir.into());
        self.with(|service| service.dir = dir)
    }

    /// Sets a variable.
    pub fn env(self, name: &str, value: &str) -> Self {
        self.with(|service| drop(service.env.insert(name.to_owned(), Some(value.to_owned()))))
    }

    /// Takes a variable away.
    pub fn unset(self, name: &str) -> Self {
        self.with(|service| drop(service.env.insert(name.to_owned(), None)))
    }

    /// One more env file, from the project's directory.
    pub fn env_file(self, file: impl Into<PathBuf>) -> Self {
        let file = self.before.project.root.join(file.into());
        self.with(|service| service.env_files.push(file))
    }

    /// As whom it runs, where the agent runs as root.
    pub fn user(self, user: &str) -> Self {
        self.with(|service| service.user = Some(user.to_owned()))
    }

    /// Where it is to listen.
    pub fn port(self, port: u16) -> Self {
        self.with(|service| service.port = Some(Port::Fixed(port)))
    }

    /// It listens wherever there is room.
    pub fn port_auto(self) -> Self {
        self.with(|service| service.port = Some(Port::Auto))
    }

    /// One more test that must pass for it to be ready.
    pub fn ready(self, test: Test) -> Self {
        self.with(|service| service.ready.push(test))
    }

    /// Without a test, it is ready when it has lived this long.
    pub fn settle(self, settle: Duration) -> Self {
        self.with(|service| service.settle = settle)
    }

    /// Not ready after this long is failed.
    pub fn start_timeout(self, timeout: Duration) -> Self {
        self.with(|service| service.start_timeout = Some(timeout))
    }

    /// When its end is answered by a new life.
    pub fn restart(self, restart: Restart) -> Self {
        self.with(|service| service.restart = restart)
    }

    /// The pause before that.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.with(|service| service.backoff = backoff)
    }

    /// When it is not tried any more.
    pub fn give_up(self, give_up: GiveUp) -> Self {
        self.with(|service| service.give_up = give_up)
    }

    /// The signal that asks it to end, such as "SIGINT".
    pub fn stop_signal(self, signal: &str) -> Self {
        self.with(|service| service.stop.signal = signal.to_owned())
    }

    /// How long its end may take.
    pub fn stop_timeout(self, timeout: Duration) -> Self {
        self.with(|service| service.stop.timeout = timeout)
    }

    /// Who gets the signal.
    pub fn stop_to(self, to: Scope) -> Self {
        self.with(|service| service.stop.to = to)
    }

    /// How long it stays after nobody needs it.
    pub fn linger(self, linger: Duration) -> Self {
        self.with(|service| service.linger = linger)
    }

    /// How much of its output is kept.
    pub fn log(self, log: Log) -> Self {
        self.with(|service| service.log = log)
    }

    /// The project with this node in it, for what is no key of a node.
    pub fn and(self) -> Builder {
        let mut builder = self.before;
        builder.project.services.push(self.service);
        builder
    }

    /// As [`Builder::service`].
    pub fn service(self, name: &str, run: impl Into<Run>) -> Node {
        self.and().service(name, run)
    }

    /// As [`Builder::oneshot`].
    pub fn oneshot(self, name: &str, run: impl Into<Run>) -> Node {
        self.and().oneshot(name, run)
    }

    /// As [`Builder::check`].
    pub fn check(self, name: &str, test: Test) -> Node {
        self.and().check(name, test)
    }

    /// As [`Builder::group`].
    pub fn group<'n>(self, name: &str, members: impl IntoIterator<Item = &'n str>) -> Builder {
        self.and().group(name, members)
    }

    /// As [`Builder::build`].
    pub fn build(self) -> Result<Project, Faults> {
        self.and().build()
    }
}

impl From<Node> for Builder {
    fn from(node: Node) -> Self {
        node.and()
    }
}

impl From<&str> for Run {
    fn from(line: &str) -> Self {
        Self::Shell(line.to_owned())
    }
}

impl From<String> for Run {
    fn from(line: String) -> Self {
        Self::Shell(line)
    }
}

impl<const N: usize> From<[&str; N]> for Run {
    fn from(words: [&str; N]) -> Self {
        Self::List(words.map(str::to_owned).to_vec())
    }
}

impl From<&[&str]> for Run {
    fn from(words: &[&str]) -> Self {
        Self::List(words.iter().map(|word| (*word).to_owned()).collect())
    }
}

impl From<Vec<String>> for Run {
    fn from(words: Vec<String>) -> Self {
        Self::List(words)
    }
}

impl Need {
    /// A need whose loss stops who needs it.
    pub fn stop(service: &str) -> Self {
        Self { service: service.to_owned(), lost: Lost::Stop }
    }
}

impl From<&str> for Need {
    /// One whose loss leaves who needs it running.
    fn from(service: &str) -> Self {
        Self { service: service.to_owned(), lost: Lost::Keep }
    }
}

impl From<String> for Need {
    fn from(service: String) -> Self {
        Self { service, lost: Lost::Keep }
    }
}
