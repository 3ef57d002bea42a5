//! A doctor's report, and the surroundings in which it is asked for.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use hearth_tests::{Home, Ran};
use serde_json::Value;

/// No look takes longer, whatever hangs; a machine that does other things is given some more.
const SOON: Duration = Duration::from_secs(15);

/// What it said.
pub struct Report {
    pub ran: Ran,
    pub json: Value,
}

/// `hearth doctor --json`, in a place where nothing is installed: no unit, no `hearth` in PATH, no shell.
pub fn command(home: &Home) -> Command {
    around(home, home.command(&["doctor", "--json"]))
}

/// The same surroundings for another command.
pub fn around(home: &Home, mut command: Command) -> Command {
    let dir = home.root().join("person");
    fs::create_dir_all(&dir).expect("a directory");
    command.env("HOME", &dir).env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh");
    for name in ["XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "HEARTH_HOOK", "ZDOTDIR"] {
        command.env_remove(name);
    }
    command
}

/// Where the units of [`command`]'s person stand.
pub fn units(home: &Home) -> PathBuf {
    home.root().join("person/.config/systemd/user")
}

#[track_caller]
pub fn doctor(home: &Home) -> Report {
    report(&mut command(home))
}

#[track_caller]
pub fn report(command: &mut Command) -> Report {
    let began = Instant::now();
    let ran = Ran::of(&command.output().expect("hearth runs"));
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
    assert_eq!(ran.stderr, "", "{ran:?}");
    let report = Report { json: ran.json(), ran };
    report.is_sound();
    report
}

impl Report {
    /// The shape that the contract gives it.
    #[track_caller]
    fn is_sound(&self) {
        let keys = |value: &Value| {
            value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(keys(&self.json), ["findings", "ok"]);
        let mut faults = 0;
        for finding in self.findings() {
            assert_eq!(keys(finding), ["level", "message", "name", "remedy"], "{finding}");
            assert_ne!(finding["message"], "", "{finding}");
            let remedy = finding["remedy"].as_str().expect("a string");
            match finding["level"].as_str().expect("a level") {
                "ok" => assert_eq!(remedy, "", "{finding}"),
                "warning" => assert_ne!(remedy, "", "{finding}"),
                "fault" => {
                    assert_ne!(remedy, "", "{finding}");
                    faults += 1;
                }
                other => panic!("{other}: {finding}"),
            }
        }
        assert_eq!(self.json["ok"], faults == 0);
        assert_eq!(self.ran.code, Some(i32::from(faults > 0)));
    }

    pub fn findings(&self) -> &[Value] {
        self.json["findings"].as_array().expect("findings")
    }

    #[track_caller]
    pub fn of(&self, name: &str) -> &Value {
        let found = self.findings().iter().find(|finding| finding["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not among the findings"))
    }

    /// That finding has this level, and says all these words.
    #[track_caller]
    pub fn says(&self, name: &str, level: &str, words: &[&str]) -> &Self {
        let finding = self.of(name);
        assert_eq!(finding["level"], level, "{finding}");
        let text = format!("{} {}", finding["message"], finding["remedy"]);
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {finding}");
        }
        self
    }

    /// Names of all that has this level.
    pub fn names_of(&self, level: &str) -> Vec<&str> {
        let those = self.findings().iter().filter(|finding| finding["level"] == level);
        those.map(|finding| finding["name"].as_str().expect("a name")).collect()
    }
}
