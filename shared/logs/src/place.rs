//! Where a service's log stands, and what its files are called.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// The directory of one service's log: `HOME_LOGS/<slug>-<16 hex digits>/<service>`.
///
/// The slug is the last component of the project's path, for people; the digits are the FNV-1a hash
/// (64 bits, as in draft-eastlake-fnv) of the whole path and make it unique. A service of no project
/// has the empty project.
pub fn dir(home_logs: &Path, project: &str, service: &str) -> PathBuf {
    let hash = project.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    home_logs.join(format!("{}-{hash:016x}", slug(project))).join(service)
}

/// At most 32 harmless characters, never empty and never beginning with a dot.
fn slug(project: &str) -> String {
    let name = Path::new(project).file_name().and_then(OsStr::to_str).unwrap_or("project");
    name.chars()
        .take(32)
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '-' | '_') => c,
            _ => '-',
        })
        .collect()
}

pub(crate) fn log(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.log"))
}

pub(crate) fn index(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.idx"))
}

/// Length of log file `number` in bytes; 0 where there is none.
pub(crate) fn length(dir: &Path, number: u64) -> io::Result<u64> {
    match std::fs::metadata(log(dir, number)) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// The numbers of the log files that are there, ascending. A directory that is not there has none.
pub(crate) fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(numbers),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_readable_and_unique() {
        let home = Path::new("/h/logs");
        assert_eq!(dir(home, "", "db"), Path::new("/h/logs/project-cbf29ce484222325/db"));
        let a = dir(home, "/src/My App", "db");
        assert!(a.to_str().is_some_and(|a| a.starts_with("/h/logs/my-app-")), "{a:?}");
        assert_ne!(a, dir(home, "/other/My App", "db"));
    }
}
