//! systemd's user manager: what stands where it looks for an app's units, and how it is spoken to.
//!
//! The units are `NAME-agent.service`, which runs the agent, and `NAME-agent.socket`, which listens for
//! it. What is in charge of which home is read from the service: `NAME_HOME` of its environment, where
//! it has one (an edit of a person's counts), else `Home=` of its section `[X-Name]`, which systemd
//! passes over (systemd.unit(5)). One without either says nothing of a home, and is in charge of none.

mod answer;
mod control;
mod text;

pub(super) use control::{Systemctl, find_the_manager, look};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use self::text::Entry;
use super::{Installed, Kind, Unit, seal};
use crate::App;
use crate::home::{base, tidy};

/// Where the units of a user stand: `$XDG_CONFIG_HOME/systemd/user`, else below `~/.config`.
pub(super) fn directory() -> Option<PathBuf> {
    base("XDG_CONFIG_HOME", ".config").map(|config| config.join("systemd/user"))
}

/// The name of the service, and behind it that of the socket.
pub(super) fn names(app: &App) -> [String; 2] {
    ["service", "socket"].map(|kind| format!("{}-agent.{kind}", app.name))
}

/// The section that systemd passes over: `X-Hearth`.
pub(super) fn section(app: &App) -> String {
    let mut letters = app.name.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("X-{first}{}", letters.as_str())
}

/// What stands there for `app`.
pub(super) fn installed(app: &App) -> Installed {
    directory().map_or(Installed::None, |directory| installed_in(app, &directory))
}

pub(super) fn installed_in(app: &App, directory: &Path) -> Installed {
    let [service, socket] = names(app).map(|name| directory.join(name));
    let mut texts = Vec::new();
    for path in [&service, &socket] {
        match found(path) {
            Ok(Found::Nothing) => {}
            Ok(Found::Masked) => return Installed::Masked(path.clone()),
            Ok(Found::Text(text)) => texts.push((path.clone(), text)),
            Err(error) => return unreadable(path, error.to_string()),
        }
    }
    match texts.first() {
        None => Installed::None,
        Some((path, _)) if *path == service => unit(app, texts),
        Some((path, _)) => {
            unreadable(path, format!("{} is not there, which it starts", service.display()))
        }
    }
}

fn unreadable(path: &Path, why: impl Into<String>) -> Installed {
    Installed::Unreadable { path: path.to_owned(), why: why.into() }
}

enum Found {
    Nothing,
    Masked,
    Text(String),
}

