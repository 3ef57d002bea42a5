//! `hearth with SERVICE... -- CMD...`: leases, waits until ready, and becomes CMD.
//!
//! Kept true here: CMD takes this process's place, so it is the session: its pid, its signals, its
//! terminal and its exit code need no code, and the lease ends with it however it ends. It finds all
//! as it would without us (descriptors, directory, umask, limits, signals) but for what is said in its
//! environment; a standard descriptor that was closed is `/dev/null`, as Rust's runtime has it.
//! Nothing is written to stdout, which is CMD's.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::time::Instant;

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgMatches, Command};
use hearth_api::{Code, EnvRequest, SessionRequest, SessionRow};
use rustix::fs::Access;

use crate::agent::{self, Wish};
use crate::args::{self, Context};
use crate::project::Place;
use crate::refuse::Refusal;
use crate::sheet::Sheet;
use crate::story::Goal;
use crate::stream::{Heard, Wait};
use crate::{app, capture, inherited, interrupt, output, project, session, table, up};

/// How it is typed.
pub const USAGE: &str = "hearth with [SERVICE...] -- CMD...";

/// Where execvp(3) looks without a `PATH`.
const NO_PATH: &str = "/bin:/usr/bin";

/// What is said where the wait has ended before they were ready.
const GIVEN_BACK: &str = "what was leased for it is given back, and goes where nobody else holds it: \
    `hearth up` brings it up to stay, `hearth logs NAME` shows what it said";

/// So many characters of CMD's name are enough to know it by.
const NAME: usize = 32;

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("with")
        .about("Run a command with services that are ready, and stay for as long as it runs")
        .override_usage(USAGE)
        .args([
            args::services().help("Services and groups; none: all services that are enabled"),
            args::timeout(),
            Arg::new("command")
                .value_name("CMD")
                .value_parser(OsStringValueParser::new())
                .num_args(1..)
                .last(true)
                .required(true)
                .help("Gets HEARTH_SESSION, and HEARTH_NAME_PORT of every service with a port"),
        ])
}

/// What is wrong with the file, the names or CMD is refused before an agent is started.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let began = Instant::now();
    let timeout = args::timeout_of(matches);
    let wish = Wish { start: true, timeout, began: Some(began), ..Wish::default() };
    let command: Vec<OsString> =
        matches.get_many::<OsString>("command").into_iter().flatten().cloned().collect();
    let name = command.first().map(OsString::as_os_str).unwrap_or_default();
    executable(name)?;
    let place = project::required(context)?;
    let file = project::load(&place)?;
    let names = args::names(matches);
    let named = project::expand(&file, &names)
        .map_err(|refusal| up::loose(context, &place, &names).unwrap_or(refusal))?;
    interrupt::of_command();
    let session = session::register(context, wish, &asked(name))?;
    match bring_up(context, wish, &session, &place, named, Sheet::of(&file)) {
        // Others may have held it all while the session was ended.
        Ok(0) => session::must_live(context, wish, &session.id)
            .map_err(|refusal| without(refusal, name))?,
        Ok(code) => return Ok(code),
        Err(refusal) => return Err(without(refusal, name)),
    }
    interrupt::unwake();
    let mut process = Process::new(name);
    process.args(&command[1..]).envs(ports(context, wish, &place)?);
    process.env(session::VARIABLE, &session.id);
    if context.home.is_given() {
        // The session is one of this home's agent: what CMD asks is to be asked there.
        process.env(app().var_name("HOME"), context.home.dir());
    }
    become_it(process, name)
}

/// What is said of this process, which is the session.
fn asked(name: &OsStr) -> SessionRequest {
    let base = Path::new(name).file_name().unwrap_or(name).to_string_lossy();
    // What may stand in a file's name and not in a session's is no reason to refuse the command.
    let name: String = table::harmless(&base).chars().take(NAME).collect();
    SessionRequest {
        kind: Some("command".to_owned()),
        name: Some(name).filter(|name| !name.is_empty()),
        ..SessionRequest::default()
    }
}

/// Leases and waits, as `up --lease` does: what somebody takes down meanwhile, or takes from the
/// session, ends the wait. Shown as `up` shows it; for tools nothing is told but what went wrong.
fn bring_up(
    context: &Context,
    wish: Wish,
    session: &SessionRow,
    place: &Place,
    named: Vec<String>,
    sheet: Sheet,
) -> Result<u8, Refusal> {
    let context = &Context {
        json: false,
        quiet: context.quiet || context.json,
        home: context.home.clone(),
        directory: None,
        ..*context
    };
    let mut asked = capture::request(place.id.clone(), named.clone());
    asked.session = Some(session.id.clone());
    let wait = Wait {
        context,
        wish,
        request: capture::up("/v1/up", &asked)?.repeatable(),
        project: Some(place.id.clone()),
        named,
        goal: Goal::Ready,
        no_wait: false,
        cold: None,
    };
    wait.told(&mut Heard::new(context, Goal::Ready, sheet))?.done
}

