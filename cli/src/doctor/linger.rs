//! What becomes of the agent and its services at logout: systemd's user manager ends with the last
//! session of its user, unless that user *lingers*, and logind may end what else the sessions have left.
//!
//! Told by logind's own files: asking it would take a bus.

use std::fs;
use std::path::{Path, PathBuf};

use hearth_lifecycle::Home;
use hearth_lifecycle::unit::{self, Kind};
use hearth_process::facts;

use super::saved;
use crate::app;
use crate::finding::Finding;

/// Its findings.
pub const NAMES: &[&str] = &["linger"];

/// Looks.
pub fn look(home: &Home) -> Vec<Finding> {
    let unit = unit::in_charge(app(), home);
    let by_systemd = unit.is_some_and(|unit| unit.kind == Kind::Systemd);
    vec![found(by_systemd, saved::any_enabled(home))]
}

fn found(in_charge: bool, enabled: bool) -> Finding {
    const NAME: &str = "linger";
    if !Path::new("/run/systemd/system").is_dir() {
        return Finding::ok(NAME, "no logind here, which would end something at logout");
    }
    let lingers = lingers(Path::new("/var/lib/systemd/linger"));
    let kills = kills_user_processes(&DIRECTORIES.map(PathBuf::from));
    let remedy = "where services are to outlive that: `loginctl enable-linger`";
    match (lingers, in_charge, kills) {
        (true, ..) => Finding::ok(NAME, "agent and services stay after logout (lingering)"),
        (false, true, _) => Finding::warning(
            NAME,
            "at the last logout the service manager ends the agent, and the services with it",
            remedy,
        ),
        (false, false, true) => {
            let why = "logind ends all processes of a session at logout (KillUserProcesses)";
            match enabled {
                true => Finding::warning(NAME, why, remedy),
                false => Finding::ok(NAME, format!("{why}; {remedy}")),
            }
        }
        (false, false, false) => Finding::ok(NAME, "logind leaves processes alone at logout"),
    }
}

/// Whether there is a file of the name of our user: logind keeps one for each who lingers.
fn lingers(directory: &Path) -> bool {
    let own = rustix::process::getuid().as_raw();
    let names = fs::read_dir(directory).into_iter().flatten().flatten();
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .any(|name| facts::user_by_name(&name).is_ok_and(|user| user.uid == own))
}

/// Where logind.conf(5) is read from; a later one wins, and drop-ins win over the file.
const DIRECTORIES: [&str; 4] =
    ["/usr/lib/systemd", "/usr/local/lib/systemd", "/run/systemd", "/etc/systemd"];

fn kills_user_processes(directories: &[PathBuf]) -> bool {
    let mut files: Vec<_> = directories.iter().map(|dir| dir.join("logind.conf")).collect();
    let mut more: Vec<PathBuf> = directories
        .iter()
        .flat_map(|dir| fs::read_dir(dir.join("logind.conf.d")).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "conf"))
        .collect();
    more.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    files.extend(more);
    let said = files.iter().filter_map(|path| fs::read_to_string(path).ok());
    said.filter_map(|text| setting(&text)).next_back().unwrap_or(false)
}

/// The last word of one file.
fn setting(text: &str) -> Option<bool> {
    let mut values = text.lines().filter_map(|line| {
        let (key, value) = line.trim().split_once('=')?;
        (key.trim() == "KillUserProcesses").then(|| value.trim().to_ascii_lowercase())
    });
    values
        .next_back()
        .map(|value| matches!(value.as_str(), "yes" | "true" | "1" | "on" | "y" | "t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_about_processes_at_logout_holds() {
        let dir = tempfile::tempdir().expect("a directory");
        let (usr, etc) = (dir.path().join("usr"), dir.path().join("etc"));
        let places = [usr.clone(), etc.clone()];
        assert!(!kills_user_processes(&places), "no file");
        fs::create_dir_all(usr.join("logind.conf.d")).expect("a directory");
        fs::create_dir_all(&etc).expect("a directory");
        fs::write(usr.join("logind.conf"), "[Login]\n#KillUserProcesses=no\n").expect("a file");
        assert!(!kills_user_processes(&places), "a comment");
        fs::write(etc.join("logind.conf"), "[Login]\nKillUserProcesses = yes\n").expect("a file");
        assert!(kills_user_processes(&places));
        fs::write(usr.join("logind.conf.d/9.conf"), "[Login]\nKillUserProcesses=no\n")
            .expect("a file");
        assert!(!kills_user_processes(&places), "a drop-in wins");
    }
}
