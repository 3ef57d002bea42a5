//! `hearth install` where it is refused, and what it leaves then: nothing. The service manager is a
//! script in PATH.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hearth_tests::{Home, Ran, Verb};

/// A person's directory, a home in it, and a `systemctl` of the test's own.
struct Person {
    home: Home,
}

impl Person {
    fn new() -> Self {
        let home = Home::new();
        fs::create_dir(home.root().join("bin")).expect("a directory can be made");
        Self { home }
    }

    /// One whose `systemctl` is this script; what it is told stands in `told`.
    fn with(script: &str) -> Self {
        let person = Self::new();
        let told = person.home.root().join("told");
        person
            .program("systemctl", &format!("echo \"$*\" >>'{}'\n{script}\nexit 0", told.display()));
        person
    }

    fn program(&self, name: &str, script: &str) {
        let (aside, path) =
            (self.home.root().join("text"), self.home.root().join("bin").join(name));
        fs::write(&aside, format!("#!/bin/sh\n{script}\n")).expect("a file can be written");
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        // By another process: a fork of another test's would keep it open (ETXTBSY, execve(2)).
        assert!(Command::new("cp").arg(&aside).arg(&path).status().expect("cp").success());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(arguments);
        let path = format!("{}:/nowhere", self.home.root().join("bin").display());
        command.env("HOME", self.home.root()).env("PATH", path).env("SHELL", "/bin/sh");
        for name in
            ["CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"]
        {
            command.env_remove(name);
        }
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ran {
        finish(&mut self.command(arguments))
    }

    fn told(&self) -> String {
        fs::read_to_string(self.home.root().join("told")).unwrap_or_default()
    }

    fn units(&self) -> PathBuf {
        self.home.root().join(".config/systemd/user")
    }

    #[track_caller]
    fn nothing_is_written(&self) {
        assert!(!self.units().exists(), "{:?}", hearth_tests::files_below(&self.units()));
        assert!(!self.home.dir().exists(), "the home was made for nothing");
    }
}

#[track_caller]
fn finish(command: &mut Command) -> Ran {
    use std::process::Stdio;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Verb::of(command.spawn().expect("hearth runs")).finish()
}

/// As it answers of units that it does not know.
const KNOWS_NOTHING: &str = "case \"$*\" in *show*) printf 'Id=hearth-agent.service\\nLoadState=not-found\\n\
ActiveState=inactive\\nSubState=dead\\n\\nId=hearth-agent.socket\\nLoadState=not-found\\nActiveState=inactive\\n';; esac";

#[test]
fn in_ci_it_is_refused_unless_it_is_meant() {
    let person = Person::with(KNOWS_NOTHING);
    for name in ["CI", "GITHUB_ACTIONS", "JENKINS_URL"] {
        let ran = finish(person.command(&["install", "--json"]).env(name, "true")).exits(2);
        assert_eq!(ran.refusal()["code"], "usage");
        assert!(ran.refusal()["hint"].as_str().unwrap().contains("--force"), "{ran:?}");
        assert_eq!(person.told(), "", "nobody was asked for anything");
    }
    let off = finish(person.command(&["install", "--dry-run"]).env("CI", "false"));
    off.exits(0);
    finish(person.command(&["install", "--dry-run", "--force"]).env("CI", "true")).exits(0);
    person.nothing_is_written();
}

#[test]
fn without_a_manager_nothing_is_written_and_its_words_are_told() {
    let no_bus = "echo 'Failed to connect to bus: No medium found' >&2; exit 1";
    for (person, words) in [
        (Person::new(), "systemctl is not installed"),
        (Person::with(no_bus), "Failed to connect to bus: No medium found"),
        (Person::with("echo garbage"), "cannot be understood"),
        (Person::with("exec /bin/sleep 1000"), "did not end within"),
    ] {
        let ran = person.run(&["install", "--json"]).exits(3);
        let refusal = ran.refusal();
        assert_eq!(refusal["code"], "service-not-ready");
        assert!(refusal["message"].as_str().unwrap().contains(words), "{words}: {refusal}");
        assert!(refusal["hint"].as_str().unwrap().contains("verbs start the agent"), "{refusal}");
        assert_eq!(refusal["details"]["state"], "service-not-ready");
        person.nothing_is_written();
    }
}

#[test]
fn a_dry_run_shows_the_plan_also_where_an_install_would_be_refused() {
    for (person, ci, words) in [
        (Person::new(), "", "systemctl is not installed"),
        (Person::with("echo 'no bus' >&2; exit 1"), "", "no bus"),
        (Person::with(KNOWS_NOTHING), "true", "this is CI"),
    ] {
        let dry = |more: &[&str]| {
            let words = [&["install", "--dry-run"], more].concat();
            finish(person.command(&words).env("CI", ci)).exits(0)
        };
        let plan = dry(&[]);
        for shown in
            ["ListenStream=", "Type=notify", "run systemctl --user enable hearth-agent.socket"]
        {
            assert!(plan.stdout.contains(shown), "{shown}: {}", plan.stdout);
        }
        assert!(plan.stderr.contains("an install would be refused"), "{}", plan.stderr);
        assert!(plan.stderr.contains(words), "{words}: {}", plan.stderr);
        let told = dry(&["--json"]).json();
        let checks = told["checks"].as_array().unwrap();
        let refused = checks.iter().find(|check| check["name"] == "refused").expect("it is told");
        assert_eq!(refused["level"], "warning");
        assert!(refused["message"].as_str().unwrap().contains(words), "{refused}");
        person.nothing_is_written();
        let code = if ci.is_empty() { 3 } else { 2 };
        finish(person.command(&["install"]).env("CI", ci)).exits(code);
        person.nothing_is_written();
    }
}

#[test]
fn an_agent_that_does_not_come_is_told_in_the_managers_words_once() {
    let failed = KNOWS_NOTHING.replace("not-found", "loaded").replace(
        "ActiveState=inactive\\nSubState=dead\\n\\n",
        "ActiveState=failed\\nSubState=failed\\nResult=exit-code\\nExecMainCode=1\\nExecMainStatus=203\\n\\n",
    );
    let person = Person::with(&failed);
    let ran = person.run(&["install", "--json"]).exits(3);
    let message = ran.refusal()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("installed, but the agent does not answer"), "{message}");
    assert_eq!(message.matches("status=203/EXEC").count(), 1, "{message}");
    person.run(&["uninstall"]).exits(0);
    assert!(hearth_tests::files_below(&person.units()).is_empty());
}

