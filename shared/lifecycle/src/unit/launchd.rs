//! launchd: the agent's plist, and how launchd is spoken to, through `launchctl` (launchctl(1)).
//!
//! Compiled everywhere, so that it is tested where there is no launchd; chosen on macOS alone. Which
//! domain a job is in is asked, never remembered: `gui/UID` where the user is logged in at the screen,
//! `user/UID` else (ssh). A job that is loaded already is no failure (error 5, and 37 while it is going
//! on). launchd holds no socket for the agent: a verb that finds nobody has it started.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::plan::Step;
use super::plist::{self, Value};
use super::{Answer, Installed, Kind, Refused, Standing, Unit, seal, stamp};
use crate::home::{euid, tidy};
use crate::run::{self, Ran, Trouble};
use crate::{App, typed};

/// Between two looks at whether a job is out: `bootout` returns before it is, and nothing tells.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Where the plists of a user stand.
pub(super) fn directory() -> Option<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    home.map(|home| home.join("Library/LaunchAgents"))
}

/// What stands there for `app`.
#[cfg_attr(not(target_os = "macos"), allow(dead_code, reason = "chosen on macOS"))]
pub(super) fn installed(app: &App) -> Installed {
    directory().map_or(Installed::None, |directory| {
        installed_at(app, &directory.join(format!("{}.plist", app.launchd_label())))
    })
}

pub(super) fn installed_at(app: &App, path: &std::path::Path) -> Installed {
    let unreadable = |why: String| Installed::Unreadable { path: path.to_owned(), why };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Installed::None,
        Err(error) => return unreadable(error.to_string()),
    };
    let value = match plist::parse(&text) {
        Ok(value) => value,
        Err(why) => return unreadable(why),
    };
    let executable = value.get("ProgramArguments").and_then(Value::first).and_then(Value::text);
    let Some(executable) = executable else {
        return unreadable("it does not say what it runs (ProgramArguments)".into());
    };
    // A person's edit of the environment counts more than what we have noted.
    let environment = value.get("EnvironmentVariables");
    let named = environment.and_then(|all| all.get(&app.var_name("HOME"))?.text());
    let (said, version) = stamp::of_plist(app, &text);
    let Some(home) = named.map(PathBuf::from).or(said).filter(|home| home.is_absolute()) else {
        return unreadable("it does not say for which home it is".into());
    };
    Installed::Unit(Box::new(Unit {
        kind: Kind::Launchd,
        app: app.name,
        name: app.launchd_label(),
        files: vec![path.to_owned()],
        home: tidy(&home),
        executable: PathBuf::from(executable),
        version,
        edited: seal::is_edited(&text),
    }))
}

/// What loads a unit. `written`: its file is another one than launchd has read.
pub(super) fn steps_to_load(unit: &Unit, written: bool, standing: Standing) -> Vec<Step> {
    let loaded = !matches!(standing, Standing::NotLoaded | Standing::Masked);
    let unload = (written && loaded).then(|| Step::Unload(Box::new(unit.clone())));
    unload.into_iter().chain([Step::Load(Box::new(unit.clone()))]).collect()
}

/// What takes it out of launchd.
pub(super) fn steps_to_unload(unit: &Unit) -> Vec<Step> {
    vec![Step::Unload(Box::new(unit.clone()))]
}

/// The domains in which a user's jobs may be.
fn domains() -> [String; 2] {
    ["gui", "user"].map(|kind| format!("{kind}/{}", euid()))
}

/// What a person types to see more.
pub(super) fn look(unit: &Unit) -> String {
    format!("launchctl print {}/{}", domains()[0], unit.name)
}

/// What a person types to load it.
pub(super) fn load_in_words(unit: &Unit) -> String {
    format!("launchctl bootstrap {} {}", domains()[0], typed(unit.file()))
}

/// What a person types to take it out.
pub(super) fn unload_in_words(unit: &Unit) -> String {
    format!("launchctl bootout {}/{}", domains()[0], unit.name)
}

/// The program; the tests have one of their own.
#[derive(Clone, Debug)]
pub(super) struct Launchctl {
    program: OsString,
}

impl Default for Launchctl {
    fn default() -> Self {
        Self { program: "launchctl".into() }
    }
}

