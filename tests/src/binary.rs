//! Where the executable under test is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `hearth` of this build; `HEARTH_TEST_BINARY` names another one.
///
/// Cargo builds a package's binaries for its own tests only, so the first caller of each test
/// process asks cargo to: with nothing to do that takes a moment, and no test runs a stale one.
pub fn hearth() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(named) = std::env::var_os("HEARTH_TEST_BINARY") {
            return PathBuf::from(named);
        }
        build(&[], "hearth")
    })
}

/// The writer of man pages and completions, of this build.
pub fn assets() -> &'static Path {
    static ASSETS: OnceLock<PathBuf> = OnceLock::new();
    ASSETS.get_or_init(|| build(&["--example", "assets"], "examples/assets"))
}

fn build(what: &[&str], makes: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let profile_dir = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/TEST");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("release") => "release",
        _ => "dev",
    };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "hearth", "--profile", profile])
        .args(what)
        .arg("--target-dir")
        .arg(profile_dir.parent().expect("target/PROFILE"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "hearth does not build");
    profile_dir.join(makes)
}

/// The `hearth` of this build as its next version will be: built as an example, and copied to where
/// it is told, since it is to be executed under the name of whoever it replaces.
pub fn next_version(to: &Path) {
    static NEXT: OnceLock<PathBuf> = OnceLock::new();
    let next = NEXT.get_or_init(|| build(&["--example", "next"], "examples/next"));
    // By another process: were the copy open for writing here, a fork of another test's at that
    // moment would keep it open, and executing it would fail (ETXTBSY, execve(2)).
    let status = Command::new("cp").arg(next).arg(to).status().expect("cp is installed");
    assert!(status.success(), "{} can be copied", next.display());
}
