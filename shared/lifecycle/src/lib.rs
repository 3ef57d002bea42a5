//! A command-line tool and the background agent that it starts by itself: both sides of the pair.
//!
//! The client's side is [`ensure_ready`] and [`call`]: any number of verbs may start at the same
//! instant with no agent, and exactly one agent comes up, every verb succeeds, and nobody deletes a
//! live socket. The agent's side is [`agent::Agent`]: it takes over the locks that the verb took,
//! publishes its socket by rename, says `ready`, serves, and leaves nothing behind.
//!
//! # Theory of operation
//!
//! Two files are locked with flock(2), never renamed and never unlinked. Who holds `spawn.lock` (S)
//! is starting an agent; who holds `agent.lock` (L) is the agent. A verb that finds nobody at the
//! socket takes S, looks again, tests L, takes it, and hands both to the child that becomes the
//! agent. The kernel lets go of a lock when its last holder dies, so no crash leaves a wrong answer
//! behind, and a waiter wakes at the very moment at which the agent is ready or dead.
//!
//! This crate knows nothing of what the agent is for.

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
mod running;
#[cfg(feature = "agent")]
pub mod sessions;
mod spawn;
mod tail;
#[cfg(feature = "testing")]
pub mod testing;
mod typed;
pub mod unit;
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
pub use http::{Answer, ConnectError, Connection, Reply, Request};
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
