//! What a service takes from the shell that wanted it up: environment, umask, limits.
//!
//! Invariant: a service sees its user's environment and nothing of hearth's own or of the service
//! manager's. A `NOTIFY_SOCKET` that leaked through would let any service speak for the agent's
//! unit; a `HEARTH_NO_AUTOSPAWN` would keep a service from running `hearth`.

use std::collections::BTreeMap;

use hearth_api::{Limit, Problem};
use hearth_shim::frames;
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

use crate::refuse::Refusal;

/// The umask where a request has none.
const UMASK: u32 = 0o022;

/// As it was when want went up. Never written to disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Capture {
    /// Variables.
    pub(crate) env: BTreeMap<String, String>,
    /// File mode creation mask.
    pub(crate) umask: u32,
    /// Resource limits by name, none above the agent's own hard one.
    pub(crate) limits: BTreeMap<String, Limit>,
}

/// Differ from shell to shell by nature: where it is, which terminal it has.
const BY_NATURE: [&str; 22] = [
    "_",
    "COLUMNS",
    "GPG_TTY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LINES",
    "OLDPWD",
    "PWD",
    "SHLVL",
    "SSH_AUTH_SOCK",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "STY",
    "TERM",
    "TERM_SESSION_ID",
    "TMUX",
    "TMUX_PANE",
    "WINDOW",
    "WINDOWID",
    "XDG_SESSION_ID",
    "XDG_VTNR",
];

impl Capture {
    /// The limits of who runs with it. `open_files`: where it says nothing of those, what the agent was
    /// started with, whatever it needs itself.
    pub(crate) fn limits(&self, open_files: Option<u64>) -> BTreeMap<String, frames::Limit> {
        let mut limits: BTreeMap<_, _> = self
            .limits
            .iter()
            .map(|(name, limit)| {
                (name.clone(), frames::Limit { soft: limit.soft, hard: limit.hard })
            })
            .collect();
        limits.entry("nofile".to_owned()).or_insert_with(|| {
            let hard = getrlimit(Resource::Nofile).maximum;
            frames::Limit { soft: open_files, hard }
        });
        limits
    }

    /// Names of variables that another shell has otherwise: those that mean something to a service.
    pub(crate) fn differing<'c>(&'c self, other: &'c Self) -> Vec<&'c str> {
        let is_other = |name: &&String| self.env.get(*name) != other.env.get(*name);
        let new = other.env.keys().filter(|name| !self.env.contains_key(*name));
        let mut names: Vec<&str> =
            self.env.keys().chain(new).filter(is_other).map(String::as_str).collect();
        names.retain(|name| !BY_NATURE.contains(name));
        names.sort_unstable();
        names
    }
}

/// A capture, and what its shell should know of it.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    /// As services get it.
    pub(crate) capture: Capture,
    /// Which limits were cut, a sentence each.
    pub(crate) notes: Vec<String>,
}

impl Taken {
    /// Of a request. Errors: what no process could be given.
    pub(crate) fn of(
        env: BTreeMap<String, String>,
        umask: Option<u32>,
        limits: BTreeMap<String, Limit>,
    ) -> Result<Self, Refusal> {
        let env = variables(env)?;
        let umask = umask.unwrap_or(UMASK);
        if umask > 0o777 {
            return Err(Refusal::bad_request(format!(
                "`umask`: {umask} is more than 511 (octal 777)"
            )));
        }
        let mut notes = Vec::new();
        let limits = limits.into_iter().map(|(name, limit)| cut(name, limit, &mut notes));
        let limits = limits.collect::<Result<_, _>>()?;
        Ok(Self { capture: Capture { env, umask, limits }, notes })
    }
}

/// Those of a caller that are for its services. Errors: what no process could be given.
pub(crate) fn variables(
    mut env: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Refusal> {
    for (name, value) in &env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let shown = name.escape_debug();
            let words =
                format!("`env`: `{shown}` can't be a variable: no name, or `=` or NUL in it");
            return Err(Refusal::bad_request(words));
        }
    }
    env.retain(|name, _| passes(name));
    Ok(env)
}

/// Whether a variable of the caller's is for its services.
fn passes(name: &str) -> bool {
    let ours = name.starts_with("HEARTH_") && name != "HEARTH_HOME";
    let manager =
        name == "NOTIFY_SOCKET" || name.starts_with("LISTEN_") || name.starts_with("WATCHDOG_");
    !ours && !manager
}

