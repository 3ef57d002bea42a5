//! What to run: from the spec's words to a file and its arguments.
//!
//! Invariant: what can be said well about a faulty command is said before the fork, by the shim,
//! with the path that was meant. What only `execve(2)` knows is put into words in `refusal`.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::frames::Run;

/// Where a program is looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A command, ready for `execve(2)`.
pub struct Command {
    /// The file.
    pub program: PathBuf,
    /// The same, ended by NUL.
    pub file: CString,
    /// Its arguments, its name first.
    pub argv: Vec<CString>,
}

/// Finds what `run` means in the directory `dir` with this `PATH`.
///
/// Errors: the reason, in words for people.
pub fn find(run: &Run, dir: &Path, path: Option<&str>) -> Result<Command, String> {
    let (program, argv) = match run {
        Run::Shell(line) => {
            let argv = vec![c_string("sh")?, c_string("-c")?, c_string(line)?];
            (PathBuf::from("/bin/sh"), argv)
        }
        Run::List(words) => {
            let name = words.first().filter(|name| !name.is_empty());
            let name = name.ok_or("`run` is empty: it names no program")?;
            let argv = words.iter().map(|word| c_string(word)).collect::<Result<_, _>>()?;
            (locate(name, dir, path)?, argv)
        }
    };
    let file = CString::new(program.as_os_str().as_bytes())
        .map_err(|_| format!("`{}` has a NUL in it", program.display()))?;
    Ok(Command { program, file, argv })
}

fn locate(name: &str, dir: &Path, path: Option<&str>) -> Result<PathBuf, String> {
    if name.contains('/') {
        let file = dir.join(name);
        return match look(&file) {
            Look::Executable => Ok(file),
            Look::Absent => Err(format!("`{}` does not exist", file.display())),
            Look::NotExecutable(reason) => Err(reason),
        };
    }
    let path = path.unwrap_or(DEFAULT_PATH);
    let mut not_executable = None;
    for entry in path.split(':') {
        let file = dir.join(entry).join(name);
        match look(&file) {
            Look::Executable => return Ok(file),
            Look::Absent => {}
            Look::NotExecutable(reason) => not_executable = not_executable.or(Some(reason)),
        }
    }
    Err(not_executable.unwrap_or_else(|| format!("`{name}` is not in PATH ({path})")))
}

enum Look {
    Executable,
    Absent,
    NotExecutable(String),
}

/// Looks with the shim's own rights; where the service runs as somebody else, `execve` decides.
fn look(file: &Path) -> Look {
    let shown = file.display();
    match file.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Look::NotExecutable(format!("`{shown}` cannot be reached: permission denied"))
        }
        Err(_) => Look::Absent,
        Ok(found) if found.is_dir() => Look::NotExecutable(format!("`{shown}` is a directory")),
        Ok(_) if rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() => Look::Executable,
        Ok(found) => Look::NotExecutable(format!(
            "`{shown}` is not executable (mode {:04o}): chmod +x it",
            found.permissions().mode() & 0o7777
        )),
    }
}

fn c_string(word: &str) -> Result<CString, String> {
    CString::new(word).map_err(|_| format!("`{}` has a NUL in it", word.escape_debug()))
}
