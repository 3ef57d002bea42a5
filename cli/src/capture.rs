//! What a service gets from the shell that brings it up: environment, umask, limits.
//!
//! Kept true here: it is taken from this process as it is, not from a login shell, and the one who
//! decides what of it is used is the agent. Variables that are not UTF-8 are left out: JSON has no
//! place for them.

use std::collections::BTreeMap;

use hearth_api::{Limit, UpRequest};
use rustix::process::{Resource, getrlimit};

const LIMITS: &[(&str, Resource)] = &[
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("memlock", Resource::Memlock),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("stack", Resource::Stack),
];

/// The request for `services` of `project`, with what this process has.
pub fn request(project: String, services: Vec<String>) -> UpRequest {
    UpRequest {
        project,
        services,
        env: environment(),
        umask: Some(umask()),
        limits: limits(),
        session: None,
    }
}

fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// It can only be read by setting it; no other thread makes files meanwhile.
fn umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    #[allow(clippy::useless_conversion, reason = "a u16 on macOS")]
    u32::from(mask.as_raw_mode())
}

fn limits() -> BTreeMap<String, Limit> {
    LIMITS
        .iter()
        .map(|(name, resource)| {
            let found = getrlimit(*resource);
            ((*name).to_owned(), Limit { soft: found.current, hard: found.maximum })
        })
        .collect()
}