impl Launchctl {
    /// How launchd sees the agent.
    pub(super) fn ask(&self, unit: &Unit, until: Instant) -> Result<Answer, Refused> {
        if let Some((_, shown)) = self.find(unit, until)? {
            return Ok(answer(&shown));
        }
        let name = &unit.name;
        for domain in domains() {
            let ran = self.run(unit, &["print-disabled", &domain], until)?;
            let line = ran.stdout.lines().find(|line| line.contains(&format!("\"{name}\"")));
            if line.is_some_and(|line| line.ends_with("disabled") || line.ends_with("true")) {
                let words = format!("disabled in {domain}");
                return Ok(Answer { standing: Standing::Masked, words });
            }
        }
        Ok(Answer { standing: Standing::NotLoaded, words: "not loaded".into() })
    }

    /// Has it run the agent, loading it first where it is not.
    pub(super) fn start(&self, unit: &Unit, until: Instant) -> Result<(), Refused> {
        match self.find(unit, until)? {
            Some((domain, _)) => self.kick(unit, &["kickstart"], &domain, until),
            None => self.load(unit, until),
        }
    }

    /// Has it end the agent. It has succeeded then, and so launchd does not start it again.
    pub(super) fn stop(&self, unit: &Unit, until: Instant) -> Result<(), Refused> {
        let Some((domain, shown)) = self.find(unit, until)? else { return Ok(()) };
        match answer(&shown).standing {
            Standing::Running { .. } => self.kick(unit, &["kill", "SIGTERM"], &domain, until),
            Standing::NotLoaded
            | Standing::Masked
            | Standing::Inactive
            | Standing::Listening
            | Standing::Starting
            | Standing::Stopping
            | Standing::Failed => Ok(()),
        }
    }

    /// Has it end the agent and run another one.
    pub(super) fn restart(&self, unit: &Unit, until: Instant) -> Result<(), Refused> {
        match self.find(unit, until)? {
            Some((domain, _)) => self.kick(unit, &["kickstart", "-k"], &domain, until),
            None => self.load(unit, until),
        }
    }

    /// Loads it into the domain of the screen, failing that into the user's. It runs then.
    pub(super) fn load(&self, unit: &Unit, until: Instant) -> Result<(), Refused> {
        let file = unit.file().display().to_string();
        let mut last = None;
        for domain in domains() {
            let ran = self.run(unit, &["bootstrap", &domain, &file], until)?;
            if ran.success {
                return Ok(());
            }
            // Loaded already, as it says or as it turns out: there is more than one error 5.
            if let Some((domain, _)) = self.find(unit, until)? {
                return self.kick(unit, &["kickstart"], &domain, until);
            }
            // Of a domain that is not there for us it says so; else the first knows best.
            last = last.or(Some(ran));
        }
        Err(last.map_or_else(|| not_understood(unit, ""), |ran| refused(unit, &ran)))
    }

