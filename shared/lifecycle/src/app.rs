//! Who the pair is: the names from which every path, variable and message is derived.
//!
//! One value, passed everywhere: no global state, so that two apps can live in one process.

use std::env;
use std::ffi::OsString;

/// A command-line tool and its agent.
#[derive(Clone, Debug)]
pub struct App {
    /// Name of the executable, of its directories and in messages: `hearth`.
    pub name: &'static str,
    /// Prefix of its environment variables and of its HTTP headers: `HEARTH`.
    pub prefix: &'static str,
    /// Version of this build.
    pub version: &'static str,
    /// Oldest and newest version of the API that this build speaks.
    pub api: (u32, u32),
    /// Arguments by which the executable becomes the agent.
    pub spawn_args: &'static [&'static str],
    /// Arguments by which the executable is the agent in the foreground: what a service manager runs.
    pub run_args: &'static [&'static str],
    /// Under which name launchd knows the agent: `dev.hearth.agent`. systemd's units are `NAME-agent`.
    pub label: &'static str,
    /// Longest path, relative to the home, of a socket that the agent or its children bind; decides
    /// whether the home is too deep for sockets (`sun_path`).
    pub longest_socket: &'static str,
}

impl App {
    /// The variable `PREFIX_SUFFIX`; empty counts as unset.
    pub fn var(&self, suffix: &str) -> Option<OsString> {
        env::var_os(self.var_name(suffix)).filter(|value| !value.is_empty())
    }

    /// Name of the variable `PREFIX_SUFFIX`.
    pub fn var_name(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.prefix)
    }

    /// Name of the header that carries the API range: `Hearth-Api`, in lower case.
    pub fn api_header(&self) -> String {
        format!("{}-api", self.name)
    }

    /// Whether starting an agent is forbidden from here: we run below one.
    pub fn spawn_forbidden(&self) -> bool {
        self.var("NO_AUTOSPAWN").is_some_and(|value| value != "0")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::App;

    /// Whose variables nobody has set.
    pub(crate) const APP: App = App {
        name: "pair",
        prefix: "PAIR_TEST_UNSET",
        version: "1.0.0",
        api: (1, 1),
        spawn_args: &["agent"],
        run_args: &["daemon", "run"],
        label: "dev.pair.agent",
        longest_socket: "shims/0123456789abcdef.sock",
    };
}
