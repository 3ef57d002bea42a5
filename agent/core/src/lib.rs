//! Decisions about services: what is started, stopped, asked and given up, and when.
//!
//! Theory of operation. A [`World`] holds a node for every service and every check. [`World::step`] takes one
//! [`Event`] and the time, and returns the [`Action`]s that follow; nothing here reads a clock,
//! touches the system or rolls dice, so that every decision can be tested in microseconds.
//!
//! - *Want* is what was asked for: a node is wanted where `up` named it, where a lease holds it, or
//!   where a node that is wanted needs it. Commands alone change who holds what. *Phase* is what was
//!   seen. They are never one field, so that a command can be repeated and the last one wins.
//! - A *lease* is the same to a session as being named is to `up`: it is taken like an `up`, and given
//!   back as a whole. Whether a session lives is not known here: its leases end by [`Event::Release`].
//!   A `down` takes from all holders; [`World::leased`] says before from whom, and [`World::why`]
//!   because of whom a service stays.
//! - What is given back, or what a command leaves without a holder, *lingers*: it is wanted still, held
//!   by nobody, until its time is over, it goes bad, or somebody needs it again. What a `down` names, and
//!   what needs that, goes at once, and so does everything by a `down` of all.
//! - A *check* is a node whose life is its readiness tests being asked. It has no process: its life
//!   begins and ends without any deed but probes, and it may be unhealthy without ever having been
//!   ready. It gates what needs it as a service does.
//! - A need gates by being ready. What becomes of a dependent when it goes bad later is `lost`:
//!   with [`Lost::Stop`] the dependent is told to stop, after what stands on it in the same way, waits,
//!   and is started again when the need is back.
//! - A command or an event changes one node; the node and, where something changed that they go
//!   by, its neighbours are then looked at again ("advanced") until nothing changes any more.
//! - One life at a time: the next `Spawn` comes only after the last life's tree was reported empty.
//! - Time passes by [`Event::Tick`] alone, at [`World::next_deadline`]; no deadline, no wakeup.
//! - Who waits holds a [`Wait`] and looks at it after every step: [`World::look`] is cheap while nothing
//!   but other nodes' coming up has happened.
//!
//! Every step is total: an event that doesn't fit (a life that is over, a name that is unknown)
//! changes nothing; a step in which nothing changes allocates nothing.

mod action;
mod adoption;
mod advance;
mod check;
mod command;
mod definition;
mod event;
mod health;
mod hold;
mod lease;
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
mod why;
mod words;
mod world;

pub use action::{Action, Transition};
pub use definition::{Backoff, Definition, GiveUp, Lost, Need, Restart, Test};
pub use event::{Event, Verdict};
pub use lease::{Lease, LeaseView, SavedLease};
pub use nouns::*;
pub use outcome::{Goal, Outcome, Wait};
pub use saved::Saved;
pub use time::Time;
pub use view::{Done, Health, Holder, NodeView};
pub use why::{Leased, Reason};
pub use world::World;
