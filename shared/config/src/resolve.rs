//! What a service is when a life begins: `${...}` replaced by what it stands for then.
//!
//! Invariant: what is replaced is text within one value; no value becomes two, and nothing that was
//! put in is looked at again. A text that can't be replaced is a refusal that names it, never an
//! empty value: a service that connects to "" is found out much later.

use std::collections::BTreeMap;

use crate::invalid::Invalid;
use crate::project::{Port, Run, Service};
use crate::ready::Test;

/// What `${...}` may stand for.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The port of each service of the project that has one, by its name: `${services.NAME.port}`,
    /// and `${port}` for the service itself.
    pub ports: &'a BTreeMap<String, u16>,
    /// The captured environment: `${VAR}`, `${VAR:-default}`.
    pub captured: &'a BTreeMap<String, String>,
}

/// What was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What is executed.
    pub run: Option<Run>,
    /// Over the captured environment, and over that of its `user`: what the env files say, then
    /// `PORT`, then `env`. `None` unsets.
    pub env: BTreeMap<String, Option<String>>,
    /// Its port.
    pub port: Option<u16>,
    /// Its tests, none of them [`crate::Probe::Later`].
    pub ready: Vec<Test>,
    /// As [`Service::ports`], all of them numbers now.
    pub ports: Vec<u16>,
}

impl Service {
    /// The service as it is with these values.
    ///
    /// Errors: a name in `${...}` that has no value, or a test that is none with its values put in.
    pub fn resolve(&self, values: &Values<'_>) -> Result<Resolved, Invalid> {
        let port = match self.port {
            Some(Port::Fixed(port)) => Some(port),
            Some(Port::Auto) => values.ports.get(&self.name).copied(),
            None => None,
        };
        let mut env: BTreeMap<String, Option<String>> = BTreeMap::new();
        let said = self.env_file.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
        env.extend(said);
        env.extend(port.map(|port| ("PORT".to_owned(), Some(port.to_string()))));
        env.extend(self.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        let (run, ready, ports) = (self.run.clone(), self.ready.clone(), self.ports.clone());
        Ok(Resolved { run, env, port, ready, ports })
    }
}
