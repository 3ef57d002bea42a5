//! What the agent keeps over its own end: its state, and what is to be up after a boot.

use std::fs;
use std::io;
use std::path::PathBuf;

use hearth_config::LoadError;
use hearth_lifecycle::{Home, typed};

use crate::finding::Finding;

/// Its findings.
pub const NAMES: &[&str] = &["state", "enabled"];

/// As much of `state.json` as is told.
#[derive(serde::Deserialize)]
struct State {
    services: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    at_boot: Boot,
}

#[derive(Default, serde::Deserialize)]
struct Boot {
    #[serde(default)]
    enabled: Vec<Enabled>,
}

/// What is up again after a boot.
#[derive(serde::Deserialize)]
pub struct Enabled {
    /// Of this project.
    project: PathBuf,
    services: Vec<String>,
}

/// Looks.
pub fn look(home: &Home) -> Vec<Finding> {
    let read = read(home);
    let enabled = enabled(read.as_ref().ok().and_then(Option::as_ref));
    vec![state(home, read), enabled]
}

/// Whether services are to be up after a boot.
pub fn any_enabled(home: &Home) -> bool {
    read(home).ok().flatten().is_some_and(|state| !state.at_boot.enabled.is_empty())
}

fn read(home: &Home) -> Result<Option<State>, String> {
    match hearth_lifecycle::kept::read(&home.dir().join("state.json")) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn state(home: &Home, read: Result<Option<State>, String>) -> Finding {
    const NAME: &str = "state";
    let shown = home.dir().join("state.json");
    let aside = home.dir().join("state.json.bad");
    match read {
        // What is no file the agent does not set aside, and over a directory it cannot save.
        Err(why) if fs::symlink_metadata(&shown).is_ok_and(|found| !found.is_file()) => {
            Finding::fault(
                NAME,
                format!("{} can't be read: {why}", shown.display()),
                format!("look at it, then `rm -r {}`", typed(&shown)),
            )
        }
        Err(why) if rustix::fs::access(&shown, rustix::fs::Access::READ_OK).is_err() => {
            Finding::fault(
                NAME,
                format!("{} can't be read: {why}", shown.display()),
                "see whose it is: `ls -ld`",
            )
        }
        Err(why) => Finding::warning(
            NAME,
            format!("{} can't be understood: {why}", shown.display()),
            "services that run are found without it: `hearth daemon restart` sets it aside and writes it anew",
        ),
        Ok(_) if fs::symlink_metadata(&aside).is_ok() => Finding::warning(
            NAME,
            format!("{} was damaged, or of a newer version, and was set aside", aside.display()),
            format!(
                "look whether `hearth status --all` is as it should be, then `rm {}`",
                typed(&aside)
            ),
        ),
        Ok(None) => Finding::ok(NAME, "nothing is saved yet"),
        Ok(Some(state)) => {
            Finding::ok(NAME, format!("{} services are known", state.services.len()))
        }
    }
}

/// The agent goes by the files of the projects at that time: one that is faulty brings nothing up.
fn enabled(state: Option<&State>) -> Finding {
    let all = state.map_or(&[][..], |state| &state.at_boot.enabled);
    let mut wrong = Vec::new();
    for Enabled { project, services } in all {
        let shown = project.display();
        let own = rustix::process::geteuid().as_raw();
        let mut lost: Vec<_> = services.iter().map(String::as_str).collect();
        let dir = typed(project);
        let config = format!("`hearth -C {dir} config check`, or `hearth -C {dir} disable`");
        let (why, remedy) = match hearth_config::load(project) {
            // As the agent looks at it at a boot.
            Ok(_) if let Err(refused) = hearth_config::check_ownership(project, own) => {
                (refused.to_string(), config)
            }
            Ok(found) => {
                lost.retain(|name| found.services.iter().all(|it| it.name != **name));
                if lost.is_empty() {
                    continue;
                }
                let disable = format!("`hearth -C {dir} disable {}`", lost.join(" "));
                ("its file has no such service".to_owned(), disable)
            }
            Err(LoadError::Missing { .. }) => (
                "it has no hearth.toml any more".to_owned(),
                format!("`hearth -C {dir} disable`, and `hearth enable` where it is now"),
            ),
            Err(_) => ("its hearth.toml can't be read or understood".to_owned(), config),
        };
        let names = lost.join(", ");
        wrong.push((
            format!("{names} of {shown} are to be up after a boot, and will not: {why}"),
            remedy,
        ));
    }
    let words =
        all.iter().map(|it| format!("{} of {}", it.services.join(", "), it.project.display()));
    let words = words.collect::<Vec<_>>().join("; ");
    let words = match words.is_empty() {
        true => "nothing is to be up after a boot (`hearth enable`)".to_owned(),
        false => format!("up again after a boot: {words}"),
    };
    Finding::all("enabled", wrong, words)
}
