//! A whole agent in one call, for who has nothing special to do between its steps.

use std::process::ExitCode;

use rustix::fs::Mode as FileMode;

use super::{Agent, AgentService, BoxError, Mode, ServeError, StartError, Stopped};
use crate::{App, Home};

/// Something was left undone.
const REFUSED: u8 = 1;
/// Used wrongly, or a faulty file.
const USAGE: u8 = 2;
/// The home or the socket may not be used.
const BLOCKED: u8 = 3;

/// Becomes the agent of `home` and serves what `prepare` gives until it is told to stop, or has nothing to
/// do. To be called first in the process, before any thread or child is made.
///
/// Takes the locks, writes the log where the feature `log` is on and the program has set no subscriber of its
/// own before (`Agent::write_log`), and serves on a runtime of tokio's with one thread, in which `prepare` runs:
/// it may spawn tasks, register hooks and checks, and say what the agent wants known of it. Errors of
/// `prepare` are told to the verb that waits.
///
/// The exit code: 0 ended in order; 1 an agent runs already, or a hook hung at the end; 2 wrong usage or a
/// faulty `agent.toml`; 3 the home may not be used, or `prepare` has failed. What is not 0 is told on
/// stderr, which is the log of an agent that a verb has started.
pub fn run<S: AgentService>(
    app: &App,
    home: Home,
    mode: Mode,
    prepare: impl AsyncFnOnce(&mut Agent) -> Result<S, BoxError>,
) -> ExitCode {
    let mut agent = match Agent::take(app, home, mode) {
        Ok(agent) => agent,
        Err(error) => return refused(app, &error),
    };
    let failed = |agent: Agent, reason: String| {
        eprintln!("{}: {reason}", app.name());
        agent.failed(&reason);
        ExitCode::from(BLOCKED)
    };
    let runtime = match surroundings(&agent) {
        Ok(runtime) => runtime,
        Err(reason) => return failed(agent, reason),
    };
    let served = runtime.block_on(async {
        match prepare(&mut agent).await {
            Ok(service) => Ok(agent.serve(service).await),
            Err(error) => Err((agent, error.to_string())),
        }
    });
    // What still waits in a thread must not keep us.
    runtime.shutdown_background();
    match served {
        Ok(served) => exit_code(app, served),
        Err((agent, reason)) => failed(agent, reason),
    }
}

/// What an agent stands in: no directory that somebody wants to unmount, files for its owner alone, a log,
/// a runtime.
fn surroundings(agent: &Agent) -> Result<tokio::runtime::Runtime, String> {
    rustix::process::umask(FileMode::from_raw_mode(0o077));
    std::env::set_current_dir("/").map_err(|error| format!("cannot go to /: {error}"))?;
    #[cfg(feature = "log")]
    agent
        .write_log()
        .map_err(|error| format!("cannot write {}: {error}", agent.home().log().display()))?;
    #[cfg(not(feature = "log"))]
    let _ = agent;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_io().enable_time().build();
    runtime.map_err(|error| format!("cannot make the runtime: {error}"))
}

fn refused(app: &App, error: &StartError) -> ExitCode {
    let hint = match error.remedy(app) {
        remedy if remedy.is_empty() => String::new(),
        remedy => format!("\n  hint: {remedy}"),
    };
    eprintln!("{}: {error}{hint}", app.name());
    ExitCode::from(match error {
        StartError::AlreadyRunning { .. } => REFUSED,
        StartError::NotInherited | StartError::Config(_) => USAGE,
        StartError::Lock { .. }
        | StartError::Moved { .. }
        | StartError::NotHandedOver { .. }
        | StartError::GivenElsewhere { .. }
        | StartError::Blocked(_) => BLOCKED,
    })
}

/// The exit code of an agent that has served: 0 ended in order, 1 a hook hung at the end, 3 it could not serve.
/// What is not 0 is told on stderr.
pub fn exit_code(app: &App, served: Result<Stopped, ServeError>) -> ExitCode {
    match served {
        Ok(stopped) if stopped.hung.is_empty() => ExitCode::SUCCESS,
        Ok(stopped) => {
            eprintln!("{}: did not end in time: {}", app.name(), stopped.hung.join(", "));
            ExitCode::from(REFUSED)
        }
        Err(error) => {
            eprintln!("{}: {error}", app.name());
            ExitCode::from(BLOCKED)
        }
    }
}