/// Where the project's services are to be found.
fn ports(
    context: &Context,
    wish: Wish,
    place: &Place,
) -> Result<std::collections::BTreeMap<String, String>, Refusal> {
    let asked =
        EnvRequest { project: Some(place.id.clone()), service: None, env: capture::environment() };
    let request = capture::post("/v1/env", &asked, &asked.env)?.repeatable();
    let (_, body) = agent::fetch(context, wish, &request)?;
    agent::parse(&body)
}

/// The file that CMD names, as execvp(3) finds it. Errors: `usage`.
fn executable(name: &OsStr) -> Result<PathBuf, Refusal> {
    let quoted = name.to_string_lossy();
    let quoted = quoted.escape_debug();
    let may = |path: &Path| {
        let found = rustix::fs::access(path, Access::EXEC_OK);
        found.is_ok() && path.is_file()
    };
    if name.as_encoded_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        let why = match &path {
            path if may(path) => return Ok(path.clone()),
            path if path.is_dir() => "is a directory",
            path if path.exists() => "may not be executed",
            _ => "does not exist",
        };
        return Err(Refusal::usage(format!("`{quoted}` {why}; nothing was started")).hint(USAGE));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| NO_PATH.into());
    if !name.is_empty()
        && let Some(found) = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| may(p))
    {
        return Ok(found);
    }
    let hint = match name.as_encoded_bytes().contains(&b' ') {
        true => "a command and its arguments are words of their own; for a line: `sh -c '...'`",
        false => "`PATH` tells where commands are looked for; a path with a `/` names one itself",
    };
    Err(Refusal::usage(format!("there is no command `{quoted}`; nothing was started")).hint(hint))
}

/// The same refusal, which says what became of CMD, and of what was leased for it: elsewhere services
/// go on without the verb that waited for them.
fn without(mut refusal: Refusal, name: &OsStr) -> Refusal {
    let name = name.to_string_lossy();
    refusal.message.push_str(&format!("\n`{}` was not run", name.escape_debug()));
    match refusal.code {
        Code::Timeout | Code::Stopping => refusal.hint(GIVEN_BACK),
        _ => refusal,
    }
}

/// Returns only where it could not be.
fn become_it(mut process: Process, name: &OsStr) -> Result<u8, Refusal> {
    let sigpipe = inherited::sigpipe();
    // SAFETY: signal(2) is async-signal-safe. Behind what `exec` does itself, which sets SIGPIPE to
    // what it mostly was.
    unsafe {
        process.pre_exec(move || {
            libc::signal(libc::SIGPIPE, sigpipe);
            Ok(())
        });
    }
    // From here on Ctrl-C is CMD's: it ends this process as it would end CMD, or has been heard.
    if interrupt::give_back() {
        output::tell(interrupt::words(Goal::Ready));
        return Ok(interrupt::EXIT);
    }
    let error = process.exec();
    let why = format!("`{}` can't be executed: {error}", name.to_string_lossy().escape_debug());
    let hint = match error.raw_os_error() {
        Some(libc::ENOENT) => "it is there: the interpreter in its first line is not",
        Some(libc::E2BIG) => "its arguments and this shell's environment are too large together",
        Some(_) | None => "the same without hearth tells whether it is the command's fault",
    };
    Err(Refusal::new(Code::Usage, why).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_looked_for_before_anything_is_begun() {
        assert!(executable(OsStr::new("sh")).is_ok());
        assert!(executable(OsStr::new("/bin/sh")).is_ok());
        for (name, why) in [
            ("", "there is no command"),
            ("no-such-command", "there is no command"),
            ("cargo test --lib", "there is no command"),
            ("/", "is a directory"),
            ("./no-such", "does not exist"),
            ("/etc/passwd", "may not be executed"),
        ] {
            let refusal = executable(OsStr::new(name)).unwrap_err();
            assert!(refusal.message.contains(why), "{name}: {}", refusal.message);
            assert_eq!(refusal.code.exit(), 2);
        }
        let line = executable(OsStr::new("cargo test --lib")).unwrap_err();
        assert!(line.hint.contains("sh -c"), "{}", line.hint);
    }

    #[test]
    fn a_session_is_named_by_the_commands_last_part() {
        assert_eq!(asked(OsStr::new("/usr/bin/cargo")).name.as_deref(), Some("cargo"));
        assert_eq!(asked(OsStr::new("make")).name.as_deref(), Some("make"));
        assert_eq!(asked(OsStr::new("./a\nb\u{202e}")).name.as_deref(), Some("ab"));
        assert_eq!(asked(OsStr::new("./\n")).name, None);
    }
}
