//! hearth's agent: one task that owns all state, executors that do what it decides, and the HTTP
//! routes by which it is asked.
//!
//! # Theory of operation
//!
//! ```text
//!  routes ──Command──▶ owner ──actions──▶ execute (links to shims, probes)
//!     ▲                  │ ▲                   │
//!     └──reply, lines────┘ └──────Told─────────┘
//! ```
//!
//! The decisions are `hearth-core`'s. `owner` is the only task that steps it: commands and news
//! become events, actions go to `execute`, transitions go to who listens. `execute` never decides,
//! `routes` never touch state, `convert` and `rows` translate. What must outlive this process is
//! in `state.json` (`store`), in the shims and their records, and in the memory that they hold
//! (`bundle`): [`main`] begins by putting these together again (`owner::resume`).
//!
//! Invariant: a service runs at most once. The shim's locked record keeps it so even where this
//! crate is wrong; a new life waits for the end of everything of the one before.
//!
//! An idle agent sleeps: there is no timer but the core's next deadline, and one while something is
//! still to be written into `state.json`.

mod adopt;
mod bundle;
mod capture;
mod clock;
mod command;
mod convert;
mod events;
mod execute;
mod files;
mod health;
mod keep;
mod logs;
mod measure;
mod owner;
mod place;
mod ports;
mod refuse;
mod routes;
mod rows;
mod store;
mod unasked;
mod upstream;
mod well;

use std::process::ExitCode;

use hearth_lifecycle::agent::{self, Agent, Mode, ServeError, StartError, Stopped};
use hearth_lifecycle::sessions::Sessions;
use hearth_lifecycle::{App, Home, Luggage};
use rustix::fs::Mode as FileMode;
use tokio::sync::oneshot;

use clock::Clock;
use command::{Command, Port};
use events::Events;
use measure::Measuring;
use owner::Owner;
use place::Place;
use routes::Routes;

/// The home may not be used.
const BLOCKED: u8 = 3;

/// Becomes the agent of `home` and serves until it is told to stop or has nothing to do.
///
/// To be called first in the process, before any thread or child is made. The exit code: 0 ended in
/// order; 1 a hook hung at the end; 3 the home could not be used further on. Whatever is not 0 was
/// told on stderr. Errors: it did not become the agent; the verb that waits for it has been told.
pub fn main(app: &App, home: Home, mode: Mode) -> Result<ExitCode, StartError> {
    let mut agent = Agent::take(app, home, mode)?;
    let prepared = prepare(&agent).and_then(|(runtime, place)| {
        let luggage = agent.take_over().map_err(|error| format!("cannot take over: {error}"))?;
        Ok((runtime, place, luggage))
    });
    Ok(match prepared {
        Ok((runtime, place, luggage)) => {
            let served = runtime.block_on(serve(app, agent, place, luggage));
            // What still waits in a thread (a name that is looked up) must not keep us.
            runtime.shutdown_background();
            agent::exit_code(app, served)
        }
        Err(reason) => {
            eprintln!("{}: {reason}", app.name());
            agent.failed(&reason);
            ExitCode::from(BLOCKED)
        }
    })
}

/// Log, directories, runtime. Errors: in words for people.
fn prepare(agent: &Agent) -> Result<(tokio::runtime::Runtime, Place), String> {
    rustix::process::umask(FileMode::from_raw_mode(0o077));
    // In the foreground too: a directory that the agent stands in can't be unmounted.
    std::env::set_current_dir("/").map_err(|error| format!("cannot go to /: {error}"))?;
    agent
        .write_log()
        .map_err(|error| format!("cannot write {}: {error}", agent.home().log().display()))?;
    let place = Place::prepare(agent.home()).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| format!("cannot make the runtime: {error}"))?;
    Ok((runtime, place))
}

async fn serve(
    app: &App,
    agent: Agent,
    place: Place,
    luggage: Option<Luggage>,
) -> Result<Stopped, ServeError> {
    let handle = agent.handle();
    let (port, commands) = Port::open();
    let clock = Clock::start();
    let sessions = Sessions::open(agent.home());
    let events = Events::new(handle.instance(), app.version());
    tokio::spawn(events.clone().wake_readers());
    let (to_owner, to_events) = (sessions.clone(), events.clone());
    let mut owner = Owner::new(place.clone(), clock, handle.clone(), to_owner, to_events);
    let unfinished = agent.died_before().is_some() || luggage.is_some();
    owner.unpack(luggage.unwrap_or_default());
    owner.adopt(unfinished).await;
    tokio::spawn(owner.run(commands));
    let (freezing, thawing) = (port.clone(), port.clone());
    handle.on_hand_over(
        move || {
            let port = freezing.clone();
            // Gone already: then it has nothing to hand over.
            async move { port.ask(Command::Freeze).await.unwrap_or_default() }
        },
        move || {
            let port = thawing.clone();
            async move { port.ask(Command::Thaw).await.unwrap_or_default() }
        },
    );
    let ending = port.clone();
    handle.on_shutdown("services", move || async move {
        let _ = ending.ask(|reply: oneshot::Sender<()>| Command::ShutDown(reply)).await;
    });
    let leaving = port.clone();
    handle.on_stop("shims", move || async move {
        // The owner may be gone already: then so are its shims' connections.
        let _ = leaving.ask(|reply: oneshot::Sender<()>| Command::Leave(reply)).await;
    });
    let well = well::checks(port.clone(), place.home());
    agent
        .serve(routes::table(Routes {
            port,
            handle,
            place,
            clock,
            well,
            events,
            measuring: Measuring::default(),
            sessions,
        }))
        .await
}
