//! Who the pair is: the names from which every path, variable and message is derived.
//!
//! One value, passed everywhere: no global state, so that two apps can live in one process. Kept true
//! here: an app that there is has names that a directory, a variable, a header and a unit can have. One
//! that is written as a constant is looked at by the compiler, and a bad name does not compile.

use std::env;
use std::ffi::OsString;
use std::time::Duration;

use self::name::{check_name, check_version, is_label, is_variable};
use crate::AgentConfig;

mod name;

/// A command-line tool and its agent.
///
/// ```
/// use hearth_lifecycle::App;
///
/// const NOTES: App = App::new("notes", env!("CARGO_PKG_VERSION")).api(1, 2);
///
/// assert_eq!(NOTES.var_name("HOME"), "NOTES_HOME");
/// assert_eq!(NOTES.api_header(), "notes-api");
/// ```
///
/// A name that can't be used does not compile:
///
/// ```compile_fail
/// const BAD: hearth_lifecycle::App = hearth_lifecycle::App::new("my/notes", "1.0.0");
/// ```
#[derive(Clone, Debug)]
pub struct App {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) api: (u32, u32),
    pub(crate) spawn_args: &'static [&'static str],
    pub(crate) run_args: &'static [&'static str],
    pub(crate) longest_socket: &'static str,
    pub(crate) variables: &'static [&'static str],
    pub(crate) sockets: Sockets,
    pub(crate) renewal: Renewal,
    pub(crate) config: AgentConfig,
    pub(crate) budgets: Budgets,
    prefix: Option<&'static str>,
    label: Option<&'static str>,
}

/// Where an app's sockets stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sockets {
    /// In the home.
    #[default]
    Home,
    /// Below `$XDG_RUNTIME_DIR`, where that is set. Callers without the variable (cron, ssh) find the
    /// agent by the record in its lifetime lock.
    RuntimeDirectory,
}

/// How long a verb waits for what. `--timeout` and the like bound all of it, and lengthen nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// For getting an agent, by whatever way.
    pub deadline: Duration,
    /// For an agent that it has started to become ready, inside the deadline. Beyond that the agent lives
    /// on, and the next verb waits for it.
    pub spawn: Duration,
    /// For a service manager to bring one up, inside the deadline.
    pub manager: Duration,
}

impl Budgets {
    /// 10 s, 3 s and 8 s.
    pub const DEFAULT: Self = Self {
        deadline: Duration::from_secs(10),
        spawn: Duration::from_secs(3),
        manager: Duration::from_secs(8),
    };
}

/// When a verb puts an agent of its own version in the place of one that answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renewal {
    /// Where the agent is too old to be talked to: the two speak no version of the API in common.
    #[default]
    Incompatible,
    /// Where the agent is of an older version, whether it could be talked to or not. A verb then asks
    /// for the version before it sends anything else: one exchange more.
    Older,
    /// Never: it is told, and left to `daemon restart`.
    Never,
}

/// Why an app can't be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// Its name is none for a directory, a header and a unit.
    #[error("`{name}` can't be the name of an app: {why}")]
    Name {
        /// The name.
        name: &'static str,
        /// What a name has to be.
        why: &'static str,
    },
    /// Its version is none for a header and a line of a message.
    #[error("`{version}` can't be the version of an app: {why}")]
    Version {
        /// The version.
        version: &'static str,
        /// What a version has to be.
        why: &'static str,
    },
}

impl AppError {
    /// Stable, for programs: `bad-name`, `bad-version`.
    pub fn code(&self) -> &'static str {
        match self {
            AppError::Name { .. } => "bad-name",
            AppError::Version { .. } => "bad-version",
        }
    }

    const fn why(&self) -> &'static str {
        match self {
            AppError::Name { why, .. } | AppError::Version { why, .. } => why,
        }
    }
}

impl App {
    /// An app of this name and version, with everything else as it is by default.
    ///
    /// # Panics
    ///
    /// For a name or a version that can't be one (see [`App::try_new`]): as a constant, at compile time.
    pub const fn new(name: &'static str, version: &'static str) -> Self {
        match Self::try_new(name, version) {
            Ok(app) => app,
            Err(error) => panic!("{}", error.why()),
        }
    }

