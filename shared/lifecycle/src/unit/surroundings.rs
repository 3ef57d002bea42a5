//! Where nothing should be installed, whoever asks.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Set where nobody logs in: a unit there would be left behind, or belong to the wrong user.
const CI: &[&str] = &[
    "CI",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "BUILDKITE",
    "CIRCLECI",
    "JENKINS_URL",
    "TEAMCITY_VERSION",
    "TF_BUILD",
];

/// The variable by which this is known to be CI, where it is.
pub fn in_ci() -> Option<&'static str> {
    let off = |value: &str| matches!(value, "" | "0" | "false");
    CI.iter().copied().find(|name| env::var(name).is_ok_and(|value| !off(&value)))
}

/// `$HOME`, and whose it is, where that is not us: `sudo` keeps the variable.
pub fn foreign_home() -> Option<(PathBuf, u32)> {
    let home = PathBuf::from(env::var_os("HOME")?);
    let owner = fs::metadata(&home).ok()?.uid();
    (owner != crate::home::euid()).then_some((home, owner))
}
