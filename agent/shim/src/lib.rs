//! One life of one process, and the frames that tell of it.
//!
//! # Theory of operation
//!
//! The agent starts `hearth shim PROJECT/SERVICE` with a socket as its standard input and says
//! [`frames::ToShim::Start`]. The shim detaches, locks the record of its service, starts the
//! service's process in a session of its own, and then sleeps in poll(2) over the agent's
//! connections, the service's output, its own signals and what is due by the clock. It is
//! mechanism: it copies output to the log, signals, runs probes, reaps, writes the exit on record
//! and waits until an agent has taken it. Whether and when a service is started, stopped or
//! started again is the agent's to decide; so the agent may die, hang or be replaced at any
//! instant, and the service does not notice.
//!
//! ```text
//! Start ─▶ started ─▶ (Stop, Kill or by itself) ─▶ exited ─▶ emptied ─▶ Acknowledge ─▶ gone
//!      └─▶ failed ──────────────────────────────────────────────────┘
//! ```
//!
//! The one thing that it decides alone: after the leader's end, or once nobody else is there to say
//! so, what does not stop within the spec's time is killed.
//!
//! One thread, no async runtime, no buffer but the one that output is copied through: there is a
//! shim for each service, and each should cost less than 300 KB.

mod comeback;
mod command;
mod connection;
mod ending;
pub mod frames;
mod limits;
mod notify;
pub mod one_shot;
mod output;
mod probes;
mod reap;
mod record;
mod refusal;
mod shim;
mod signals;
mod spawn;
mod start;
mod surroundings;
mod tree;
mod turn;

pub use record::Record;
pub use start::main;
