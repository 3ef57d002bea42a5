//! What a service takes from the shell that wanted it up: environment, umask, limits.
//!
//! Invariant: a service sees its user's environment and nothing of hearth's own or of the service
//! manager's. A `NOTIFY_SOCKET` that leaked through would let any service speak for the agent's
//! unit; a `HEARTH_NO_AUTOSPAWN` would keep a service from running `hearth`.

use std::collections::BTreeMap;

use hearth_api::{Limit, Problem, UpRequest};
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use tracing::warn;

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

impl Capture {
    /// Of a request. Errors: what no process could be given.
    pub(crate) fn of(request: &mut UpRequest) -> Result<Self, Refusal> {
        let mut env = std::mem::take(&mut request.env);
        for (name, value) in &env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                let shown = name.escape_debug();
                let words =
                    format!("`env`: `{shown}` can't be a variable: no name, or `=` or NUL in it");
                return Err(Refusal::bad_request(words));
            }
        }
        env.retain(|name, _| passes(name));
        let umask = request.umask.unwrap_or(UMASK);
        if umask > 0o777 {
            return Err(Refusal::bad_request(format!(
                "`umask`: {umask} is more than 511 (octal 777)"
            )));
        }
        let limits = std::mem::take(&mut request.limits);
        let limits =
            limits.into_iter().map(|(name, limit)| cut(name, limit)).collect::<Result<_, _>>()?;
        Ok(Self { env, umask, limits })
    }
}

/// Whether a variable of the caller's is for its services.
fn passes(name: &str) -> bool {
    let ours = name.starts_with("HEARTH_") && name != "HEARTH_HOME";
    let manager =
        name == "NOTIFY_SOCKET" || name.starts_with("LISTEN_") || name.starts_with("WATCHDOG_");
    !ours && !manager
}

/// A limit above the agent's own hard one can't be set by it (setrlimit(2)): cut, and told.
fn cut(name: String, limit: Limit) -> Result<(String, Limit), Refusal> {
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
    if within != limit {
        warn!(
            limit = name,
            most, "a limit of the caller's is above the agent's own hard one: cut to it"
        );
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

    fn request(env: &[(&str, &str)]) -> UpRequest {
        let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        UpRequest { env, ..UpRequest::default() }
    }

    #[test]
    fn what_is_hearths_own_or_the_managers_is_left_out() {
        let mut request = request(&[
            ("PATH", "/bin"),
            ("HEARTH_HOME", "/h"),
            ("HEARTH_SESSION", "s"),
            ("HEARTH_NO_AUTOSPAWN", "1"),
            ("NOTIFY_SOCKET", "/n"),
            ("LISTEN_FDS", "1"),
            ("WATCHDOG_USEC", "1"),
            ("NOTIFY", "mine"),
        ]);
        let capture = Capture::of(&mut request).unwrap();
        assert_eq!(capture.env.keys().collect::<Vec<_>>(), ["HEARTH_HOME", "NOTIFY", "PATH"]);
        assert_eq!(capture.umask, 0o022);
    }

    #[test]
    fn what_no_process_can_be_given_is_refused_by_name() {
        let Refusal(problem) = Capture::of(&mut request(&[("A=B", "")])).unwrap_err();
        assert!(problem.detail.contains("A=B"), "{}", problem.detail);
        let limits = [("nofiles".to_owned(), Limit { soft: Some(1), hard: None })].into();
        let mut wrong = UpRequest { limits, ..UpRequest::default() };
        let Refusal(problem) = Capture::of(&mut wrong).unwrap_err();
        assert!(problem.detail.contains("nofiles"), "{}", problem.detail);
    }

    #[test]
    fn a_limit_above_our_own_is_cut_to_it() {
        let most = getrlimit(Resource::Nofile).maximum;
        let limits =
            [("nofile".to_owned(), Limit { soft: Some(64), hard: Some(u64::MAX - 1) })].into();
        let mut request = UpRequest { limits, ..UpRequest::default() };
        let capture = Capture::of(&mut request).unwrap();
        assert_eq!(capture.limits["nofile"].soft, Some(64.min(most.unwrap_or(64))));
        assert_eq!(capture.limits["nofile"].hard, most.or(Some(u64::MAX - 1)));
    }
}
