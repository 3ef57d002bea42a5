//! `hearth.toml` to a validated [`Project`].
//!
//! Invariant: a [`Project`] that exists is whole and consistent. Every name in `needs`, in a group
//! and in `${...}` is one of the same file, there is no cycle, no name and no port stands twice,
//! every pattern compiles, every number is in its range, and no key was passed over in silence: what
//! hearth does not know is an unknown key. This prevents the failure in which a misspelt
//! `restrat = "never"` is found out in the night, by its effect.
//!
//! Faults are collected, not thrown: one pass tells all of them, each with its file and place.
//!
//! How it goes: [`load`] reads the files, `parse` has the `toml` crate make trees with spans of
//! them, `merge` puts the local one over the other, `read` turns the tree into types and notes what
//! is wrong, `read::graph` checks what only the whole can tell. What only the moment can tell,
//! [`Service::resolve`] puts in when a life begins. [`Project::at`] builds one in code, and
//! `write` makes the text of either.
//!
//! Nothing here runs anything; the file system is touched for reading the files, those that
//! `env_file` names, and to see that each `dir` exists.

mod address;
mod builder;
pub mod duration;
mod env_file;
mod fault;
mod fingerprint;
mod invalid;
mod load;
mod loose;
mod merge;
mod name;
mod ownership;
mod parse;
pub mod pattern;
mod place;
mod project;
mod read;
mod ready;
mod replace;
mod resolve;
pub mod signal;
pub mod since;
pub mod size;
mod write;

pub use builder::{Builder, Node};
pub use fault::{Fault, Faults, render};
pub use invalid::{Invalid, nearest, quoted};
pub use load::{FILE, LOCAL_FILE, LoadError, MAX_FILE_SIZE, find, load, read as read_file};
pub use loose::{LooseReady, loose};
pub use name::is_name;
pub use ownership::{Ownership, check_ownership, check_way};
pub use parse::parse;
pub use project::{
    Backoff, GiveUp, Group, Kind, Log, Lost, Need, Port, Project, Restart, Run, Scope, Service,
    Stop,
};
pub use ready::{Http, Later, LaterKind, Probe, Test};
pub use resolve::{Resolved, Values};

/// What `hearth init` writes: a commented `hearth.toml` that is valid as it stands and brings up
/// one service on any Unix machine, with nothing but `sh`.
pub fn template() -> &'static str {
    include_str!("template.toml")
}

/// The JSON Schema (draft-07, which the editors know best) of a `hearth.toml`, and of the file that
/// is merged over it. It accepts whatever can be right in one of the two; what only both together,
/// or the file system, can tell is left to the reader.
pub fn schema() -> &'static str {
    include_str!("schema.json")
}
