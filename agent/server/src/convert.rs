//! A service of the file, as the core decides by it and as the shim runs it.
//!
//! Invariant: no policy is added here; what the file says is what both get.

use std::sync::Arc;
use std::time::Duration;

use hearth_config::{Kind, LaterKind, Lost, Probe, Restart, Run, Scope, Service};
use hearth_core::{Backoff, Definition, GiveUp, Need, Test};
use hearth_process::Signal;
use hearth_shim::frames;

/// A project on the wire: its path; null for services of none.
pub(crate) fn project(path: &str) -> Option<String> {
    (!path.is_empty()).then(|| path.to_owned())
}

/// What decisions about it are made by. `order`: its place in the file.
pub(crate) fn definition(service: &Service, order: u32) -> Definition {
    Definition {
        kind: match service.kind {
            Kind::Service => hearth_core::Kind::Service,
            Kind::Oneshot => hearth_core::Kind::Oneshot,
            Kind::Check => hearth_core::Kind::Check,
        },
        enabled: service.enabled,
        display: service.display.clone(),
        needs: service.needs.iter().map(need).collect(),
        tests: service.ready.iter().map(test).collect(),
        settle: service.settle,
        start_timeout: service.start_timeout,
        restart: match service.restart {
            Restart::Always => hearth_core::Restart::Always,
            Restart::OnFailure => hearth_core::Restart::OnFailure,
            Restart::Never => hearth_core::Restart::Never,
        },
        backoff: Backoff {
            min: service.backoff.min,
            max: service.backoff.max,
            reset_after: service.backoff.reset_after,
        },
        give_up: GiveUp { failures: service.give_up.failures, within: service.give_up.within },
        stop_timeout: service.stop.timeout,
        linger: service.linger,
        fingerprint: service.fingerprint,
        order,
    }
}

/// Of a service of which nothing is known but that it runs: it is not started again, nothing is asked
/// of it, and it can be stopped.
pub(crate) fn unknown(name: &str) -> Definition {
    let never = Duration::ZERO;
    Definition {
        kind: hearth_core::Kind::Service,
        enabled: true,
        display: Some(name.to_owned()),
        needs: Vec::new(),
        tests: Vec::new(),
        settle: never,
        start_timeout: None,
        restart: hearth_core::Restart::Never,
        backoff: Backoff { min: never, max: never, reset_after: never },
        give_up: GiveUp { failures: 1, within: never },
        stop_timeout: Duration::from_secs(10),
        linger: never,
        fingerprint: 0,
        order: u32::MAX,
    }
}

fn need(need: &hearth_config::Need) -> Need {
    let lost = match need.lost {
        Lost::Keep => hearth_core::Lost::Keep,
        Lost::Stop => hearth_core::Lost::Stop,
    };
    Need { service: Arc::from(need.service.as_str()), lost }
}

fn test(test: &hearth_config::Test) -> Test {
    let event_driven = match test.probe {
        Probe::Log(_) | Probe::Delay(_) | Probe::Notify | Probe::File(_) => true,
        Probe::Tcp { .. } | Probe::Http { .. } | Probe::Exec(_) | Probe::Unix(_) => false,
        Probe::Later(ref later) => later.kind == LaterKind::File,
    };
    Test {
        event_driven,
        every: test.every,
        then_every: test.then_every,
        grace: test.grace,
        failures: test.failures,
        silent: silent(test),
    }
}

/// What there is to say of a test that nothing was heard of: those that wait for a word alone have to
/// say what for.
fn silent(test: &hearth_config::Test) -> String {
    let words = match test.probe {
        Probe::Log(_) => "no line of its output has matched `log`",
        Probe::Notify => "it has not said READY=1",
        Probe::Delay(_)
        | Probe::File(_)
        | Probe::Tcp { .. }
        | Probe::Http { .. }
        | Probe::Exec(_)
        | Probe::Unix(_)
        | Probe::Later(_) => "",
    };
    match &test.failing {
        Some(failing) if !words.is_empty() => failing.clone(),
        Some(_) | None => words.to_owned(),
    }
}

/// A command for the shim.
pub(crate) fn run(run: &Run) -> frames::Run {
    match run {
        Run::List(words) => frames::Run::List(words.clone()),
        Run::Shell(line) => frames::Run::Shell(line.clone()),
    }
}

/// How the shim stops it. Errors: a signal of another platform, in an adopted definition.
pub(crate) fn stop(stop: &hearth_config::Stop) -> Result<frames::Stop, String> {
    let signal: Signal = stop.signal.parse().map_err(|error| format!("`stop.signal`: {error}"))?;
    let to = match stop.to {
        Scope::Leader => frames::StopTo::Leader,
        Scope::Group => frames::StopTo::Group,
        Scope::Tree => frames::StopTo::Tree,
    };
    Ok(frames::Stop { signal, timeout_ms: milliseconds(stop.timeout), to })
}

/// For the frames; what is longer than they can say is for ever anyway.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How a life ended, from the shim's words to everybody's.
pub(crate) fn exit(exit: &frames::Exit) -> hearth_core::Exit {
    let at = std::time::SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(exit.at));
    hearth_core::Exit {
        code: exit.code,
        signal: exit.signal.map(|signal| signal.name().into_owned()),
        at: hearth_api::time::rfc3339(at.unwrap_or(std::time::SystemTime::UNIX_EPOCH)),
    }
}
