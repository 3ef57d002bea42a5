//! Decisions about services: what is started, stopped, asked and given up, and when.
//!
//! Theory of operation. A [`World`] holds a node for every service. [`World::step`] takes one
//! [`Event`] and the time, and returns the [`Action`]s that follow; nothing here reads a clock,
//! touches the system or rolls dice, so that every decision can be tested in microseconds.
//!
//! - *Want* is what was asked for and is changed by commands alone: a node is wanted where `up`
//!   named it, or where a node that is wanted needs it. *Phase* is what was seen. They are never
//!   one field, so that a command can be repeated and the last one wins.
//! - A command or an event changes one node; the node and, where something changed that they go
//!   by, its neighbours are then looked at again ("advanced") until nothing changes any more.
//! - One life at a time: the next `Spawn` comes only after the last life's tree was reported empty.
//! - Time passes by [`Event::Tick`] alone, at [`World::next_deadline`]; no deadline, no wakeup.
//!
//! Every step is total: an event that doesn't fit (a life that is over, a name that is unknown)
//! changes nothing.

mod action;
mod adoption;
mod advance;
mod check;
mod command;
mod definition;
mod event;
mod health;
mod life;
mod linger;
mod node;
pub mod nouns;
mod outcome;
pub mod plan;
mod project;
mod readiness;
mod restart;
mod saved;
mod tick;
mod time;
mod timers;
mod view;
mod words;
mod world;

pub use action::{Action, Transition};
pub use definition::{Backoff, Definition, GiveUp, Lost, Need, Restart, Test};
pub use event::{Event, Verdict};
pub use nouns::*;
pub use outcome::{Goal, Outcome, Wait};
pub use saved::Saved;
pub use time::Time;
pub use view::{Health, Holder, NodeView};
pub use world::World;
