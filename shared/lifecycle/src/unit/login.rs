//! The environment of the user's login shell, for an agent that no shell has started.
//!
//! Kept true here: no secret gets onto disk, for a unit is a file: only a short list of names is taken,
//! part of what an agent gets from the verb that starts it (`spawn.rs`). And a shell's files are a
//! program of somebody's: it runs in a session of its own, cannot ask at the terminal, and is ended,
//! with what it has started and not taken out of its process group, when it has told or its time is
//! over.

use std::env;
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{App, wait};

/// Around what `env` says: whatever else the shell's files write is none of it.
const MARK: &[u8] = b"\0hearth-login-environment\0";
/// As a shell's `printf` writes it.
const PRINTED: &str = "\\0hearth-login-environment\\0";
/// A shell that writes more than this writes rubbish.
const MOST: usize = 1 << 20;

/// What a unit's agent is to have, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Names and values.
    pub variables: Vec<(String, String)>,
    /// The login shell.
    pub shell: PathBuf,
    /// Why they are this process's own and not the login shell's.
    pub instead: Option<String>,
}

/// Asks `$SHELL -l`, for no longer than `patience`.
pub fn environment(app: &App, patience: Duration) -> Environment {
    let shell = env::var_os("SHELL").map(PathBuf::from).filter(|shell| shell.is_absolute());
    let shell = shell.unwrap_or_else(|| PathBuf::from("/bin/sh"));
    match ask(app, &shell, Instant::now() + patience) {
        Ok(variables) => Environment { variables, shell, instead: None },
        Err(why) => {
            let own = env::vars().filter(|(name, _)| belongs(name)).collect();
            Environment { variables: own, shell, instead: Some(why) }
        }
    }
}

/// What a person sets for all that he runs. Nothing that is of one session (XDG_RUNTIME_DIR,
/// XDG_SESSION_ID) and nothing that the manager sets itself (HOME, USER, SHELL).
fn belongs(name: &str) -> bool {
    const NAMES: &[&str] = &["PATH", "LANG", "LANGUAGE", "TZ", "XDG_DATA_HOME", "XDG_CACHE_HOME"];
    NAMES.contains(&name) || name.starts_with("LC_")
}

/// Errors: in words, why it has not told.
fn ask(app: &App, shell: &Path, until: Instant) -> Result<Vec<(String, String)>, String> {
    let mut child = start(app, shell).map_err(|error| error.to_string())?;
    let said = listen(&mut child, until);
    // Not reaped yet, so the number is its group's and nobody else's.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let ended = child.wait();
    if let Some(variables) = said.as_deref().and_then(between_marks).and_then(parsed) {
        return Ok(variables);
    }
    Err(match (said, ended.ok().and_then(|ended| ended.code())) {
        (None, _) => "it did not end in time".to_owned(),
        (Some(_), Some(code)) => format!("it ended with code {code} and did not tell"),
        (Some(_), None) => "it did not tell".to_owned(),
    })
}

fn start(app: &App, shell: &Path) -> std::io::Result<Child> {
    let mut command = Command::new(shell);
    // fish, zsh and bash alike; `command` goes round functions of these names.
    let script = format!("command printf '{PRINTED}'; command env -0; command printf '{PRINTED}'");
    command.args(["-l", "-c", &script]).current_dir("/").env_clear();
    let kept = ["HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "XDG_RUNTIME_DIR"];
    command.envs(kept.iter().filter_map(|&name| Some((name, env::var_os(name)?))));
    command.env("SHELL", shell).env("TERM", "dumb").env(app.var_name("NO_AUTOSPAWN"), "1");
    command.env("PATH", OsString::from("/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // SAFETY: one system call, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            // Without a terminal nobody can be asked for anything.
            rustix::process::setsid()?;
            hearth_process::child::default_signals();
            Ok(())
        });
    }
    command.spawn()
}

