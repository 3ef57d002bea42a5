//! The executable: this one, and others of its name that a shell may find first.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hearth_lifecycle::{Home, unit};

use crate::app;
use crate::finding::Finding;

/// Its findings.
pub const NAMES: &[&str] = &["executable", "path"];

/// How long another one may take to say its version.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks.
pub fn look(_: &Home) -> Vec<Finding> {
    vec![own(), path()]
}

fn own() -> Finding {
    const NAME: &str = "executable";
    let own = std::env::current_exe();
    let there = own.as_ref().is_ok_and(|path| path.exists());
    if !there {
        return Finding::warning(
            NAME,
            format!(
                "the file of this command was replaced or removed; agents are started from {}",
                hearth_process::executable().display()
            ),
            "start `hearth` anew; where it is gone, install it again",
        );
    }
    let path = hearth_process::executable();
    Finding::ok(NAME, format!("{}, {}", path.display(), app().version()))
}

fn path() -> Finding {
    const NAME: &str = "path";
    let found = in_path();
    let own = fs::metadata(hearth_process::executable()).ok();
    let is_own = |path: &PathBuf| {
        let found = fs::metadata(path).ok();
        matches!((&own, &found), (Some(own), Some(it)) if (own.dev(), own.ino()) == (it.dev(), it.ino()))
    };
    let Some(first) = found.first() else {
        return Finding::ok(NAME, "no `hearth` is in PATH; this one was called by its path");
    };
    let others: Vec<_> = found.iter().filter(|path| !is_own(path)).collect();
    let mut words = Vec::new();
    let mut differ = false;
    for path in others {
        let version = version_of(path);
        differ |= version.as_deref() != Some(app().version());
        words.push(format!(
            "{} ({})",
            path.display(),
            version.unwrap_or_else(|| "says no version".to_owned())
        ));
    }
    if words.is_empty() {
        return Finding::ok(NAME, format!("`hearth` is {}", first.display()));
    }
    let words = words.join(", ");
    if !differ {
        return Finding::ok(NAME, format!("others of the same version: {words}"));
    }
    let which = if is_own(first) { "is found first" } else { "is not the first that is found" };
    Finding::warning(
        NAME,
        format!("this one ({}) {which}; others in PATH: {words}", app().version()),
        "keep one of them: a newer command and an older one put each other's agents out",
    )
}

/// Each file once, in the order of PATH. A directory that is not absolute means another one everywhere.
fn in_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<(PathBuf, PathBuf)> = Vec::new();
    for dir in std::env::split_paths(&path).filter(|dir| dir.is_absolute()) {
        let file = dir.join(app().name());
        let Ok(real) = file.canonicalize() else { continue };
        let may_run = fs::metadata(&real)
            .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
        if may_run && found.iter().all(|(_, known)| *known != real) {
            found.push((file, real));
        }
    }
    found.into_iter().map(|(file, _)| file).collect()
}

/// What it says to `--version`. Only where the file is ours or root's and nobody else may write it: a
/// planted one is not run for the sake of a doctor.
fn version_of(path: &Path) -> Option<String> {
    let found = fs::metadata(path).ok()?;
    let own = rustix::process::geteuid().as_raw();
    if (found.uid() != own && found.uid() != 0) || found.mode() & 0o022 != 0 {
        return None;
    }
    let mut command = Command::new(path);
    command.arg("--version").current_dir("/").env(app().var_name("NO_AUTOSPAWN"), "1");
    let said = unit::asked(command, Instant::now() + PATIENCE)?;
    let version = said.lines().next()?.strip_prefix(app().name())?.trim();
    (!version.is_empty()).then(|| version.to_owned())
}
