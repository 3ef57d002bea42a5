//! Speaking to systemd's user manager through `systemctl --user`.
//!
//! Kept true here: every command is bounded, asks nobody for anything, and works from cron, `su` and
//! ssh, where `XDG_RUNTIME_DIR` is not set though the user's manager runs. What it says is passed on.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::answer::{self, Seen};
use crate::home::euid;
use crate::run::{self, Ran, Trouble};
use crate::unit::{Answer, Refused, Unit};

/// What is asked of each of the two.
const PROPERTIES: &str = "Id,LoadState,LoadError,ActiveState,SubState,Result,MainPID,StatusText,\
    ExecMainCode,ExecMainStatus,NeedDaemonReload";

/// The program; the tests have one of their own.
#[derive(Clone, Debug)]
pub(in crate::unit) struct Systemctl {
    program: OsString,
}

impl Default for Systemctl {
    fn default() -> Self {
        Self { program: "systemctl".into() }
    }
}

impl Systemctl {
    /// How the manager sees the service and its socket.
    pub(in crate::unit) fn ask(&self, unit: &Unit, until: Instant) -> Result<Answer, Refused> {
        let mut arguments = vec!["show", "-p", PROPERTIES];
        let names = names(unit);
        arguments.extend(names.iter().map(String::as_str));
        let ran = self.run(unit, &arguments, until)?;
        if !ran.success {
            return Err(refused(unit, &ran));
        }
        let shown = shown(&ran.stdout);
        match shown.get(names[0].as_str()).filter(|seen| seen.contains_key("ActiveState")) {
            Some(service) => Ok(answer::of(unit, service, shown.get(socket(unit).as_str()))),
            None => Err(Refused {
                words: format!(
                    "systemctl answers what cannot be understood: {}",
                    ran.stdout.lines().find(|line| !line.is_empty()).unwrap_or("nothing")
                ),
                remedy: look(unit),
            }),
        }
    }

    /// Has it listen, and run the agent. The second is not left to the first connection, and nobody
    /// connects before it is done: a socket that has failed because it was triggered too often fails
    /// again for as long as it counts, and takes its path along from under the agent.
    pub(in crate::unit) fn start(&self, unit: &Unit, until: Instant) -> Result<(), Refused> {
        if listens(unit) {
            match self.done(unit, &["start", &socket(unit)], until) {
                // A socket that has failed under a service that is being started can't be started
                // before that has ended: it was taken on, and came to nothing.
                Err(refused) if refused.words.starts_with("Job") => {
                    self.stop(unit, until)?;
                    self.done(unit, &["start", &socket(unit)], until)?;
                }
                done => done?,
            }
        }
        match self.done(unit, &["start", &unit.name], until) {
            // Why it came to nothing is told better by the agent itself, or by how the unit stands then.
            Err(refused) if refused.words.starts_with("Job") => Ok(()),
            done => done,
        }
    }

    /// Has it end the agent; the socket stays.
    pub(in crate::unit) fn stop(&self, unit: &Unit, until: Instant) -> Result<(), Refused> {
        self.done(unit, &["stop", &unit.name], until)
    }

    /// Has it end the agent and start another one; who comes meanwhile waits at the socket.
    pub(in crate::unit) fn restart(&self, unit: &Unit, until: Instant) -> Result<(), Refused> {
        self.done(unit, &["restart", &unit.name], until)
    }

    /// Has it run the agent from login on, or only when somebody comes.
    pub(in crate::unit) fn at_login(
        &self,
        unit: &Unit,
        at_login: bool,
        until: Instant,
    ) -> Result<(), Refused> {
        let verb = if at_login { "enable" } else { "disable" };
        // Of the links that it makes and removes it speaks on stderr, and that is no fault.
        self.done(unit, &[verb, "--quiet", &unit.name], until)
    }

    /// Forgets what has failed: it tries again although it had given up.
    pub(in crate::unit) fn forgive(&self, unit: &Unit, until: Instant) -> Result<(), Refused> {
        let names = names(unit);
        let mut arguments = vec!["reset-failed"];
        arguments.extend(names.iter().map(String::as_str));
        self.done(unit, &arguments, until)
    }

