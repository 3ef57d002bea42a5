//! Why a service could not be started, in words for people.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::command::Command;
use crate::limits;
use crate::spawn::{Failure, Stage};
use crate::surroundings::Surroundings;

/// Longest `#!` line that is looked at.
const FIRST_LINE: u64 = 256;

/// The reason.
pub fn words(failure: &Failure, command: &Command, surroundings: &Surroundings) -> String {
    let why = why(&failure.error);
    match failure.stage {
        Stage::Fork => format!("no new process could be made: {why}"),
        Stage::Session => format!("its session could not be made: {why}"),
        Stage::Limit => limit(usize::from(failure.index), &why, surroundings),
        Stage::User => match &surroundings.user {
            Some(user) => format!("it can't run as uid {}: {why}", user.uid),
            None => format!("its user can't be set: {why}"),
        },
        Stage::Dir => {
            let who = surroundings.user.as_ref().map(|user| format!(" by uid {}", user.uid));
            let dir = surroundings.dir.display();
            format!("the directory `{dir}` can't be entered{}: {why}", who.unwrap_or_default())
        }
        Stage::Exec => exec(&failure.error, &why, &command.program, surroundings),
    }
}

fn limit(index: usize, why: &str, surroundings: &Surroundings) -> String {
    let Some(limit) = surroundings.limits.get(index) else {
        return format!("a limit can't be set: {why}");
    };
    format!(
        "the limit {} can't be set to {} (hard {}): {why}; the agent's own hard limit is {}",
        limit.name,
        limits::shown(limit.value.rlim_cur),
        limits::shown(limit.value.rlim_max),
        limits::shown(limits::hard(limit.resource)),
    )
}

fn exec(error: &io::Error, why: &str, program: &Path, surroundings: &Surroundings) -> String {
    let shown = program.display();
    match error.raw_os_error() {
        Some(libc::ENOEXEC) => format!(
            "`{shown}` is neither a program for this machine nor a script with a #! line \
             (exec format error)"
        ),
        Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => match interpreter(program) {
            Some(name) => format!("`{shown}` needs the interpreter `{name}`, which does not exist"),
            None if program.exists() => {
                format!("`{shown}` needs a dynamic loader that does not exist on this machine")
            }
            None => format!("`{shown}` does not exist"),
        },
        Some(libc::EACCES) => match (interpreter(program), &surroundings.user) {
            (Some(name), _) => {
                format!("`{shown}` or its interpreter `{name}` may not be executed: {why}")
            }
            (None, Some(user)) => format!("`{shown}` may not be executed by uid {}", user.uid),
            (None, None) => format!("`{shown}` may not be executed: {why}"),
        },
        Some(libc::E2BIG) => format!("`{shown}`: arguments and environment are too long"),
        Some(_) | None => format!("`{shown}` can't be executed: {why}"),
    }
}

/// What stands behind `#!`, without its argument.
fn interpreter(program: &Path) -> Option<String> {
    let mut line = Vec::new();
    let file = std::fs::File::open(program).ok()?;
    BufReader::new(file.take(FIRST_LINE)).read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8_lossy(line.strip_prefix(b"#!")?).into_owned();
    line.split_whitespace().next().map(|word| match word.strip_suffix('\r') {
        Some(_) => word.escape_debug().to_string(),
        None => word.to_string(),
    })
}

/// The kernel's reason without Rust's "(os error 2)", in lower case as inside a sentence.
pub fn why(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}
