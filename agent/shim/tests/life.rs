//! Whole lives, black-box: real shims, real processes.
//!
//! This executable is also the shim (`life shim PROJECT/SERVICE`), hence no standard harness. The
//! tests run one after the other; the runner is a subreaper, so whatever a test leaves behind comes
//! to it, and fails the test.

#[path = "life/agent.rs"]
mod agent;
#[path = "life/ends.rs"]
mod ends;
#[path = "life/holds.rs"]
mod holds;
#[path = "life/lives_on.rs"]
mod lives_on;
#[path = "life/probes.rs"]
mod probes;
#[path = "life/starts.rs"]
mod starts;

use std::panic::catch_unwind;
use std::process::ExitCode;

/// Each file's tests by name.
type Tests = &'static [(&'static str, fn())];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("shim") {
        hearth_shim::main();
    }
    let filters: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    hearth_process::tree::become_subreaper().expect("subreaper");
    let all: [Tests; 5] =
        [starts::TESTS, ends::TESTS, lives_on::TESTS, probes::TESTS, holds::TESTS];
    let wanted = all.iter().copied().flatten().filter(|(name, _)| {
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    });
    let mut failed = Vec::new();
    for (name, test) in wanted {
        let passed = catch_unwind(test).is_ok();
        let left = agent::left_behind();
        println!("test {name} ... {}", if passed && left.is_empty() { "ok" } else { "FAILED" });
        if !left.is_empty() {
            println!("  it left behind: {left:?}");
        }
        if !passed || !left.is_empty() {
            failed.push(name);
        }
    }
    println!("failed: {failed:?}");
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
