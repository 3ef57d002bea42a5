//! Who may use whom. A forbidden edge fails with the reason.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// A crate of ours, those of ours that it may use, and why not more.
const RULES: &[(&str, &[&str], &str)] = &[
    ("hearth-core", &[], "decisions are pure: no clock, no I/O, nothing that has them"),
    ("hearth-process", &[], "facts of the operating system stand below everything"),
    ("hearth-config", &[], "a file is read and checked without anything that acts on it"),
    ("hearth-logs", &[], "a log can be written and read with no agent there"),
    (
        "hearth-lifecycle",
        &["hearth-process"],
        "the pair is for any CLI and knows nothing of services",
    ),
    ("hearth-api", &["hearth-core"], "the wire repeats the core's nouns and decides nothing"),
    (
        "hearth-shim",
        &["hearth-logs", "hearth-process"],
        "the shim is mechanism: it must outlive every agent",
    ),
    (
        "hearth-agent",
        &[
            "hearth-api",
            "hearth-config",
            "hearth-core",
            "hearth-lifecycle",
            "hearth-logs",
            "hearth-process",
            "hearth-shim",
        ],
        "the agent knows nothing of who asks it",
    ),
    (
        "hearth",
        &[
            "hearth-agent",
            "hearth-api",
            "hearth-config",
            "hearth-lifecycle",
            "hearth-logs",
            "hearth-process",
            "hearth-shim",
        ],
        "the CLI asks, prints and exits: it makes no decision of the core's",
    ),
    (
        "hearth-tests",
        &["hearth-config", "hearth-process"],
        "a black-box test speaks to hearth as a person does; the files of its projects may be \
         written by the builder, which is for everybody",
    ),
];

/// Crates that must not be linked, at any depth, and why.
const NEVER: &[(&str, &[&str], &str)] = &[
    (
        "hearth-shim",
        &["tokio", "hyper", "clap", "axum", "regex"],
        "a hundred shims must cost next to nothing",
    ),
    ("hearth-core", &["tokio", "rustix", "libc"], "decisions have no clock and no I/O"),
    ("hearth-lifecycle", &["axum", "clap"], "an embedder brings its own"),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

fn normal_dependencies(package: &Value) -> BTreeSet<String> {
    let dependencies = package["dependencies"].as_array().expect("dependencies");
    let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
    normal.map(|dependency| dependency["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn each_crate_uses_only_what_it_may() {
    let metadata = metadata();
    let members = metadata["workspace_members"].as_array().expect("members");
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().expect("packages") {
        if !members.contains(&package["id"]) {
            continue;
        }
        let name = package["name"].as_str().expect("a name");
        let Some((_, allowed, why)) = RULES.iter().find(|(ours, ..)| *ours == name) else {
            panic!("{name} has no rule: say in tests/tests/layering.rs what it may use, and why");
        };
        seen.insert(name.to_owned());
        for used in normal_dependencies(package) {
            let ours = used == "hearth" || used.starts_with("hearth-");
            assert!(!ours || allowed.contains(&used.as_str()), "{name} may not use {used}: {why}");
        }
    }
    assert_eq!(seen.len(), RULES.len(), "a rule is for a crate that is gone");
}

#[test]
fn what_must_stay_lean_links_nothing_heavy() {
    for (package, forbidden, why) in NEVER {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--locked",
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--package",
                package,
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8_lossy(&output.stdout);
        for line in tree.lines() {
            let name = line.split(' ').next().unwrap_or_default();
            assert!(!forbidden.contains(&name), "{package} links {name}: {why}");
        }
    }
}
