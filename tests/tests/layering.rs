//! Who may use whom. A forbidden edge fails with the reason.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
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
    ("hello", &["hearth-lifecycle"], "an embedder needs the pair and nothing else of ours"),
    ("notes", &["hearth-lifecycle"], "an embedder needs the pair and nothing else of ours"),
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

/// What stands in hearth-lifecycle's code and is hearth's: words on the wire and in a pipe, which never
/// change, whoever embeds it.
const FROZEN: &[&str] = &["hearth-handover/1", "hearth-login-environment"];

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

/// Who embeds the blocking client alone brings few crates along, and none that is async.
#[test]
fn the_blocking_client_is_lean() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none"])
        .args(["--package", "hearth-lifecycle", "--no-default-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&output.stdout);
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let names: BTreeSet<_> = names.filter(|name| !name.is_empty()).collect();
    assert!(names.contains("hearth-lifecycle") && names.len() <= 25, "{names:?}");
    for heavy in ["tokio", "hyper", "http", "toml", "tracing", "clap"] {
        assert!(!names.contains(heavy), "the blocking client links {heavy}");
    }
}

/// Every `.rs` file below a directory of the workspace.
fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    fn below(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(directory).expect("a directory of ours").flatten() {
            let path = entry.path();
            if path.is_dir() {
                below(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = std::fs::read_to_string(&path).expect("a file of ours");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory), &mut found);
    assert!(!found.is_empty(), "{directory} has no sources");
    found
}

/// Its lines of code, without comments and without the tests at its end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let lines = lines.take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn the_pair_knows_nothing_of_hearth() {
    for (path, text) in sources("shared/lifecycle/src") {
        for (at, line) in code(&text) {
            let mut rest = line.replace("hearth_process", "").replace("hearth_lifecycle", "");
            FROZEN.iter().chain(&["hearth-lifecycle"]).for_each(|it| rest = rest.replace(it, ""));
            let word = ["hearth", "shim", "lease"].iter().find(|word| {
                let mut words = rest.split(|c: char| !c.is_ascii_alphanumeric());
                words.any(|it| it.eq_ignore_ascii_case(word))
            });
            assert!(word.is_none(), "{}:{at}: the pair is for any CLI: {line}", path.display());
        }
    }
}

/// What hearth can do with the pair, everybody can: there is no item that is public and hidden, and no
/// feature that the guide for embedders does not have.
#[test]
fn hearth_has_no_private_door_into_the_pair() {
    for (path, text) in sources("shared/lifecycle/src") {
        let hidden = code(&text).find(|(_, line)| line.contains("doc(hidden)"));
        assert!(hidden.is_none(), "{}: a door of its own: {hidden:?}", path.display());
    }
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/embedding.md");
    let guide = std::fs::read_to_string(guide).expect("docs/embedding.md");
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let pair = packages.iter().find(|it| it["name"] == "hearth-lifecycle").expect("the pair");
    let features = pair["features"].as_object().expect("features");
    for feature in features.keys() {
        assert!(guide.contains(&format!("`{feature}`")), "docs/embedding.md has no `{feature}`");
    }
    // And it goes by the pair: who opens its files or its socket himself has gone around it.
    for directory in ["cli/src", "agent/server/src"] {
        for (path, text) in sources(directory) {
            for (at, line) in code(&text) {
                let around = ["\"agent.lock", "\"spawn.lock", "\"agent.sock", "\"failures.json"];
                let found = around.iter().find(|name| line.contains(**name));
                assert!(found.is_none(), "{}:{at}: use `Home`: {line}", path.display());
            }
        }
    }
}
