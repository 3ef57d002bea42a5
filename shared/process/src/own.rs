//! The file that this process executes, for who starts another of its kind.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The file to execute: our own; if that was replaced or deleted, the one at its path.
#[must_use]
pub fn executable() -> PathBuf {
    let Ok(own) = env::current_exe() else { return PathBuf::from("/proc/self/exe") };
    if own.exists() {
        return own;
    }
    // Linux appends this to the link of a file that was unlinked or renamed over (proc(5)).
    let text = own.as_os_str().as_encoded_bytes();
    let replaced = text.strip_suffix(b" (deleted)").map(<[u8]>::to_vec);
    match replaced.map(|path| PathBuf::from(OsString::from_vec(path))) {
        Some(path) if path.exists() => path,
        Some(_) | None => PathBuf::from("/proc/self/exe"),
    }
}
