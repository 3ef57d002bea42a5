//! The agent's side of the pair: from the inherited locks to the last breath.
//!
//! [`Agent::take`] comes first, before any thread or child. [`Agent::serve`] publishes the socket,
//! says `ready`, and returns when the agent has stopped. L is held from the first to the last line
//! of an agent's life, and the kernel lets go of it: no code path can forget to.

mod accept;
mod flow;
mod given;
mod guard;
mod handle;
mod idle;
mod in_process;
mod limits;
mod manager;
mod notify;
mod publish;
mod replace;
mod run;
mod serve;
mod service;
mod stop;
mod stream;
mod succeed;
mod take;
#[cfg(feature = "log")]
mod trace;

pub use handle::{BusyGuard, Handle, Stages};
pub use in_process::{AgentError, InProcess};
pub use manager::Ending;
pub use run::{exit_code, run};
pub use serve::ServeError;
pub use service::{
    AgentService, BoxError, FromHyper, Request, Response, ServiceFn, body, json, refuse,
    service_fn, tower,
};
pub use stop::Stopped;
pub use take::{Agent, Mode, StartError};