/// A link to `/dev/null` and an empty file are masks (systemd.unit(5)).
fn found(path: &Path) -> io::Result<Found> {
    match fs::read_link(path) {
        Ok(to) if to == Path::new("/dev/null") => return Ok(Found::Masked),
        // Where there is none, which is how it mostly is, one call tells.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Ok(_) | Err(_) => {}
    }
    match crate::kept::read(path) {
        Ok(bytes) if bytes.is_empty() => Ok(Found::Masked),
        Ok(bytes) => Ok(Found::Text(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

/// The unit of these files, the service first.
fn unit(app: &App, texts: Vec<(PathBuf, String)>) -> Installed {
    let Some((service, text)) = texts.first() else { return Installed::None };
    let mut entries = text::entries(text);
    let own = section(app);
    let said = |key: &str| {
        let found = entries.iter().rfind(|entry| entry.section == own && entry.key == key);
        found.map(|entry| entry.value.clone()).filter(|value| !value.is_empty())
    };
    let (home, version) = (said("Home"), said("Version"));
    entries.extend(drop_ins(service).iter().flat_map(|text| text::entries(text)));
    let here = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let home = environment(&entries, &app.var_name("HOME"), &here)
        .or_else(|| home.map(|home| text::specifiers(&home, &here)));
    let Some(home) = home.map(PathBuf::from).filter(|home| home.is_absolute()) else {
        let why = format!("it does not say for which home it is (`Home=` in [{own}])");
        return unreadable(service, why);
    };
    let Some(executable) = executable(&entries, &here) else {
        return unreadable(service, "it does not say what it runs (`ExecStart=` in [Service])");
    };
    Installed::Unit(Box::new(Unit {
        kind: Kind::Systemd,
        app: app.name,
        name: names(app)[0].clone(),
        home: tidy(&home),
        executable,
        version,
        edited: texts.iter().any(|(_, text)| seal::is_edited(text)),
        files: texts.into_iter().map(|(path, _)| path).collect(),
    }))
}

/// What people put beside it by `systemctl --user edit`, in the order in which it counts.
fn drop_ins(service: &Path) -> Vec<String> {
    let mut directory = service.as_os_str().to_owned();
    directory.push(".d");
    let mut paths: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    paths.sort();
    paths
        .iter()
        .filter_map(|path| crate::kept::read(path).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect()
}

fn of_service<'a>(entries: &'a [Entry], key: &'a str) -> impl Iterator<Item = &'a str> {
    let ours = move |entry: &&Entry| entry.section == "Service" && entry.key == key;
    entries.iter().filter(ours).map(|entry| entry.value.as_str())
}

/// The last value of a variable; an empty assignment takes back all before it.
fn environment(entries: &[Entry], name: &str, here: &Path) -> Option<String> {
    let mut value = None;
    for list in of_service(entries, "Environment") {
        if list.is_empty() {
            value = None;
        }
        for word in text::words(list).unwrap_or_default() {
            if let Some((key, rest)) = word.split_once('=')
                && key == name
            {
                value = Some(text::specifiers(rest, here));
            }
        }
    }
    value.filter(|value| !value.is_empty())
}

/// What the service runs, without the prefixes of systemd.service(5).
fn executable(entries: &[Entry], here: &Path) -> Option<PathBuf> {
    let line = of_service(entries, "ExecStart").filter(|line| !line.is_empty()).last()?;
    let word = text::words(line)?.into_iter().next()?;
    let path = word.trim_start_matches(['@', '-', ':', '+', '!']);
    Some(PathBuf::from(text::specifiers(path, here)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::APP;

    fn with(files: &[(&str, &str)]) -> (tempfile::TempDir, Installed) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.strip_prefix("-> ") {
                Some(to) => std::os::unix::fs::symlink(to, path).unwrap(),
                None => fs::write(path, text).unwrap(),
            }
        }
        let found = installed_in(&APP, directory.path());
        (directory, found)
    }

    fn home_of(files: &[(&str, &str)]) -> PathBuf {
        match with(files).1 {
            Installed::Unit(unit) => unit.home,
            other => panic!("{other:?}"),
        }
    }

    const SERVICE: &str = "pair-agent.service";
    const SOCKET: &str = "pair-agent.socket";
    const PLAIN: &str = "[Unit]\nDescription=x\n\n[Service]\nExecStart=\"/opt/my pair/pair\" daemon run\n\n\
        [X-Pair]\nHome=/var/lib/a b/\nVersion=1.2.3\n";

    #[test]
    fn a_service_says_its_home_its_version_and_what_it_runs() {
        let (directory, found) = with(&[(SERVICE, PLAIN), (SOCKET, "[Socket]\n")]);
        let expected = Unit {
            kind: Kind::Systemd,
            app: "pair",
            name: SERVICE.into(),
            files: [SERVICE, SOCKET].map(|name| directory.path().join(name)).to_vec(),
            home: "/var/lib/a b".into(),
            executable: "/opt/my pair/pair".into(),
            version: Some("1.2.3".into()),
            edited: true,
        };
        assert_eq!(found, Installed::Unit(Box::new(expected)));
    }

    #[test]
    fn the_environment_of_the_service_counts_before_what_it_was_installed_for() {
        let set = |lines: &str| PLAIN.replace("[X-Pair]", &format!("{lines}\n[X-Pair]"));
        let home = |lines: &str| home_of(&[(SERVICE, &set(lines))]);
        let variable = "PAIR_TEST_UNSET_HOME";
        assert_eq!(
            home(&format!("Environment=A=1 \"{variable}=/x 100%% y\"")),
            Path::new("/x 100% y")
        );
        assert_eq!(
            home(&format!("Environment={variable}=/a\nEnvironment={variable}=/b")),
            Path::new("/b")
        );
        assert_eq!(
            home(&format!("Environment={variable}=/a\nEnvironment=")),
            Path::new("/var/lib/a b")
        );
        assert_eq!(home(&format!("# Environment={variable}=/a")), Path::new("/var/lib/a b"));
    }

    #[test]
    fn what_was_put_beside_it_counts_too() {
        let beside = "[Service]\nEnvironment=PAIR_TEST_UNSET_HOME=/elsewhere\n";
        let one = ("pair-agent.service.d/10.conf", beside);
        let none = ("pair-agent.service.d/note.txt", beside);
        assert_eq!(home_of(&[(SERVICE, PLAIN), one]), Path::new("/elsewhere"));
        assert_eq!(home_of(&[(SERVICE, PLAIN), none]), Path::new("/var/lib/a b"));
    }

    #[test]
    fn what_is_masked_or_not_understood_is_in_charge_of_nothing() {
        assert_eq!(with(&[]).1, Installed::None);
        for mask in ["-> /dev/null", ""] {
            let (directory, found) = with(&[(SERVICE, mask), (SOCKET, "[Socket]\n")]);
            assert_eq!(found, Installed::Masked(directory.path().join(SERVICE)));
            let (directory, found) = with(&[(SERVICE, PLAIN), (SOCKET, mask)]);
            assert_eq!(found, Installed::Masked(directory.path().join(SOCKET)));
        }
        let faulty = |files: &[(&str, &str)]| match with(files).1 {
            Installed::Unreadable { why, .. } => why,
            other => panic!("{other:?}"),
        };
        let foreign = "[Service]\nExecStart=/bin/pair\n";
        assert!(faulty(&[(SERVICE, foreign)]).contains("for which home"));
        let relative = PLAIN.replace("/var/lib", "lib");
        assert!(faulty(&[(SERVICE, &relative)]).contains("for which home"));
        assert!(faulty(&[(SERVICE, &PLAIN.replace("ExecStart", "Exec"))]).contains("ExecStart"));
        assert!(faulty(&[(SOCKET, "[Socket]\n")]).contains(SERVICE));
        assert!(!faulty(&[("pair-agent.service/x", "")]).is_empty(), "a directory");
        let dangling = with(&[(SERVICE, "-> /nowhere/at/all")]).1;
        assert_eq!(dangling, Installed::None, "{dangling:?}");
    }

    #[test]
    fn one_that_is_as_it_was_written_is_not_edited() {
        let sealed = |text: &str| format!("{text}{}{}\n", seal::SUM, seal::checksum(text));
        let (service, socket) = (sealed(PLAIN), sealed("[Socket]\n[X-Pair]\n"));
        let edited =
            |service: &str, socket: &str| match with(&[(SERVICE, service), (SOCKET, socket)]).1 {
                Installed::Unit(unit) => unit.edited,
                other => panic!("{other:?}"),
            };
        assert!(!edited(&service, &socket));
        assert!(edited(&service, "[Socket]\n"));
        assert!(edited(&service.replace("1.2.3", "1.2.4"), &socket));
    }
}
