//! The wire of hearth's agent as types: requests, replies, refusals, version range.
//!
//! Kept true here: a field means one thing on both sides, a request with a field that this version
//! does not know is refused rather than half understood, and every refusal has one code with one
//! exit code and one HTTP status.

pub mod code;
pub mod event;
pub mod id;
pub mod reply;
pub mod request;
pub mod session;
pub mod stream;
pub mod time;

pub use code::{Code, Problem};
pub use event::Event;
pub use hearth_core::nouns::{Exit, HealthStatus, Kind, ServiceId, State, Want};
pub use id::shim_id;
pub use reply::{
    AgentRow, Check, Enabled, Health, HealthReport, HeldBy, LogLine, ServiceRow, Services,
};
pub use request::{DownRequest, EnableRequest, EnvRequest, Limit, RunReady, RunRequest, UpRequest};
pub use session::{
    EventSnapshot, LeaseReply, LeaseRequest, LeaseRow, Reason, SessionRequest, SessionRow,
    Sessions, Why,
};
pub use stream::{Failed, Line, Outcome, Result};

/// Oldest version of the API that this build speaks.
pub const API_MIN: u32 = 1;
/// Newest version of the API that this build speaks.
pub const API_MAX: u32 = 1;
/// Version of hearth: the executable, its agent and this API are of one build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