/// A limit above the agent's own hard one can't be set by it (setrlimit(2)): cut, and told.
fn cut(name: String, limit: Limit, notes: &mut Vec<String>) -> Result<(String, Limit), Refusal> {
    let Some(resource) = resource(&name) else {
        let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
        let words = format!("`limits`: there is no limit `{shown}` on this platform");
        return Err(
            Problem::new(hearth_api::Code::BadRequest, words, "names are like `nofile`").into()
        );
    };
    let Some(most) = getrlimit(resource).maximum else { return Ok((name, limit)) };
    let bounded = |value: Option<u64>| Some(value.map_or(most, |value| value.min(most)));
    let within = Limit { soft: bounded(limit.soft), hard: bounded(limit.hard) };
    // Without limit and a number are told apart; the soft one never goes above the hard one.
    if within != limit {
        notes.push(format!(
            "the limit {name} is cut to {most}: the agent's own hard one, which it can't exceed"
        ));
    }
    Ok((name, within))
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "memlock" => Resource::Memlock,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "stack" => Resource::Stack,
        #[cfg(target_os = "linux")]
        "locks" => Resource::Locks,
        #[cfg(target_os = "linux")]
        "msgqueue" => Resource::Msgqueue,
        #[cfg(target_os = "linux")]
        "nice" => Resource::Nice,
        #[cfg(target_os = "linux")]
        "rtprio" => Resource::Rtprio,
        #[cfg(target_os = "linux")]
        "rttime" => Resource::Rttime,
        #[cfg(target_os = "linux")]
        "sigpending" => Resource::Sigpending,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(env: &[(&str, &str)]) -> Result<Taken, Refusal> {
        let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Taken::of(env, None, BTreeMap::new())
    }

    #[test]
    fn what_is_hearths_own_or_the_managers_is_left_out() {
        let taken = taken(&[
            ("PATH", "/bin"),
            ("HEARTH_HOME", "/h"),
            ("HEARTH_SESSION", "s"),
            ("HEARTH_NO_AUTOSPAWN", "1"),
            ("NOTIFY_SOCKET", "/n"),
            ("LISTEN_FDS", "1"),
            ("WATCHDOG_USEC", "1"),
            ("NOTIFY", "mine"),
        ]);
        let capture = taken.unwrap().capture;
        assert_eq!(capture.env.keys().collect::<Vec<_>>(), ["HEARTH_HOME", "NOTIFY", "PATH"]);
        assert_eq!(capture.umask, 0o022);
    }

    #[test]
    fn what_no_process_can_be_given_is_refused_by_name() {
        let Refusal(problem) = taken(&[("A=B", "")]).unwrap_err();
        assert!(problem.detail.contains("A=B"), "{}", problem.detail);
        let limits = [("nofiles".to_owned(), Limit { soft: Some(1), hard: None })].into();
        let Refusal(problem) = Taken::of(BTreeMap::new(), None, limits).unwrap_err();
        assert!(problem.detail.contains("nofiles"), "{}", problem.detail);
    }

    #[test]
    fn what_differs_is_named_but_not_what_differs_by_nature() {
        let capture = |env: &[(&str, &str)]| taken(env).unwrap().capture;
        let one = capture(&[("A", "1"), ("B", "1"), ("PWD", "/a"), ("Z", "1")]);
        let other = capture(&[("A", "1"), ("B", "2"), ("C", "1"), ("PWD", "/b"), ("SHLVL", "2")]);
        assert_eq!(one.differing(&other), ["B", "C", "Z"]);
        assert!(one.differing(&one).is_empty());
        assert!(!BY_NATURE.contains(&"PATH"));
    }

    #[test]
    fn a_limit_above_our_own_is_cut_to_it_and_told() {
        let most = getrlimit(Resource::Nofile).maximum;
        let limits =
            [("nofile".to_owned(), Limit { soft: Some(64), hard: Some(u64::MAX - 1) })].into();
        let Taken { capture, notes } = Taken::of(BTreeMap::new(), None, limits).unwrap();
        assert_eq!(capture.limits["nofile"].soft, Some(64.min(most.unwrap_or(64))));
        assert_eq!(capture.limits["nofile"].hard, most.or(Some(u64::MAX - 1)));
        assert_eq!(notes.len(), usize::from(most.is_some()), "{notes:?}");
        assert!(notes.iter().all(|note| note.contains("nofile")), "{notes:?}");
    }
}