    /// Has it listen anew where somebody has removed its socket's path: it does not see that, and
    /// listens on where nobody can come. A socket starts only where its service does not run.
    pub(in crate::unit) fn mend(&self, unit: &Unit, until: Instant) -> Result<(), Refused> {
        let mut arguments = vec!["stop"];
        let names = names(unit);
        arguments.extend(names.iter().map(String::as_str));
        self.done(unit, &arguments, until)?;
        self.start(unit, until)
    }

    fn done(&self, unit: &Unit, arguments: &[&str], until: Instant) -> Result<(), Refused> {
        let ran = self.run(unit, arguments, until)?;
        if ran.success { Ok(()) } else { Err(refused(unit, &ran)) }
    }

    fn run(&self, unit: &Unit, arguments: &[&str], until: Instant) -> Result<Ran, Refused> {
        let began = Instant::now();
        let mut command = run::command(&self.program);
        command.args(["--user", "--no-ask-password"]).args(arguments);
        find_the_manager(&mut command);
        run::run(command, until).map_err(|trouble| match trouble {
            Trouble::Absent => Refused {
                words: "systemctl is not installed, or not in PATH".into(),
                remedy: format!(
                    "`{0} uninstall`: verbs start the agent themselves again",
                    unit.app
                ),
            },
            Trouble::Late => Refused {
                words: format!(
                    "`systemctl --user {}` did not end within {}",
                    arguments[0],
                    seconds(began.elapsed())
                ),
                remedy: look(unit),
            },
            Trouble::Os(error) => {
                Refused { words: format!("systemctl cannot be run: {error}"), remedy: look(unit) }
            }
        })
    }
}

/// The service, and behind it its socket where it has one.
fn names(unit: &Unit) -> Vec<String> {
    let mut names = vec![unit.name.clone()];
    names.extend(listens(unit).then(|| socket(unit)));
    names
}

/// Whether it has a socket beside the service.
fn listens(unit: &Unit) -> bool {
    unit.files.len() > 1
}

/// The name of the socket.
pub(super) fn socket(unit: &Unit) -> String {
    format!("{}.socket", unit.name.strip_suffix(".service").unwrap_or(&unit.name))
}

/// What a person types to see more.
pub(in crate::unit) fn look(unit: &Unit) -> String {
    format!("systemctl --user status {}", names(unit).join(" "))
}

/// Where the manager's socket is, for who has no session of his own.
pub(in crate::unit) fn find_the_manager(command: &mut Command) {
    let unset = env::var_os("XDG_RUNTIME_DIR").is_none_or(|value| value.is_empty());
    let usual = PathBuf::from(format!("/run/user/{}", euid()));
    if unset && usual.is_dir() {
        command.env("XDG_RUNTIME_DIR", usual);
    }
}

/// `systemctl show`: a block of `key=value` a unit, by its `Id`.
fn shown(text: &str) -> HashMap<&str, Seen<'_>> {
    text.split("\n\n").map(block).filter_map(|seen| Some((*seen.get("Id")?, seen))).collect()
}

fn block(text: &str) -> Seen<'_> {
    text.lines().filter_map(|line| line.split_once('=')).collect()
}

/// It says no: in its words, with what may help.
fn refused(unit: &Unit, ran: &Ran) -> Refused {
    let said = if ran.stderr.trim().is_empty() { &ran.stdout } else { &ran.stderr };
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let words = match (lines.is_empty(), ran.code) {
        // The first says what; "See ..." goes into the remedy.
        (false, _) => lines[0].to_owned(),
        (true, Some(code)) => format!("systemctl exited with code {code} and said nothing"),
        (true, None) => "systemctl was killed".to_owned(),
    };
    Refused { remedy: remedy(unit, &words), words }
}