#[test]
fn a_failure_half_way_says_what_was_done_and_how_to_go_on_or_back() {
    let fails =
        format!("{KNOWS_NOTHING}\ncase \"$*\" in *enable*) echo 'no, says it' >&2; exit 1;; esac");
    let person = Person::with(&fails);
    let ran = person.run(&["install"]).exits(3);
    for words in
        ["no, says it", "done so far:", "hearth-agent.service", "daemon-reload", "hearth uninstall"]
    {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    assert!(person.units().join("hearth-agent.socket").exists());
    // Back: also where the manager refuses all of it.
    person.program("systemctl", "echo 'Failed to connect to bus' >&2; exit 1");
    let ran = person.run(&["uninstall"]).exits(0);
    assert!(ran.stderr.contains("Failed to connect to bus"), "it is told: {}", ran.stderr);
    assert!(hearth_tests::files_below(&person.units()).is_empty());
}

#[test]
fn what_is_not_ours_is_not_written_over() {
    let person = Person::with(KNOWS_NOTHING);
    fs::create_dir_all(person.units()).unwrap();
    let path = person.units().join("hearth-agent.service");
    fs::write(&path, "[Service]\nExecStart=/usr/bin/hearth-of-somebody\n").unwrap();
    let ran = person.run(&["install", "--json"]).exits(2);
    assert_eq!(ran.refusal()["code"], "bad-config");
    assert!(ran.refusal()["hint"].as_str().unwrap().contains(".bak"), "{ran:?}");
    person.run(&["uninstall"]).exits(2);
    assert!(fs::read_to_string(&path).unwrap().contains("somebody"));
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    let ran = person.run(&["install", "--force", "--json"]).exits(3);
    assert!(ran.refusal()["hint"].as_str().unwrap().contains("unmask"), "{ran:?}");
    person.run(&["uninstall"]).exits(0);
    assert_eq!(fs::read_link(&path).unwrap(), Path::new("/dev/null"));
}

#[test]
fn under_sudo_nothing_is_left_in_a_persons_home() {
    if !hearth_tests::is_root("a home of another user's") {
        return;
    }
    let person = Person::with(KNOWS_NOTHING);
    std::os::unix::fs::chown(person.home.root(), Some(1234), None).unwrap();
    for verb in ["install", "uninstall"] {
        let ran = person.run(&[verb, "--json"]).exits(2);
        assert_eq!(ran.refusal()["code"], "forbidden");
        assert!(ran.refusal()["message"].as_str().unwrap().contains("uid 1234"), "{ran:?}");
        let hint = format!("as that user, without sudo: `hearth {verb}`");
        assert_eq!(ran.refusal()["hint"], hint);
    }
    std::os::unix::fs::chown(person.home.root(), Some(0), None).unwrap();
    person.nothing_is_written();
    assert_eq!(person.told(), "");
}

#[test]
fn an_executable_that_everybody_may_write_is_refused_and_one_that_does_not_stay_is_doubted() {
    let person = Person::with(KNOWS_NOTHING);
    let ran = person.run(&["install", "--dry-run", "--json"]).exits(0).json();
    let checks = ran["checks"].as_array().unwrap();
    let doubt = checks.iter().find(|check| check["name"] == "executable").expect("a build's");
    assert_eq!(doubt["level"], "warning");
    assert_ne!(doubt["remedy"], "");

    let copy = person.home.root().join("bin/hearth");
    assert!(Command::new("cp").arg(hearth_tests::hearth()).arg(&copy).status().unwrap().success());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o757)).unwrap();
    let mut command = Command::new(&copy);
    command.args(["install", "--json"]);
    for (name, value) in person.command(&[]).get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let ran = finish(&mut command).exits(2);
    assert_eq!(ran.refusal()["code"], "forbidden", "{ran:?}");
    person.nothing_is_written();
}

