//! The doing: shims are started, spoken to and asked; probes are run. Nothing here decides.

mod aside;
mod body;
mod connect;
pub(crate) mod fd;
pub(crate) mod file;
mod http;
pub(crate) mod link;
mod log;
pub(crate) mod one_shot;
pub(crate) mod orphans;
pub(crate) mod probe;
pub(crate) mod spawn;
pub(crate) mod taken;
mod words;
