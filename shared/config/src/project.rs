//! The types of a validated file, with every default in one place. They say what was written, not
//! what becomes of it: nothing here depends on what runs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::invalid::Invalid;
use crate::ready::Test;

/// A directory with a `hearth.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The directory; canonical when it comes from [`crate::load`].
    pub root: PathBuf,
    /// The file.
    pub file: PathBuf,
    /// Every file that it was read from, this one first: when none of them has changed, it says the
    /// same.
    pub sources: Vec<PathBuf>,
    /// Whether the shell hook may bring it up.
    pub auto: bool,
    /// Services, oneshots and checks, in the order of the file.
    pub services: Vec<Service>,
    /// Names for several services at once, each with at least one, in the order of the file.
    pub groups: Vec<Group>,
}

impl Project {
    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// All of them by name, for who asks for many.
    pub fn by_name(&self) -> HashMap<&str, &Service> {
        self.services.iter().map(|service| (service.name.as_str(), service)).collect()
    }

    /// What names mean, groups by their services, each once. Errors: the first that is neither a
    /// service nor a group.
    pub fn expand<'n>(&self, names: &'n [String]) -> Result<Vec<String>, &'n str> {
        let (known, mut seen) = (self.by_name(), HashSet::new());
        let mut services: Vec<String> = Vec::new();
        for name in names {
            let group = self.groups.iter().find(|group| group.name == *name);
            let members = match (known.contains_key(name.as_str()), group) {
                (true, _) => std::slice::from_ref(name),
                (false, Some(group)) => group.services.as_slice(),
                (false, None) => return Err(name),
            };
            services.extend(members.iter().filter(|member| seen.insert(*member)).cloned());
        }
        Ok(services)
    }
}

/// One of `[groups]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name; no service has it.
    pub name: String,
    /// Services and checks of the same file.
    pub services: Vec<String>,
}

/// One `[services.NAME]` or `[checks.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, `[a-z0-9][a-z0-9_-]{0,62}`.
    pub name: String,
    /// What is executed; `None` for a check, and for nothing else.
    pub run: Option<Run>,
    /// Long-running, or once.
    pub kind: Kind,
    /// Whether a verb without names means it too.
    pub enabled: bool,
    /// Its name in health; `None` leaves it out of health.
    pub display: Option<String>,
    /// What must be ready before it starts, in the order of the file, each once.
    pub needs: Vec<Need>,
    /// Where it runs; absolute, and existed when the file was read.
    pub dir: PathBuf,
    /// Variables to set, or with `None` to unset. Texts may have `${...}` in them, see
    /// [`Service::resolve`].
    pub env: BTreeMap<String, Option<String>>,
    /// Its `env_file`s; absolute.
    #[serde(default)]
    pub env_files: Vec<PathBuf>,
    /// What they say, the later over the earlier.
    #[serde(default)]
    pub env_file: BTreeMap<String, String>,
    /// As whom it runs; `None`: as the agent.
    pub user: Option<String>,
    /// Where it is to listen.
    #[serde(default)]
    pub port: Option<Port>,
    /// All must pass for it to be ready; none: see `settle`. A check has at least one.
    pub ready: Vec<Test>,
    /// Without a test, it is ready when it has lived this long.
    pub settle: Duration,
    /// Not ready after this long is failed; `None`: no limit.
    pub start_timeout: Option<Duration>,
    /// When its end is answered by a new life.
    pub restart: Restart,
    /// The pause before that.
    pub backoff: Backoff,
    /// When it is not tried any more.
    pub give_up: GiveUp,
    /// How it is asked to end.
    pub stop: Stop,
    /// How long it stays after nobody needs it.
    pub linger: Duration,
    /// How much of its output is kept.
    pub log: Log,
    /// Its `port`, where that is a number, and the ports of this machine that its tests connect to,
    /// each once: where it listens, for people.
    pub ports: Vec<u16>,
    /// FNV-1a (64 bits) of everything above but the name and where the env files stand: equal
    /// exactly where a file that was edited still asks for the same service. Stable across versions
    /// of hearth.
    pub fingerprint: u64,
    /// Line of its name in the file, from 1.
    pub line: usize,
}

impl Service {
    /// The default of `settle`.
    pub const SETTLE: Duration = Duration::from_millis(500);
    /// The default of `start_timeout` for what is no oneshot.
    pub const START_TIMEOUT: Duration = Duration::from_secs(60);
    /// The default of `linger`.
    pub const LINGER: Duration = Duration::from_secs(10);

