//! The verbs `install` and `uninstall` of the library, with systemd's user manager in charge of a pair that
//! is not hearth: `packaging/with-user-systemd cargo test -p notes --test under_systemd -- --ignored`.

use std::process::{Command, Output};

use hearth_lifecycle::testing::ThrowAwayHome;
use hearth_lifecycle::{App, Signal};
use serde_json::Value;

const NOTES: App = App::new("notes", env!("CARGO_PKG_VERSION"));

/// Takes the units back whatever becomes of the test: a manager that listens for a home that is gone would
/// start agents for nobody.
struct Installed<'a>(&'a ThrowAwayHome);

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        let _ = notes(self.0, &["uninstall"]).output();
    }
}

fn notes(home: &ThrowAwayHome, arguments: &[&str]) -> Command {
    let mut command = home.command(env!("CARGO_BIN_EXE_notes"));
    // CI is where nobody logs in, and so nothing is installed unless it is meant.
    command.args(arguments).env_remove("CI");
    command
}

fn run(home: &ThrowAwayHome, arguments: &[&str]) -> Output {
    notes(home, arguments).output().unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn status(home: &ThrowAwayHome) -> Value {
    serde_json::from_str(&said(&run(home, &["daemon", "status", "--json"]))).unwrap()
}

#[test]
#[ignore = "needs systemd's user manager: run by packaging/with-user-systemd"]
fn the_manager_runs_it_and_verbs_start_nothing_themselves() {
    let home = ThrowAwayHome::new(&NOTES);
    said(&run(&home, &["list"]));
    let own = home.agent().unwrap().process.pid;
    let _installed = Installed(&home);
    said(&run(&home, &["install"]));
    let managed = status(&home);
    assert_eq!(
        (&managed["state"], &managed["manager"]["unit"]),
        (&"up".into(), &"notes-agent.service".into())
    );
    assert_ne!(managed["pid"], own, "the one that a verb had started was ended first");
    // Killed, it is back for whoever comes; what it had in memory is gone.
    said(&run(&home, &["add", "x"]));
    home.signal(Signal::KILL);
    assert_eq!(said(&run(&home, &["list"])), "");
    let back = status(&home);
    assert_ne!(back["pid"], managed["pid"]);
    said(&run(&home, &["daemon", "restart"]));
    assert_ne!(status(&home)["pid"], back["pid"]);
    // Again: nothing is written that is as it is to be.
    let again = run(&home, &["install"]);
    let words = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.success() && words.contains("unchanged"), "{words}");
    said(&run(&home, &["uninstall"]));
    let gone = run(&home, &["daemon", "status", "--json"]);
    assert_eq!(gone.status.code(), Some(3), "its manager has ended it");
    said(&run(&home, &["list"]));
    assert!(status(&home).get("manager").is_none());
}