    /// Takes it out, and returns when it is.
    pub(super) fn unload(&self, unit: &Unit, until: Instant) -> Result<(), Refused> {
        while let Some((domain, _)) = self.find(unit, until)? {
            let target = format!("{domain}/{}", unit.name);
            let ran = self.run(unit, &["bootout", &target], until)?;
            // 3 and 113: it is out by now; 36: it is going on.
            if !ran.success && !matches!(ran.code, Some(3 | 36 | 113)) {
                return Err(refused(unit, &ran));
            }
            if Instant::now() >= until {
                return Err(Refused {
                    words: format!("launchd has not let go of {} in time", unit.name),
                    remedy: look(unit),
                });
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// The domain in which it is loaded, and what launchd shows of it.
    fn find(&self, unit: &Unit, until: Instant) -> Result<Option<(String, String)>, Refused> {
        for domain in domains() {
            let target = format!("{domain}/{}", unit.name);
            let ran = self.run(unit, &["print", &target], until)?;
            if ran.success {
                return Ok(Some((domain, ran.stdout)));
            }
        }
        Ok(None)
    }

    fn kick(
        &self,
        unit: &Unit,
        words: &[&str],
        domain: &str,
        until: Instant,
    ) -> Result<(), Refused> {
        let target = format!("{domain}/{}", unit.name);
        let ran = self.run(unit, &[words, &[&target]].concat(), until)?;
        // 3: no such process, which is what was wanted of `kill`; 37: it is being started already.
        let is_so = match words {
            ["kill", ..] => ran.code == Some(3),
            ["kickstart"] => ran.code == Some(37),
            _ => false,
        };
        if ran.success || is_so { Ok(()) } else { Err(refused(unit, &ran)) }
    }

    fn run(&self, unit: &Unit, arguments: &[&str], until: Instant) -> Result<Ran, Refused> {
        let mut command = run::command(&self.program);
        command.args(arguments);
        run::run(command, until).map_err(|trouble| match trouble {
            Trouble::Absent => Refused {
                words: "launchctl is not installed, or not in PATH".into(),
                remedy: format!("`{} uninstall`: verbs start the agent themselves again", unit.app),
            },
            Trouble::Late => Refused {
                words: format!("`launchctl {}` did not end in time", arguments.join(" ")),
                remedy: look(unit),
            },
            Trouble::Os(error) => {
                Refused { words: format!("launchctl cannot be run: {error}"), remedy: look(unit) }
            }
        })
    }
}

/// What `launchctl print` shows of a job. Its form is no interface (launchctl(1)), so what is not found
/// in it is taken for nothing.
fn answer(shown: &str) -> Answer {
    // The job's own lines are indented once; those of what it uses, deeper.
    let said = |key: &str| {
        let own = shown.lines().filter(|line| !line.starts_with("\t\t"));
        own.filter_map(|line| line.trim().split_once(" = "))
            .find_map(|(name, value)| (name == key).then_some(value))
    };
    let state = said("state").unwrap_or("unknown");
    let exit =
        said("last exit code").filter(|code| !code.starts_with('0') && *code != "(never exited)");
    let standing = match (said("pid").and_then(|pid| pid.parse().ok()), state) {
        (Some(pid), _) => Standing::Running { pid },
        (None, "running") => Standing::Running { pid: 0 },
        (None, "spawn scheduled" | "spawning" | "waiting") => Standing::Starting,
        (None, _) if exit.is_some() => Standing::Failed,
        (None, _) => Standing::Inactive,
    };
    let exit = exit.map(|code| format!(", last exit code {code}")).unwrap_or_default();
    Answer { standing, words: format!("{state}{exit}") }
}

fn not_understood(unit: &Unit, said: &str) -> Refused {
    Refused {
        words: format!("launchctl answers what cannot be understood: {said}"),
        remedy: look(unit),
    }
}

/// It says no: in its words, with what may help.
fn refused(unit: &Unit, ran: &Ran) -> Refused {
    let said = if ran.stderr.trim().is_empty() { &ran.stdout } else { &ran.stderr };
    let words = match (said.trim().lines().next(), ran.code) {
        (Some(line), _) => line.trim().to_owned(),
        (None, Some(code)) => format!("launchctl exited with code {code} and said nothing"),
        (None, None) => "launchctl was killed".to_owned(),
    };
    let target = format!("{}/{}", domains()[0], unit.name);
    let remedy = match ran.code {
        Some(119) => format!("`launchctl enable {target}`, then try again"),
        Some(125) => "log in at the screen, or by ssh as this user: there is no domain here".into(),
        Some(_) | None => look(unit),
    };
    Refused { words, remedy }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    fn unit() -> Unit {
        Unit {
            kind: Kind::Launchd,
            app: "pair",
            name: "dev.pair.agent".into(),
            files: vec!["/L/dev.pair.agent.plist".into()],
            home: "/h".into(),
            executable: "/bin/pair".into(),
            version: None,
            edited: false,
        }
    }

    /// A launchd that is a script; `$1` is the word, `$2` and `$3` what is behind it. What it is told
    /// is recorded, and `loaded` beside it is the domain in which the job is.
    struct Fake {
        directory: tempfile::TempDir,
        launchctl: Launchctl,
    }

    /// What launchd does, as far as it is used; each test puts its own rules in front.
    const USUAL: &str = r#"
        where=$(cat "$dir/loaded" 2>/dev/null)
        case "$1" in
        print)
            test -n "$where" && test "$2" = "$where/dev.pair.agent" && cat "$dir/shown" && exit 0
            echo "Could not find service \"dev.pair.agent\" in domain" >&2; exit 113;;
        print-disabled) cat "$dir/disabled" 2>/dev/null; exit 0;;
        bootstrap)
            test -z "$where" || { echo "Bootstrap failed: 5: Input/output error" >&2; exit 5; }
            echo "$2" >"$dir/loaded";;
        bootout) rm "$dir/loaded";;
        esac"#;

    impl Fake {
        fn new(rules: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let dir = directory.path().display();
            let (aside, program) =
                (directory.path().join("text"), directory.path().join("launchctl"));
            let script =
                format!("#!/bin/sh\ndir={dir}\necho \"$*\" >>$dir/told\n{rules}\n{USUAL}\n");
            fs::write(&aside, script).unwrap();
            // Written by another process: a fork of another test's would keep it open (ETXTBSY, execve(2)).
            assert!(Command::new("cp").arg(&aside).arg(&program).status().unwrap().success());
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            let launchctl = Launchctl { program: program.into() };
            let fake = Self { directory, launchctl };
            fake.write("shown", "dev.pair.agent = {\n\tstate = not running\n}\n");
            fake
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.directory.path().join(name), text).unwrap();
        }

        fn loaded_in(self, kind: &str) -> Self {
            self.write("loaded", &format!("{kind}/{}\n", euid()));
            self
        }

        /// The words, with the uid and the names taken out.
        fn told(&self) -> Vec<String> {
            let told = fs::read_to_string(self.directory.path().join("told")).unwrap_or_default();
            let told = told.replace(&format!("/{}", euid()), "/UID");
            told.lines()
                .map(|line| {
                    line.replace("/L/dev.pair.agent.plist", "PLIST")
                        .replace("dev.pair.agent", "JOB")
                })
                .collect()
        }

        fn ask(&self) -> Answer {
            self.launchctl.ask(&unit(), soon()).unwrap()
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    const PRINTS: [&str; 2] = ["print gui/UID/JOB", "print user/UID/JOB"];

    #[test]
    fn it_is_loaded_where_the_screen_is() {
        let fake = Fake::new("");
        fake.launchctl.start(&unit(), soon()).unwrap();
        assert_eq!(fake.told(), [&PRINTS[..], &["bootstrap gui/UID PLIST"]].concat());
    }

    #[test]
    fn by_ssh_it_is_loaded_for_the_user() {
        let no = "Bootstrap failed: 125: Domain does not support specified action";
        let rule = format!("case \"$1 $2\" in 'bootstrap gui/'*) echo '{no}' >&2; exit 125;; esac");
        let fake = Fake::new(&rule);
        fake.launchctl.start(&unit(), soon()).unwrap();
        let tried = ["bootstrap gui/UID PLIST", PRINTS[0], PRINTS[1], "bootstrap user/UID PLIST"];
        assert_eq!(fake.told(), [&PRINTS[..], &tried].concat());
        // And is found there from then on.
        fake.launchctl.restart(&unit(), soon()).unwrap();
        let told = fake.told();
        assert_eq!(told[6..], [PRINTS[0], PRINTS[1], "kickstart -k user/UID/JOB"]);
    }

    #[test]
    fn error_5_of_what_is_loaded_already_is_no_failure() {
        // Another verb has loaded it since it was looked for.
        let rule = "if test \"$1\" = bootstrap; then echo \"$2\" >$dir/loaded; fi";
        let fake = Fake::new(rule);
        fake.launchctl.start(&unit(), soon()).unwrap();
        let then = ["bootstrap gui/UID PLIST", PRINTS[0], "kickstart gui/UID/JOB"];
        assert_eq!(fake.told(), [&PRINTS[..], &then].concat());
    }

    #[test]
    fn error_5_of_what_is_not_loaded_is_told_in_launchds_words() {
        let fake = Fake::new(
            "if test $1 = bootstrap; then echo 'Bootstrap failed: 5: Input/output error' >&2; exit 5; fi",
        );
        let refused = fake.launchctl.start(&unit(), soon()).unwrap_err();
        assert_eq!(refused.words, "Bootstrap failed: 5: Input/output error");
        assert!(refused.remedy.starts_with("launchctl print gui/"), "{refused:?}");
    }

    #[test]
    fn what_is_loaded_is_kicked_and_ended_where_it_is() {
        let fake = Fake::new("").loaded_in("user");
        fake.write("shown", "dev.pair.agent = {\n\tstate = running\n\tpid = 42\n}\n");
        fake.launchctl.start(&unit(), soon()).unwrap();
        fake.launchctl.stop(&unit(), soon()).unwrap();
        let found = &PRINTS[..];
        let expected =
            [found, &["kickstart user/UID/JOB"], found, &["kill SIGTERM user/UID/JOB"]].concat();
        assert_eq!(fake.told(), expected);
    }

    #[test]
    fn what_is_being_started_already_is_started() {
        let rule =
            "case \"$*\" in kickstart*) echo 'Operation already in progress' >&2; exit 37;; esac";
        let fake = Fake::new(rule).loaded_in("gui");
        fake.launchctl.start(&unit(), soon()).unwrap();
        let refused = fake.launchctl.restart(&unit(), soon()).unwrap_err();
        assert_eq!(refused.words, "Operation already in progress", "no other one has come");
    }

    #[test]
    fn what_does_not_run_is_not_ended() {
        let fake = Fake::new("").loaded_in("gui");
        fake.launchctl.stop(&unit(), soon()).unwrap();
        assert_eq!(fake.told(), [PRINTS[0]]);
    }

    #[test]
    fn it_is_out_when_it_is_out() {
        // As launchd does: it says that it is at it, and is through a moment later.
        let rule = "if test $1 = bootout && ! test -e $dir/once; then touch $dir/once; exit 36; fi";
        let fake = Fake::new(rule).loaded_in("gui");
        fake.launchctl.unload(&unit(), soon()).unwrap();
        let out = [PRINTS[0], "bootout gui/UID/JOB"];
        assert_eq!(fake.told(), [&out[..], &out, &PRINTS].concat());
        let stuck = Fake::new("test $1 = bootout && exit 36").loaded_in("gui");
        let until = Instant::now() + Duration::from_millis(300);
        let refused = stuck.launchctl.unload(&unit(), until).unwrap_err();
        assert!(refused.words.contains("in time"), "{refused:?}");
    }

    #[test]
    fn how_it_stands_is_told_in_launchds_words() {
        let fake = Fake::new("").loaded_in("gui");
        let stands = |shown: &str| {
            fake.write("shown", &format!("gui/501/dev.pair.agent = {{\n{shown}\t\tpid = 7\n}}\n"));
            let answer = fake.ask();
            (answer.standing, answer.words)
        };
        let (running, words) = stands("\tstate = running\n\tpid = 42\n");
        assert_eq!((running, words.as_str()), (Standing::Running { pid: 42 }, "running"));
        let idle = stands("\tstate = not running\n\tlast exit code = 0\n");
        assert_eq!(idle.0, Standing::Inactive);
        assert_eq!(
            stands("\tstate = not running\n\tlast exit code = (never exited)\n").0,
            Standing::Inactive
        );
        let failed = stands("\tstate = not running\n\tlast exit code = 78: EX_CONFIG\n");
        assert_eq!(failed.0, Standing::Failed);
        assert_eq!(failed.1, "not running, last exit code 78: EX_CONFIG");
        assert_eq!(stands("\tstate = spawn scheduled\n").0, Standing::Starting);
        assert_eq!(stands("garbage").0, Standing::Inactive);
    }

    #[test]
    fn what_is_not_loaded_may_be_disabled() {
        let fake = Fake::new("");
        assert_eq!(fake.ask().standing, Standing::NotLoaded);
        fake.write("disabled", "disabled services = {\n\t\"dev.pair.agent\" => disabled\n}\n");
        assert_eq!(fake.ask().standing, Standing::Masked);
        fake.write("disabled", "disabled services = {\n\t\"dev.pair.agent\" => enabled\n}\n");
        assert_eq!(fake.ask().standing, Standing::NotLoaded);
    }

    #[test]
    fn a_launchctl_that_hangs_or_is_not_there_is_told() {
        let hangs = Fake::new("exec sleep 1000");
        let until = Instant::now() + Duration::from_millis(200);
        let refused = hangs.launchctl.start(&unit(), until).unwrap_err();
        assert!(refused.words.contains("did not end in time"), "{refused:?}");
        let absent = Launchctl { program: "/nowhere/launchctl".into() };
        let refused = absent.ask(&unit(), soon()).unwrap_err();
        assert!(refused.words.contains("not installed"), "{refused:?}");
        assert!(refused.remedy.contains("pair uninstall"), "{refused:?}");
    }

    #[test]
    fn a_plist_that_is_not_understood_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.plist");
        let app = &crate::app::tests::APP;
        let why = |text: &str| {
            fs::write(&path, text).unwrap();
            match installed_at(app, &path) {
                Installed::Unreadable { why, .. } => why,
                other => panic!("{other:?}"),
            }
        };
        assert!(why("bplist00").contains("binary"));
        assert!(why("<plist><dict/></plist>").contains("ProgramArguments"));
        let foreign = "<plist><dict><key>ProgramArguments</key><array><string>/x</string></array></dict></plist>";
        assert!(why(foreign).contains("for which home"));
        fs::remove_file(&path).unwrap();
        assert_eq!(installed_at(app, &path), Installed::None);
    }
}
