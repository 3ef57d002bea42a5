//! What a verb asks for. Unknown fields are refused by name: a request that means more than the
//! agent understands must not be half done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One resource limit of the caller; `None` is infinity (getrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The limit in force.
    pub soft: Option<u64>,
    /// How far it may be raised.
    pub hard: Option<u64>,
}

/// Body of `POST /v1/up` and `POST /v1/restart`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpRequest {
    /// Canonical path of the project's directory. Empty: services of no project, which `run` began.
    pub project: String,
    /// Names of services, checks and groups; none means all that are enabled.
    #[serde(default)]
    pub services: Vec<String>,
    /// The caller's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The caller's umask; absent: 022.
    #[serde(default)]
    pub umask: Option<u32>,
    /// The caller's limits by name (`nofile`); absent ones are the agent's, open files as it was
    /// started with.
    #[serde(default)]
    pub limits: BTreeMap<String, Limit>,
    /// The session to which they are leased, `not-found` where there is none such; null: they are held
    /// by `up`, until somebody takes them down.
    #[serde(default)]
    pub session: Option<String>,
}

/// Body of `POST /v1/run`: a service without a file. Answered as `POST /v1/up` is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// Canonical path of the project that it is to belong to; null: it belongs to none.
    pub project: Option<String>,
    /// Its name, `[a-z0-9][a-z0-9_-]{0,62}`, which nothing in the project's file has and no service
    /// that runs; else `bad-request`.
    pub name: String,
    /// What is executed, as it is.
    pub run: Vec<String>,
    /// Where; absolute.
    pub dir: String,
    /// When it is ready; absent: when it has lived for half a second.
    #[serde(default)]
    pub ready: Option<RunReady>,
    /// The caller's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The caller's umask; absent: 022.
    #[serde(default)]
    pub umask: Option<u32>,
    /// The caller's limits by name (`nofile`); absent ones are the agent's, open files as it was
    /// started with.
    #[serde(default)]
    pub limits: BTreeMap<String, Limit>,
    /// The session to which they are leased, `not-found` where there is none such; null: they are held
    /// by `up`, until somebody takes them down.
    #[serde(default)]
    pub session: Option<String>,
}

/// When a service without a file is ready; the texts are those of `ready` in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunReady {
    /// A port, or `host:port`.
    Tcp(String),
    /// An `http://` URL.
    Http(String),
    /// A regular expression on a line of its output.
    Log(String),
}

/// Body of `POST /v1/env`: which environment a service runs with, or would if the caller brought it
/// up. Answered by an object of strings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvRequest {
    /// Canonical path of the project's directory; null: services without a project.
    pub project: Option<String>,
    /// Its name; null: what a client of all the project's services needs, `HEARTH_NAME_PORT` for
    /// each that has a port.
    pub service: Option<String>,
    /// The caller's environment, for what is not up.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// Body of `POST /v1/enable`: which services are up again when an agent starts after a boot, or after
/// its user was logged out. What runs now stays as it is. Answered by [`crate::Enabled`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnableRequest {
    /// Canonical path of the project's directory. To disable, also one that has no file any more, or a
    /// directory below it.
    pub project: String,
    /// Names of services, checks and groups. None means, to enable, all services that the file enables;
    /// to disable, all that are enabled.
    #[serde(default)]
    pub services: Vec<String>,
    /// True: from now on; false: no longer. It has to be said.
    pub enabled: bool,
}

/// Body of `POST /v1/down`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DownRequest {
    /// Canonical path of the project's directory; null means every project. It has to be said: to
    /// take everything down must not be what is left when a field was forgotten. Empty: services of
    /// no project, which `run` began.
    #[serde(deserialize_with = "said")]
    pub project: Option<String>,
    /// Names of services, checks and groups; none means all of the project.
    #[serde(default)]
    pub services: Vec<String>,
    /// Although sessions hold leases; without, `leased` names them, and nothing is changed.
    #[serde(default)]
    pub force: bool,
    /// The session that asks, if it is in one: its own leases are given up, and stand in no way.
    #[serde(default)]
    pub session: Option<String>,
}

/// A field that may be null and may not be left out.
fn said<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_goes_down_only_where_it_was_said() {
        assert!(serde_json::from_str::<DownRequest>("{}").is_err());
        let all: DownRequest = serde_json::from_str(r#"{"project":null}"#).unwrap();
        assert_eq!(all.project, None);
    }

    #[test]
    fn which_of_the_two_it_is_has_to_be_said() {
        let refused = serde_json::from_str::<EnableRequest>(r#"{"project":"/p"}"#);
        assert!(refused.unwrap_err().to_string().contains("enabled"));
    }

    #[test]
    fn an_unknown_field_is_refused_by_its_name() {
        let refused = serde_json::from_str::<UpRequest>(r#"{"project":"/p","serivces":[]}"#);
        assert!(refused.unwrap_err().to_string().contains("serivces"));
    }
}