    /// The same for a name that is known at run time alone.
    ///
    /// A name is 1 to 32 letters `a-z`, digits, `-` and `_`, and begins with a letter: it becomes a
    /// directory, the prefix of variables, an HTTP header and the name of a unit. A version is what can
    /// be printed in a line, without spaces.
    pub const fn try_new(name: &'static str, version: &'static str) -> Result<Self, AppError> {
        if let Err(why) = check_name(name) {
            return Err(AppError::Name { name, why });
        }
        if let Err(why) = check_version(version) {
            return Err(AppError::Version { version, why });
        }
        Ok(Self {
            name,
            version,
            api: (1, 1),
            spawn_args: &["agent"],
            run_args: &["daemon", "run"],
            longest_socket: "agent.sock",
            variables: &[],
            sockets: Sockets::Home,
            renewal: Renewal::Incompatible,
            config: AgentConfig::DEFAULT,
            budgets: Budgets::DEFAULT,
            prefix: None,
            label: None,
        })
    }

    /// Oldest and newest version of the API that this build speaks; by default 1 and 1.
    ///
    /// # Panics
    ///
    /// Where the oldest is newer than the newest.
    pub const fn api(mut self, oldest: u32, newest: u32) -> Self {
        assert!(oldest <= newest, "the oldest version of an API is not newer than the newest");
        self.api = (oldest, newest);
        self
    }

    /// The same app in another version.
    ///
    /// # Panics
    ///
    /// As [`App::new`].
    pub const fn at_version(mut self, version: &'static str) -> Self {
        match check_version(version) {
            Ok(()) => self.version = version,
            Err(why) => panic!("{}", why),
        }
        self
    }

