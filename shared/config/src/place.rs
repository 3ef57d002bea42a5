//! Paths of the file: relative to it, and taken as they are written.

use std::path::{Component, Path, PathBuf};

use crate::invalid::{Invalid, quoted};

/// A path, absolute where `base` is. Errors: empty, a NUL, or one that begins with `~`, which
/// would be a file of that name.
pub(crate) fn path(base: &Path, text: &str) -> Result<PathBuf, Invalid> {
    let bad = |why: &str| {
        Invalid::new(format!("bad path {}: {why}", quoted(text)), "a path, relative to the file")
    };
    if text.is_empty() {
        return Err(bad("it is empty"));
    }
    if text.contains('\0') {
        return Err(bad("it holds a NUL"));
    }
    if text == "~" || text.starts_with("~/") {
        return Err(Invalid::new(
            format!("bad path {}: `~` is not expanded", quoted(text)),
            "a path, relative to the file; `${HOME}/...` where `${...}` is replaced",
        ));
    }
    Ok(plain(&base.join(text)))
}

/// The path without `.` in it. `..` stays: what is before it may be a link.
pub(crate) fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}