/// What it has said by its second mark, or by its end; `None`: neither came in time.
fn listen(child: &mut Child, until: Instant) -> Option<Vec<u8>> {
    let mut pipe = child.stdout.take()?;
    let mut said = Vec::new();
    loop {
        if between_marks(&said).is_some() || said.len() > MOST {
            return Some(said);
        }
        if wait::any_readable(&[pipe.as_fd()], until).ok()? != [true] {
            return None;
        }
        let mut buffer = [0; 8192];
        match pipe.read(&mut buffer) {
            Ok(0) => return Some(said),
            Ok(got) => said.extend_from_slice(&buffer[..got]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Some(said),
        }
    }
}

fn between_marks(said: &[u8]) -> Option<&[u8]> {
    let find = |text: &[u8]| text.windows(MARK.len()).position(|window| window == MARK);
    let rest = &said[find(said)? + MARK.len()..];
    find(rest).map(|end| &rest[..end])
}

/// `None` where there is not even a PATH: that is no environment.
fn parsed(said: &[u8]) -> Option<Vec<(String, String)>> {
    let pairs = said.split(|byte| *byte == 0).filter_map(|entry| {
        let (name, value) = std::str::from_utf8(entry).ok()?.split_once('=')?;
        belongs(name).then(|| (name.to_owned(), value.to_owned()))
    });
    let mut variables: Vec<_> = pairs.collect();
    variables.sort();
    variables.iter().any(|(name, value)| name == "PATH" && !value.is_empty()).then_some(variables)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::app::tests::APP;

    const LONG: Duration = Duration::from_secs(20);

    /// A shell that is a script: its arguments are `-l -c SCRIPT`.
    fn shell(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let (aside, path) = (directory.path().join("text"), directory.path().join("shell"));
        fs::write(&aside, format!("#!/bin/sh\n{text}\n")).unwrap();
        // Written by another process: a fork of another test's would keep it open (ETXTBSY, execve(2)).
        assert!(Command::new("cp").arg(&aside).arg(&path).status().unwrap().success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (directory, path)
    }

    fn told(text: &str) -> Result<Vec<(String, String)>, String> {
        let (_directory, path) = shell(text);
        ask(&APP, &path, Instant::now() + LONG)
    }

    #[test]
    fn what_a_shells_files_set_is_taken_and_what_may_be_secret_is_not() {
        let script =
            "echo welcome; export PATH=/mine:$PATH LC_TIME=de TOKEN=secret XDG_SESSION_ID=7
            printf 'rubbish\\0PATH=/wrong\\0'; . /dev/null; eval \"$3\"; echo bye";
        let variables = told(script).unwrap();
        let expected =
            [("LC_TIME", "de"), ("PATH", "/mine:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")];
        let lang = variables.iter().filter(|(name, _)| !name.starts_with("LANG"));
        let pairs: Vec<_> = lang.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, expected);
    }

    #[test]
    fn real_shells_tell() {
        for name in ["bash", "zsh", "fish", "dash"] {
            let path = ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(name));
            let Some(path) = path.iter().find(|path| path.exists()) else {
                assert!(env::var_os("CI").is_none(), "{name} is not here, and CI may not skip");
                eprintln!("SKIPPED, needs {name}");
                continue;
            };
            let variables = ask(&APP, path, Instant::now() + LONG);
            assert!(variables.as_ref().is_ok_and(|all| !all.is_empty()), "{name}: {variables:?}");
        }
    }

    #[test]
    fn a_shell_that_hangs_is_ended_with_what_it_has_started() {
        let (directory, path) =
            shell("sleep 1000 & echo $! >${0%/*}/pid; echo $$ >>${0%/*}/pid; wait");
        let why = ask(&APP, &path, Instant::now() + Duration::from_millis(500)).unwrap_err();
        assert_eq!(why, "it did not end in time");
        let pids = fs::read_to_string(directory.path().join("pid")).unwrap();
        for pid in pids.lines().map(|line| line.parse().unwrap()) {
            // The one that was not our child may be a zombie for a moment yet.
            if let Ok(handle) = hearth_process::ProcessId::of(pid)
                && let Ok(handle) = hearth_process::ProcessHandle::open(&handle)
            {
                assert!(handle.wait_timeout(LONG).unwrap(), "{pid} lives on");
            }
        }
    }

    #[test]
    fn a_shell_that_is_none_is_told_as_such() {
        let none = told("echo 'This account is currently not available.'; exit 1").unwrap_err();
        assert_eq!(none, "it ended with code 1 and did not tell");
        assert!(told("head -c 3000000 /dev/urandom").is_err());
        let absent = ask(&APP, Path::new("/nowhere/sh"), Instant::now() + LONG).unwrap_err();
        assert!(absent.contains("No such file"), "{absent}");
    }

    #[test]
    fn nothing_is_taken_that_an_agent_does_not_get_from_a_verb() {
        for name in ["PATH", "LANG", "LANGUAGE", "TZ", "XDG_DATA_HOME", "XDG_CACHE_HOME", "LC_ALL"]
        {
            assert!(belongs(name) && crate::spawn::is_allowed(name), "{name}");
        }
        for name in ["HEARTH_TOKEN", "SSH_AUTH_SOCK", "LD_PRELOAD", "XDG_RUNTIME_DIR"] {
            assert!(!belongs(name), "{name}");
        }
    }
}
