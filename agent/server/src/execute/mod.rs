//! The doing: shims are started, spoken to and asked; probes are run. Nothing here decides.

pub(crate) mod fd;
pub(crate) mod http;
pub(crate) mod link;
pub(crate) mod log;
pub(crate) mod orphans;
pub(crate) mod probe;
pub(crate) mod spawn;
pub(crate) mod taken;
