//! What a service gets from the shell that brings it up: environment, umask, limits.
//!
//! Kept true here: it is taken from this process as it is, not from a login shell, and the one who
//! decides what of it is used is the agent. Variables that are not UTF-8 are left out: JSON has no
//! place for them.

use std::collections::BTreeMap;

use hearth_api::{Code, Limit, UpRequest};
use hearth_lifecycle::Request;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::refuse::Refusal;

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

/// The variables of this process.
pub fn environment() -> BTreeMap<String, String> {
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

/// So large a body an agent takes.
const LARGEST: usize = 1024 * 1024;

/// The request of `up` and `restart`.
pub fn up(path: &str, request: &UpRequest) -> Result<Request, Refusal> {
    post(path, request, &request.env)
}

/// A request that carries a capture, of which `env` is what may be large.
pub fn post(
    path: &str,
    request: &impl Serialize,
    env: &BTreeMap<String, String>,
) -> Result<Request, Refusal> {
    let body = serde_json::to_vec(request)
        .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    if body.len() > LARGEST {
        return Err(too_large(env));
    }
    Ok(Request::post(path, body))
}

/// It is the environment: nothing else in it grows. Named is what takes most of it.
fn too_large(env: &BTreeMap<String, String>) -> Refusal {
    let mut sizes: Vec<_> = env.iter().map(|(name, value)| (value.len(), name)).collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    let largest = sizes.iter().take(3).map(|(size, name)| format!("{name} ({size} bytes)"));
    let largest: Vec<_> = largest.collect();
    let why = "this shell's environment is too large for a request, which may have 1 MiB";
    Refusal::new(Code::BadRequest, why)
        .hint(format!("unset what services do not need; the largest: {}", largest.join(", ")))
}