    /// A service of this name and command with every default, as a file that says no more has it.
    pub(crate) fn new(name: &str, run: Option<Run>, kind: Kind, dir: PathBuf) -> Self {
        let stop = Stop::default_for(run.as_ref());
        Self {
            name: name.to_owned(),
            run,
            kind,
            enabled: true,
            display: Some(name.to_owned()),
            needs: Vec::new(),
            dir,
            env: BTreeMap::new(),
            env_files: Vec::new(),
            env_file: BTreeMap::new(),
            user: None,
            port: None,
            ready: Vec::new(),
            settle: Self::SETTLE,
            start_timeout: match kind {
                Kind::Service | Kind::Check => Some(Self::START_TIMEOUT),
                Kind::Oneshot => None,
            },
            restart: Restart::OnFailure,
            backoff: Backoff::default(),
            give_up: GiveUp::default(),
            stop,
            linger: Self::LINGER,
            log: Log::default(),
            ports: Vec::new(),
            fingerprint: 0,
            line: 0,
        }
    }
}

/// A command. No text in it holds a NUL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// Executed as it is; the first is the program and not empty.
    List(Vec<String>),
    /// By `sh -c`; not blank.
    Shell(String),
}

impl Run {
    /// What is expected of one.
    pub(crate) const EXPECTED: &str = "a command: a list, executed as it is \
                                       (`[\"cargo\", \"run\"]`), or a string, run by `sh -c` \
                                       (`\"cargo run\"`)";

    /// A list that can be executed. Errors: no program, or a NUL.
    pub(crate) fn list(words: Vec<String>) -> Result<Self, Invalid> {
        if words.first().is_none_or(String::is_empty) {
            return Err(Invalid::new("`run` is empty", Self::EXPECTED));
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err(Invalid::new("`run` holds a NUL", Self::EXPECTED));
        }
        Ok(Self::List(words))
    }
}

/// Long-running, or once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Is to run until it is stopped.
    Service,
    /// Runs once, and is ready when it has exited with success.
    Oneshot,
    /// Has no process, only tests.
    Check,
}

/// Where a service is to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Port {
    /// Here.
    Fixed(u16),
    /// Wherever there is room; the agent keeps what it has chosen.
    Auto,
}

/// One entry of `needs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// A service of the same file.
    pub service: String,
    /// What its loss does.
    pub lost: Lost,
}

/// What happens to a dependent when what it needs goes bad later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// It keeps running.
    Keep,
    /// It is stopped, and started again when the other is back.
    Stop,
}

/// When the end of a service is answered by a new life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// However it ended.
    Always,
    /// Unless it ended with success.
    OnFailure,
    /// Not at all.
    Never,
}

/// The pause before a new life: `min`, doubled each time up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The first; may be 0.
    pub min: Duration,
    /// The longest; at least `min`.
    pub max: Duration,
    /// A life this long makes the next pause `min` again.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(100),
            max: Duration::from_secs(30),
            reset_after: Duration::from_secs(60),
        }
    }
}

/// So many failures in so long a time, and it is not tried any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveUp {
    /// 0: it is tried for ever.
    pub failures: u32,
    /// More than 0.
    pub within: Duration,
}

impl Default for GiveUp {
    fn default() -> Self {
        Self { failures: 5, within: Duration::from_secs(60) }
    }
}

/// How a service is asked to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// With `SIG`: `SIGTERM`. Known on this platform, see [`crate::signal`].
    pub signal: String,
    /// How long it may take; then SIGKILL to the whole tree.
    pub timeout: Duration,
    /// Who gets the signal.
    pub to: Scope,
}

impl Stop {
    /// A shell does not hand signals on to what it waits for, so where `run` is a string the
    /// whole process group is told.
    pub fn default_for(run: Option<&Run>) -> Self {
        let to = match run {
            Some(Run::List(_)) | None => Scope::Leader,
            Some(Run::Shell(_)) => Scope::Group,
        };
        Self { signal: "SIGTERM".to_owned(), timeout: Duration::from_secs(10), to }
    }
}

/// Which processes of a service get a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The first process alone.
    Leader,
    /// Its process group.
    Group,
    /// All that descend from it.
    Tree,
}

/// How much of the output is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Bytes of one file; at least [`Log::MIN_SIZE`].
    pub max_size: u64,
    /// How many files; at least 1.
    pub keep: u32,
}

impl Log {
    /// The smallest `max_size`: below it, a file would be made for every few lines.
    pub const MIN_SIZE: u64 = 1_000;
}

impl Default for Log {
    fn default() -> Self {
        Self { max_size: 10_000_000, keep: 3 }
    }
}
