//! `hearth doctor`: each kind of fault is found and named, nothing is changed by looking, and nothing
//! that hangs holds it up.

#[path = "doctor/agents.rs"]
mod agents;
#[path = "doctor/homes.rs"]
mod homes;
#[path = "doctor/shells.rs"]
mod shells;
#[path = "doctor/support.rs"]
mod support;
#[path = "doctor/units.rs"]
mod units;
