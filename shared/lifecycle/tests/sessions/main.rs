//! The sessions of an agent, with real processes.
//!
//! | case | test |
//! |---|---|
//! | dead | `a_dead_pid_is_ended` |
//! | living, the same start time | `a_living_pid_with_the_same_start_time_goes_on` |
//! | living, another start time | `a_recycled_pid_is_ended` |
//! | start time unknown | `a_start_time_that_is_unknown_is_kept_for_as_long_as_the_pid_lives` |
#![cfg(target_os = "linux")]

mod edges;
mod file;
mod ordinary;
mod restored;
mod support;