#[test]
fn lingering_without_logind_is_refused_before_anything_is_written() {
    let person = Person::with(KNOWS_NOTHING);
    let ran = person.run(&["install", "--linger", "--json"]).exits(3);
    assert!(ran.refusal()["message"].as_str().unwrap().contains("loginctl"), "{ran:?}");
    person.nothing_is_written();
    person.program("loginctl", "exit 0");
    let plan = person.run(&["install", "--linger", "--dry-run"]).exits(0);
    assert!(plan.stdout.contains("run loginctl enable-linger"), "{}", plan.stdout);
}

#[test]
fn a_login_shell_that_is_none_is_told_and_stops_nothing() {
    let person = Person::with(KNOWS_NOTHING);
    person.program("nologin", "echo 'This account is currently not available.'; exit 1");
    let shell = person.home.root().join("bin/nologin");
    let mut command = person.command(&["install", "--dry-run", "--json"]);
    let plan = finish(command.env("SHELL", &shell).env("SECRET_TOKEN", "x")).exits(0);
    let checks = plan.json()["checks"].clone();
    let told = checks.as_array().unwrap().iter().find(|it| it["name"] == "environment").unwrap();
    assert_eq!(told["level"], "warning");
    assert!(told["message"].as_str().unwrap().contains("did not tell"), "{told}");
    let plan = finish(person.command(&["install", "--dry-run"]).env("SECRET_TOKEN", "x"));
    assert!(!plan.stdout.contains("SECRET"), "{}", plan.stdout);
}

#[test]
fn of_what_is_not_installed_nothing_is_taken_away() {
    let person = Person::new();
    let ran = person.run(&["uninstall", "--json"]).exits(0);
    assert_eq!(ran.json()["steps"], serde_json::json!([]));
    assert!(!person.home.dir().exists());
}
