//! What of the kernel hearth is built upon, each tried.

use hearth_lifecycle::Home;
use hearth_process::machine;

use crate::finding::Finding;

/// Its findings.
pub const NAMES: &[&str] = &[
    "kernel-exits",
    "kernel-peers",
    "kernel-memory",
    "kernel-orphans",
    "kernel-watches",
    "kernel-processes",
];

/// Looks.
pub fn look(_: &Home) -> Vec<Finding> {
    let features = machine::features();
    let of = |name: &'static str| {
        let own = name.strip_prefix("kernel-");
        let Some(feature) = features.iter().find(|feature| Some(feature.name) == own) else {
            return Finding::ok(name, "not needed here");
        };
        match &feature.lack {
            None => Finding::ok(name, feature.words.clone()),
            Some(lack) if feature.needed => Finding::fault(
                name,
                format!("missing: {lack}"),
                "hearth needs Linux 5.3 or macOS 11, with /proc; a container's seccomp filter may forbid it",
            ),
            Some(lack) => Finding::warning(
                name,
                format!("missing: {lack}"),
                "hearth does without, less well; a newer kernel has it",
            ),
        }
    };
    NAMES.iter().copied().map(of).collect()
}
