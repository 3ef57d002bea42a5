//! What a service is when a life begins: `${...}` replaced by what it stands for then.
//!
//! Invariant: what is replaced is text within one value; no value becomes two, and nothing that was
//! put in is looked at again. A text that can't be replaced is a refusal that names it, never an
//! empty value: a service that connects to "" is found out much later.

use std::collections::BTreeMap;

use crate::invalid::Invalid;
use crate::project::{Port, Run, Service};
use crate::ready::{Later, LaterKind, Probe, Test};
use crate::replace::{Kind, Sources};
use crate::{address, place};

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
        let sources = Sources { service: &self.name, port, values, env_file: &self.env_file };
        let mut env: BTreeMap<String, Option<String>> = BTreeMap::new();
        let said = self.env_file.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
        env.extend(said);
        env.extend(port.map(|port| ("PORT".to_owned(), Some(port.to_string()))));
        for (name, value) in &self.env {
            let value = match value {
                Some(text) => Some(sources.replace(text, Kind::Value)?),
                None => None,
            };
            env.insert(name.clone(), value);
        }
        let command = Kind::Command { port: self.port.is_some() };
        let run = self.run.as_ref().map(|run| replaced(run, &sources, command)).transpose()?;
        let ready: Result<Vec<Test>, Invalid> = self
            .ready
            .iter()
            .map(|test| Ok(Test { probe: probe(&test.probe, &sources, command)?, ..test.clone() }))
            .collect();
        let ready = ready?;
        let mut ports = Vec::new();
        for port in port.into_iter().chain(ready.iter().filter_map(|test| test.probe.local_port()))
        {
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        Ok(Resolved { run, env, port, ready, ports })
    }
}

fn replaced(run: &Run, sources: &Sources<'_>, command: Kind) -> Result<Run, Invalid> {
    match run {
        Run::Shell(line) => sources.replace(line, command).map(Run::Shell),
        Run::List(words) => {
            let words: Result<_, _> =
                words.iter().map(|word| sources.replace(word, command)).collect();
            words.map(Run::List)
        }
    }
}

fn probe(probe: &Probe, sources: &Sources<'_>, command: Kind) -> Result<Probe, Invalid> {
    match probe {
        Probe::Exec(run) => replaced(run, sources, command).map(Probe::Exec),
        Probe::Later(later) => of_text(later, &sources.replace(&later.text, Kind::Value)?),
        Probe::Tcp { .. }
        | Probe::Http { .. }
        | Probe::Log(_)
        | Probe::Delay(_)
        | Probe::Notify
        | Probe::Unix(_)
        | Probe::File(_) => Ok(probe.clone()),
    }
}

/// The probe that `later` is with this text.
pub(crate) fn of_text(later: &Later, text: &str) -> Result<Probe, Invalid> {
    Ok(match later.kind {
        LaterKind::Tcp => {
            let (host, port) = address::tcp(text)?;
            Probe::Tcp { host, port }
        }
        LaterKind::Http => Probe::Http {
            url: address::http(text)?,
            status: later.status,
            body: later.body.clone(),
        },
        LaterKind::Unix => Probe::Unix(place::path(&later.base, text)?),
        LaterKind::File => Probe::File(place::path(&later.base, text)?),
    })
}