    /// Arguments by which the executable becomes the agent, for verbs that spawn it; by default `agent`.
    pub const fn spawn_args(mut self, arguments: &'static [&'static str]) -> Self {
        assert!(!arguments.is_empty(), "without an argument of its own an agent would be a verb");
        self.spawn_args = arguments;
        self
    }

    /// Arguments by which the executable is the agent in the foreground, which is what a service manager
    /// runs; by default `daemon run`.
    pub const fn run_args(mut self, arguments: &'static [&'static str]) -> Self {
        assert!(!arguments.is_empty(), "without an argument of its own an agent would be a verb");
        self.run_args = arguments;
        self
    }

    /// Names of further variables that an agent takes from the verb that happens to start it; by default
    /// none beside [`crate::is_allowed`]. What differs from shell to shell is better sent with a request.
    pub const fn keep_variables(mut self, names: &'static [&'static str]) -> Self {
        self.variables = names;
        self
    }

    /// Prefix of its environment variables; by default its name in capitals, `-` as `_`.
    ///
    /// # Panics
    ///
    /// Where it is no prefix of a variable: capitals, digits and `_`, a letter first.
    pub const fn prefix(mut self, prefix: &'static str) -> Self {
        assert!(is_variable(prefix), "the prefix of variables is capitals, digits and _");
        self.prefix = Some(prefix);
        self
    }

    /// Under which name launchd knows the agent, `dev.hearth.agent` for example; by default
    /// `NAME.agent`. systemd's units are `NAME-agent`.
    ///
    /// # Panics
    ///
    /// Where it is no label: ASCII letters, digits, `.`, `-` and `_`.
    pub const fn label(mut self, label: &'static str) -> Self {
        assert!(is_label(label), "a label is letters, digits, dots, - and _, a letter first");
        self.label = Some(label);
        self
    }

    /// Longest path, relative to the home, of a socket that the agent or its children bind there, where
    /// it is longer than `agent.sock`; decides whether a home is too deep for sockets (`sun_path`).
    pub const fn longest_socket(mut self, path: &'static str) -> Self {
        self.longest_socket = path;
        self
    }

    /// Where its sockets stand; by default in the home.
    pub const fn sockets(mut self, sockets: Sockets) -> Self {
        self.sockets = sockets;
        self
    }

    /// When a verb replaces an older agent; by default where it can't be talked to.
    pub const fn renewal(mut self, renewal: Renewal) -> Self {
        self.renewal = renewal;
        self
    }

    /// How long verbs wait; by default [`Budgets::DEFAULT`].
    pub const fn budgets(mut self, budgets: Budgets) -> Self {
        self.budgets = budgets;
        self
    }

    /// Settings of the agent where its `agent.toml` says nothing else.
    pub const fn config(mut self, config: AgentConfig) -> Self {
        self.config = config;
        self
    }

    /// Name of the executable, of its directories, and in messages.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Version of this build.
    pub const fn version(&self) -> &'static str {
        self.version
    }

    /// Oldest and newest version of the API that this build speaks.
    pub const fn api_range(&self) -> (u32, u32) {
        self.api
    }

    /// The variable `PREFIX_SUFFIX`; empty counts as unset.
    pub fn var(&self, suffix: &str) -> Option<OsString> {
        env::var_os(self.var_name(suffix)).filter(|value| !value.is_empty())
    }

    /// Name of the variable `PREFIX_SUFFIX`.
    pub fn var_name(&self, suffix: &str) -> String {
        match self.prefix {
            Some(prefix) => format!("{prefix}_{suffix}"),
            None => format!("{}_{suffix}", self.name.to_ascii_uppercase().replace('-', "_")),
        }
    }

    /// Name of the header that carries the API range: `hearth-api`.
    pub fn api_header(&self) -> String {
        format!("{}-api", self.name)
    }

    /// Name under which launchd knows the agent.
    pub fn launchd_label(&self) -> String {
        self.label.map_or_else(|| format!("{}.agent", self.name), str::to_owned)
    }

    /// Whether starting an agent is forbidden from here, by the variable `PREFIX_NO_AUTOSPAWN`: somebody
    /// has set it, or we run below an agent. What an agent starts, and what that starts, must not bring
    /// up the agent's successor from below it.
    pub fn spawn_forbidden(&self) -> bool {
        self.var("NO_AUTOSPAWN").is_some_and(|value| value != "0")
    }

    /// Whether a process of these arguments, its name left out, is an agent of this app.
    pub fn is_run_by(&self, arguments: &[&str]) -> bool {
        arguments.starts_with(self.spawn_args) || arguments.starts_with(self.run_args)
    }

    /// Whether this process was started by a verb to be the agent, told by its arguments. To be asked
    /// first in `main`; [`crate::agent::Agent::take`] then makes sure of it.
    #[cfg(feature = "agent")]
    pub fn spawned(&self) -> Option<crate::agent::Mode> {
        self.spawned_by(env::args_os().skip(1))
    }

    #[cfg(feature = "agent")]
    fn spawned_by(
        &self,
        mut arguments: impl Iterator<Item = OsString>,
    ) -> Option<crate::agent::Mode> {
        use crate::agent::Mode;
        let ours =
            self.spawn_args.iter().all(|word| arguments.next().is_some_and(|it| it == *word));
        match (ours, arguments.next(), arguments.next()) {
            (true, None, None) => Some(Mode::Inherited),
            (true, Some(word), None) if word == crate::spawn::REPLACE => Some(Mode::Replacing),
            (_, _, _) => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Whose variables nobody has set.
    pub(crate) const APP: App = App::new("pair", "1.0.0")
        .prefix("PAIR_TEST_UNSET")
        .label("dev.pair.agent")
        .longest_socket("shims/0123456789abcdef.sock");

    #[test]
    fn what_is_no_name_is_refused_and_told_why() {
        let long: &'static str = "x".repeat(200).leak();
        for (name, why) in [
            ("a/b", "letters a-z"),
            ("../etc", "begins with"),
            (".hidden", "begins with"),
            ("my.app", "letters a-z"),
            ("caf\u{e9}", "letters a-z"),
            ("Notes", "begins with"),
            ("1st", "begins with"),
            ("a b", "letters a-z"),
            ("a\n", "letters a-z"),
            ("", "empty"),
            (long, "at most 32"),
        ] {
            let error = App::try_new(name, "1.0.0").unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(error.code(), "bad-name");
        }
        for version in ["", "1 0", "1\n", "\u{e9}"] {
            assert_eq!(App::try_new("a", version).unwrap_err().code(), "bad-version");
        }
        assert!(App::try_new("a", "1.0.0-rc.1+build").is_ok());
    }

    #[test]
    fn what_is_not_said_follows_from_the_name() {
        let app = App::new("my-notes_2", "1.0.0");
        assert_eq!(app.var_name("HOME"), "MY_NOTES_2_HOME");
        assert_eq!(app.launchd_label(), "my-notes_2.agent");
        assert_eq!(APP.var_name("HOME"), "PAIR_TEST_UNSET_HOME");
        assert_eq!(APP.launchd_label(), "dev.pair.agent");
    }

    #[cfg(feature = "agent")]
    #[test]
    fn who_was_spawned_is_told_by_all_of_its_arguments() {
        use crate::agent::Mode;
        let app = APP.spawn_args(&["internal", "agent"]);
        let spawned = |line: &str| app.spawned_by(line.split_whitespace().map(OsString::from));
        assert_eq!(spawned("internal agent"), Some(Mode::Inherited));
        assert_eq!(spawned("internal agent --replace"), Some(Mode::Replacing));
        for line in ["", "internal", "agent", "internal agent x", "internal agent --replace x"] {
            assert_eq!(spawned(line), None, "{line}");
        }
    }
}