fn remedy(unit: &Unit, words: &str) -> String {
    let names = names(unit).join(" ");
    let says = |what: &str| words.contains(what);
    if says("connect to bus") || says("connect to user scope bus") || says("user manager") {
        return format!(
            "log in anew, or `loginctl enable-linger` to have a manager without it; without one: `{0} uninstall`, \
             and verbs start the agent themselves",
            unit.app
        );
    }
    if says("is masked") {
        return format!("systemctl --user unmask {names}");
    }
    if says("not found") || says("not loaded") {
        return "systemctl --user daemon-reload".to_owned();
    }
    if says("repeated too quickly") || says("bad unit file setting") {
        return format!("`{}`; `{} install --force` writes the unit anew", look(unit), unit.app);
    }
    look(unit)
}

fn seconds(duration: Duration) -> String {
    crate::notice::seconds(duration)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::unit::{Kind, Standing};

    fn unit() -> Unit {
        Unit {
            kind: Kind::Systemd,
            app: "pair",
            name: "pair-agent.service".into(),
            files: vec!["/c/pair-agent.service".into(), "/c/pair-agent.socket".into()],
            home: "/h".into(),
            executable: "/bin/true".into(),
            version: None,
            edited: false,
        }
    }

    /// A manager that is a script; what it is told stands in a file beside it.
    fn fake(script: &str) -> (tempfile::TempDir, Systemctl) {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("systemctl");
        let script = format!(
            "#!/bin/sh\necho \"$*\" >>{}\n{script}\n",
            directory.path().join("told").display()
        );
        // Written by another process: a fork of another test's would keep it open (ETXTBSY, execve(2)).
        let aside = directory.path().join("text");
        fs::write(&aside, script).unwrap();
        assert!(Command::new("cp").arg(&aside).arg(&program).status().unwrap().success());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        (directory, Systemctl { program: program.into() })
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn standing(service: &str, socket: &str) -> (Standing, String) {
        let (_directory, systemctl) = fake(&format!("cat <<E\n{service}\n\n{socket}\nE"));
        let answer = systemctl.ask(&unit(), soon()).unwrap();
        (answer.standing, answer.words)
    }

    const DEAD: &str = "Id=pair-agent.service\nLoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success\nMainPID=0";
    const LISTENS: &str = "Id=pair-agent.socket\nLoadState=loaded\nActiveState=active\nSubState=listening\nResult=success";

    #[test]
    fn how_it_stands_is_told_in_the_managers_words() {
        assert_eq!(standing(DEAD, LISTENS).0, Standing::Listening);
        let silent = LISTENS.replace("=active", "=inactive").replace("listening", "dead");
        assert_eq!(standing(DEAD, &silent).0, Standing::Inactive);
        let runs = "Id=pair-agent.service\nLoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nMainPID=42\nStatusText=ready: 3 services up";
        let (seen, words) = standing(runs, LISTENS);
        assert_eq!(seen, Standing::Running { pid: 42 });
        assert!(words.contains("active (running): ready: 3 services up"), "{words}");
        let failed = "Id=pair-agent.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nMainPID=0\nExecMainCode=1\nExecMainStatus=203";
        let hit = LISTENS
            .replace("=active", "=failed")
            .replace("=success", "=trigger-limit-hit")
            .replace("listening", "failed");
        let (seen, words) = standing(failed, &hit);
        assert_eq!(seen, Standing::Failed);
        assert!(words.contains("failed (Result: exit-code, status=203/EXEC)"), "{words}");
        assert!(words.contains("pair-agent.socket: failed (Result: trigger-limit-hit)"), "{words}");
        let (_, words) = standing(&format!("{DEAD}\nNeedDaemonReload=yes"), LISTENS);
        assert!(words.contains("dead) (its file has changed since"), "{words}");
        let again = failed
            .replace("ActiveState=failed", "ActiveState=activating")
            .replace("=failed", "=auto-restart");
        let (seen, words) = standing(&again, LISTENS);
        assert_eq!(seen, Standing::Starting);
        assert!(words.contains("activating (auto-restart) (Result: exit-code"), "{words}");
        let ends = runs.replace("=active", "=deactivating").replace("running", "stop-sigterm");
        assert_eq!(standing(&ends, LISTENS).0, Standing::Stopping);
    }

    #[test]
    fn a_file_is_not_a_unit_that_is_loaded() {
        let absent = "Id=pair-agent.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n\
            LoadError=org.freedesktop.systemd1.NoSuchUnit \"Unit pair-agent.service not found.\"";
        let (seen, words) = standing(absent, LISTENS);
        assert_eq!(seen, Standing::NotLoaded);
        assert!(words.contains("Unit pair-agent.service not found."), "{words}");
        assert_eq!(standing(&DEAD.replace("=loaded", "=masked"), LISTENS).0, Standing::Masked);
        assert_eq!(standing(DEAD, &LISTENS.replace("=loaded", "=masked")).0, Standing::Masked);
        let bad = absent.replace("not-found", "bad-setting");
        assert_eq!(standing(&bad, LISTENS).0, Standing::Failed);
    }

    #[test]
    fn what_it_is_told_is_what_the_verb_means() {
        let (directory, systemctl) = fake("");
        let unit = unit();
        systemctl.start(&unit, soon()).unwrap();
        systemctl.stop(&unit, soon()).unwrap();
        systemctl.restart(&unit, soon()).unwrap();
        systemctl.mend(&unit, soon()).unwrap();
        systemctl.forgive(&unit, soon()).unwrap();
        systemctl.at_login(&unit, true, soon()).unwrap();
        systemctl.at_login(&unit, false, soon()).unwrap();
        let alone = Unit { files: vec!["/c/pair-agent.service".into()], ..unit };
        systemctl.start(&alone, soon()).unwrap();
        let told = fs::read_to_string(directory.path().join("told")).unwrap();
        let told = told.replace("--user --no-ask-password ", "").replace("pair-agent.", "");
        let expected = "start socket\nstart service\nstop service\nrestart service\n\
            stop service socket\nstart socket\nstart service\n\
            reset-failed service socket\n\
             enable --quiet service\ndisable --quiet service\nstart service\n";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_socket_that_cannot_start_beside_its_service_starts_when_that_has_ended() {
        let (directory, systemctl) = fake(
            r#"case "$*" in
                *stop*) touch "$0.stopped" ;;
                *start*socket) [ -e "$0.stopped" ] || { echo 'Job failed. See "x".' >&2; exit 1; } ;;
            esac"#,
        );
        systemctl.start(&unit(), soon()).unwrap();
        let told = fs::read_to_string(directory.path().join("told")).unwrap();
        assert_eq!(told.lines().count(), 4, "{told}");
    }

    #[test]
    fn one_that_hangs_is_not_waited_for() {
        let (_directory, systemctl) = fake("exec sleep 1000");
        let until = Instant::now() + Duration::from_millis(200);
        let refused = systemctl.start(&unit(), until).unwrap_err();
        assert!(
            refused.words.starts_with("`systemctl --user start` did not end within"),
            "{refused}"
        );
    }

    #[test]
    fn what_it_refuses_is_told_with_what_to_type_next() {
        let no = |script: &str| {
            let (_directory, systemctl) = fake(script);
            systemctl.start(&unit(), soon()).unwrap_err()
        };
        let gone = no("echo 'Failed to connect to bus: No medium found' >&2; exit 1");
        assert_eq!(gone.words, "Failed to connect to bus: No medium found");
        assert!(gone.remedy.contains("pair uninstall"), "{gone:?}");
        let masked = no(
            "echo 'Failed to start pair-agent.socket: Unit pair-agent.socket is masked.' >&2; exit 1",
        );
        assert_eq!(masked.remedy, "systemctl --user unmask pair-agent.service pair-agent.socket");
        let unknown = no("echo 'Failed to start x: Unit x not found.' >&2; exit 5");
        assert_eq!(unknown.remedy, "systemctl --user daemon-reload");
        assert_eq!(no("exit 7").words, "systemctl exited with code 7 and said nothing");
        assert_eq!(no("kill -9 $$").words, "systemctl was killed");
        let garbage = fake("head -c 200000 /dev/urandom");
        let refused = garbage.1.ask(&unit(), soon()).unwrap_err();
        assert!(refused.words.contains("cannot be understood"), "{refused}");
        let absent = Systemctl { program: "/nowhere/systemctl".into() };
        assert!(absent.ask(&unit(), soon()).unwrap_err().words.contains("not installed"));
    }
}
