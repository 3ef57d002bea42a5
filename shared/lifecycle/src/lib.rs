//! A command-line tool and the background agent that it starts by itself: both sides of the pair.
//!
//! Every verb warms the agent: whoever needs it has it, nobody starts it by hand, and no crash leaves a
//! trace by which the next verb is misled. Any number of verbs may start at the same instant with no
//! agent; exactly one comes up, every verb is answered, and nobody deletes a living socket.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use hearth_lifecycle::{App, Client, Home, Options};
//! # #[cfg(feature = "agent")]
//! use hearth_lifecycle::agent::{self, Request};
//!
//! const NOTES: App = App::new("notes", env!("CARGO_PKG_VERSION"));
//!
//! fn main() -> ExitCode {
//!     let Ok(home) = Home::resolve(&NOTES, None) else { return ExitCode::from(2) };
//! #   #[cfg(feature = "agent")]
//!     if let Some(mode) = NOTES.spawned() {
//!         let hello = |_: Request| async { agent::json(200, &"hello") };
//!         return agent::run(&NOTES, home, mode, async |_| Ok(agent::service_fn(hello)));
//!     }
//!     match Client::at(&NOTES, home).get::<String>("/v1/hello", &Options::default()) {
//!         Ok(said) => println!("{said}"),
//!         Err(error) => eprintln!("notes: {error}"),
//!     }
//!     ExitCode::SUCCESS
//! }
//! ```
//!
//! # Theory of operation
//!
//! All that belongs to an agent stands in one directory, the *home*. Two files in it are locked with
//! flock(2), never renamed and never unlinked. Who holds `spawn.lock` (**S**) is starting an agent; who
//! holds `agent.lock` (**L**) is the agent, and the record in it says who that is and how far it has come.
//!
//! A verb connects and sends the question for the version and its own request in one write. That is all of
//! the warm path: no lock, no other file. If nobody listens, it takes S, looks again, tests L, takes it, and
//! spawns itself; S, L and a pipe are the three descriptors that the child has of it. The child writes its
//! record, prepares itself, binds its socket aside, listens, renames it into place, says `ready` into the
//! pipe and closes S. Whoever waited for S finds an agent that answers.
//!
//! Locks pass with their open file descriptions, so at no moment between the verb and the agent is either of
//! them free, whoever is killed; and the kernel lets go of a lock when its last holder dies, so no crash
//! leaves a wrong answer behind. A waiter waits in the kernel, and wakes at the very moment at which the
//! agent is ready or dead. Nothing polls, nothing asks whether a pid lives, and no client unlinks a socket.
//!
//! An agent that is replaced passes its listener and L to its successor, and goes on if that one fails. Where
//! a service manager's unit is in charge of the home, verbs ask the manager and start nothing.
//!
//! The guide (`docs/embedding.md` in the repository) has the algorithm step by step, the races with the test
//! for each, and what the like of this library do.
//!
//! # Where to begin
//!
//! | you want | go to |
//! |---|---|
//! | to say who the pair is | [`App`] |
//! | an agent for a verb, and answers from it | [`Client`], [`Options`], [`Ready`], [`CallError`] |
//! | to be the agent | `agent::run`, or `agent::Agent` step by step; in another process: `agent::InProcess` |
//! | to know whether one lives, without asking it | [`running`], [`Record`] |
//! | the lock alone | [`LifetimeLock`] |
//! | `daemon`, `install` and their options for clap | `cli` |
//! | to be in the hands of systemd or launchd | `unit` |
//! | health checks, sessions | `health`, `sessions` |
//! | tests with a throw-away home | `testing` |
//!
//! No state is global: two apps, or two homes of one app, can stand in one process. Every error enum has a
//! `code()` that never changes. Unix alone: elsewhere it does not compile, and says so.

#[cfg(not(unix))]
compile_error!("hearth-lifecycle supports Unix alone: Linux and macOS");

#[cfg(feature = "agent")]
pub mod agent;
mod app;
#[cfg(feature = "async-client")]
mod async_client;
mod call;
#[cfg(feature = "clap")]
pub mod cli;
mod client;
mod config;
mod control;
mod ensure;
mod exec;
mod failures;
#[cfg(feature = "agent")]
mod handover;
#[cfg(feature = "agent")]
pub mod health;
mod home;
mod http;
pub mod kept;
mod knock;
mod lifetime;
mod log;
mod notice;
mod problem;
mod ready;
mod record;
mod report;
#[cfg(any(feature = "agent", feature = "units"))]
mod run;
mod running;
#[cfg(feature = "agent")]
pub mod sessions;
mod spawn;
mod tail;
#[cfg(feature = "testing")]
pub mod testing;
mod typed;
#[cfg(feature = "units")]
pub mod unit;
#[cfg(not(feature = "units"))]
#[path = "unit/none.rs"]
mod unit;
mod version;
mod wait;

pub use app::{App, AppError, Budgets, Renewal, Sockets};
#[cfg(feature = "async-client")]
pub use async_client::AsyncClient;
pub use call::CallError;
pub use client::{Client, JSON_DEADLINE, Need};
pub use config::{AgentConfig, ConfigError, Level, LogConfig};
pub use control::{Ended, Stop, StopError};
pub use ensure::{Options, REPEATS_BY_MANAGER};
pub use failures::{Executable, Failures};
#[cfg(feature = "agent")]
pub use handover::Luggage;
pub use home::{Blocked, Home, HomeError};
pub use http::{Answer, ConnectError, Connection, Reply, Request, encoded};
pub use knock::{Knock, knock};
pub use lifetime::{LifetimeLock, LockError, PublishError};
pub use log::BoundedLog;
pub use problem::Problem;
pub use ready::{ApiRange, Ready, State, Version};
pub use record::{FACTS, Facts, Record, Stage, TooLong};
pub use report::{Last, Report, Seen};
pub use running::{Running, running};
pub use spawn::is_allowed;
pub use tail::tail;
pub use typed::typed;
pub use version::is_older;

pub use hearth_process::{ProcessId, Signal};

/// The guide's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
struct Guide;

/// Fills it with random bytes, of the kernel's.
fn random(bytes: &mut [u8]) {
    #[cfg(target_os = "linux")]
    let _ = rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty());
    #[cfg(not(target_os = "linux"))]
    // SAFETY: fills exactly the bytes of the buffer.
    unsafe {
        libc::arc4random_buf(bytes.as_mut_ptr().cast(), bytes.len());
    }
}
