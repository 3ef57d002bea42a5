//! The files of a unit, from the templates in `templates/`.
//!
//! Kept true here: whatever stands in a home's or an executable's path, the manager reads the same
//! path again: a `%` is no specifier, a space no end of a word, a `"` or `\` no syntax. What no
//! escape brings through (a line's end, bytes that are not UTF-8) is refused before anything is
//! written.

use std::env;
use std::path::{Path, PathBuf};

use super::{Kind, stamp};
use crate::app::Sockets;
use crate::{App, Home};

/// What is to be written into a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// For whom.
    pub kind: Kind,
    /// The home that it is to carry.
    pub home: Home,
    /// What is to be executed.
    pub executable: PathBuf,
    /// Variables of the agent, beside those that name the home.
    pub environment: Vec<(String, String)>,
}

/// A file that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub text: String,
}

/// A path that no manager can be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} cannot stand in a unit: {why}")]
pub struct Unwritable {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub why: &'static str,
}

/// A unit's files, the one that runs the agent first.
///
/// Errors: a path that cannot be written into a unit.
pub fn render(app: &App, wanted: &Wanted, directory: &Path) -> Result<Vec<File>, Unwritable> {
    let home = &wanted.home;
    let socket = home.socket();
    for path in [home.dir(), home.config(), &socket, &wanted.executable, directory] {
        tellable(path)?;
    }
    let mut environment = of_home(app, home);
    let pinned: Vec<_> = environment.iter().map(|(name, _)| name.clone()).collect();
    let others = wanted.environment.iter().filter(|(name, _)| !pinned.contains(name));
    environment.extend(others.filter(|(name, value)| is_plain(name) && is_plain(value)).cloned());
    Ok(match wanted.kind {
        Kind::Systemd => systemd(app, wanted, directory, &environment),
        Kind::Launchd => vec![launchd(app, wanted, directory, &environment)],
    })
}

fn systemd(
    app: &App,
    wanted: &Wanted,
    directory: &Path,
    environment: &[(String, String)],
) -> Vec<File> {
    let line =
        |(name, value): &(String, String)| format!("Environment=\"{name}={}\"", escaped(value));
    let environment: Vec<_> = environment.iter().map(line).collect();
    // No quotes here, and no escapes: the line is the path, but for specifiers.
    let listen = wanted.home.socket().display().to_string().replace('%', "%%");
    let values = [
        ("@NAME@", app.name),
        ("@SOCKET@", &listen),
        ("@ENVIRONMENT@", &environment.join("\n")),
        ("@COMMAND@", &command(&wanted.executable, app.run_args)),
    ];
    let file = |suffix: &str, template: &str| File {
        path: directory.join(format!("{}-agent.{suffix}", app.name)),
        text: stamp::on_unit(app, &filled(template, &values), wanted.home.dir()),
    };
    vec![
        file("service", include_str!("../../templates/agent.service")),
        file("socket", include_str!("../../templates/agent.socket")),
    ]
}

fn launchd(app: &App, wanted: &Wanted, directory: &Path, environment: &[(String, String)]) -> File {
    let executable = wanted.executable.to_string_lossy();
    let arguments = [&*executable].into_iter().chain(app.run_args.iter().copied());
    let arguments: Vec<_> =
        arguments.map(|word| format!("\t\t<string>{}</string>", xml(word))).collect();
    let pair = |(name, value): &(String, String)| {
        format!("\t\t<key>{}</key>\n\t\t<string>{}</string>", xml(name), xml(value))
    };
    let environment: Vec<_> = environment.iter().map(pair).collect();
    let values = [
        ("@NAME@", app.name),
        ("@LABEL@", &app.launchd_label()),
        ("@ARGUMENTS@", &arguments.join("\n")),
        ("@ENVIRONMENT@", &environment.join("\n")),
        ("@LOG@", &xml(&wanted.home.log().to_string_lossy())),
    ];
    let text = filled(include_str!("../../templates/agent.plist"), &values);
    File {
        path: directory.join(format!("{}.plist", app.launchd_label())),
        text: stamp::on_plist(app, &text, wanted.home.dir()),
    }
}

/// In one pass: a value that looks like a placeholder stays what it is.
fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let (mut text, mut rest) = (String::new(), template);
    while let Some(at) = rest.find('@') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = values.iter().find(|(name, _)| rest.starts_with(name));
        let (value, length) = known.map_or(("@", 1), |(name, value)| (*value, name.len()));
        text.push_str(value);
        rest = &rest[length..];
    }
    text + rest
}

/// The variables of which the same home and configuration come again. `PREFIX_HOME` moves the
/// configuration too, so it is there only where it was given.
fn of_home(app: &App, home: &Home) -> Vec<(String, String)> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    // The manager listens where this install has found it, whatever it gives its processes later.
    let runtime = match app.sockets {
        Sockets::Home => None,
        Sockets::RuntimeDirectory => env::var("XDG_RUNTIME_DIR").ok(),
    };
    let runtime = runtime.map(|base| ("XDG_RUNTIME_DIR".to_owned(), base));
    if home.is_given() {
        return [(app.var_name("HOME"), text(home.dir()))].into_iter().chain(runtime).collect();
    }
    let above = |path: &Path| path.parent().map(text).unwrap_or_default();
    let config = home.config().parent().unwrap_or(home.config());
    let bases = [
        ("XDG_STATE_HOME".to_owned(), above(home.dir())),
        ("XDG_CONFIG_HOME".to_owned(), above(config)),
    ];
    bases.into_iter().chain(runtime).collect()
}

fn tellable(path: &Path) -> Result<(), Unwritable> {
    let refused = |why| Err(Unwritable { path: path.to_owned(), why });
    match path.to_str() {
        None => refused("it is not UTF-8"),
        Some(text) if !is_plain(text) => refused("it has a control character"),
        // systemd takes white space off a line's ends, and XML's readers may.
        Some(text) if text.trim() != text => refused("it ends in white space"),
        // There it would go on with the next line.
        Some(text) if text.ends_with('\\') => refused("it ends in a backslash"),
        Some(_) => Ok(()),
    }
}

fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// A command line (systemd.service(5), "COMMAND LINES"): quotes, C escapes and specifiers hold for
/// all of it, variables for its arguments alone.
fn command(executable: &Path, arguments: &[&str]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,=".contains(c);
    let text = executable.to_string_lossy();
    let mut line =
        if text.chars().all(plain) { text.into_owned() } else { format!("\"{}\"", escaped(&text)) };
    for argument in arguments {
        line.push(' ');
        line.push_str(argument);
    }
    line
}

/// For between double quotes, with specifiers as what they are written as (systemd.syntax(7)).
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")
}

/// Character data of XML.
fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::APP;
    use crate::unit::{Installed, launchd, systemd};

    /// Whatever a path may hold that means something to a manager.
    const ODD: &str = "/h/a b/%h%%/\"q\"'s/\\x20\\/$X/é 火/<&>--x---y/@NAME@/@SOCKET@;#z";

    fn wanted(kind: Kind, home: &str, executable: &str) -> Wanted {
        Wanted {
            kind,
            home: Home::resolve(&APP, Some(Path::new(home))).unwrap(),
            executable: executable.into(),
            environment: vec![
                ("PATH".into(), "/my bin:/usr/bin:/50%:/\"q\\".into()),
                // It would be a line of its own.
                ("LC_X".into(), "a\nExecStart=/bin/evil".into()),
                ("PAIR_TEST_UNSET_HOME".into(), "/not/this/one".into()),
            ],
        }
    }

    fn rendered(wanted: &Wanted) -> Vec<File> {
        render(&APP, wanted, Path::new("/units")).unwrap()
    }

    #[test]
    fn a_service_says_what_it_says_for_its_reasons() {
        let files = rendered(&wanted(Kind::Systemd, "/h", "/usr/bin/pair"));
        let names: Vec<_> = files.iter().map(|file| file.path.to_str().unwrap()).collect();
        assert_eq!(names, ["/units/pair-agent.service", "/units/pair-agent.socket"]);
        let service = &files[0].text;
        for (line, reason) in [
            ("Type=notify", "what depends on it waits until it serves"),
            ("NotifyAccess=main", "its services must not speak for it"),
            ("ExecStart=/usr/bin/pair daemon run", "a plain path needs no quotes"),
            (
                "Environment=\"PAIR_TEST_UNSET_HOME=/h\"",
                "the home it was installed for, and no other",
            ),
            ("Environment=\"PATH=/my bin:/usr/bin:/50%%:/\\\"q\\\\\"", "escaped"),
            ("Restart=on-failure", "idle exit is no failure: the socket brings it back"),
            ("RestartSec=50ms", "verbs wait meanwhile"),
            ("StartLimitIntervalSec=0", "a kill loop must not end it"),
            ("RestartPreventExitStatus=1 2 3 200 203", "permanent errors must not loop"),
            ("KillMode=process", "shims outlive it"),
            ("OOMPolicy=continue", "a service that the kernel kills takes nobody with it"),
            (
                "TimeoutStopSec=110s",
                "services end in order at logout, within user@.service's 120 s",
            ),
            ("Requires=pair-agent.socket", "the socket restarted, it is restarted with it"),
            ("WantedBy=default.target", "for services that are up again after a boot"),
            ("Home=/h", "who is in charge of what is read from files alone"),
            ("Version=1.0.0", "an older one is told and written anew"),
        ] {
            assert!(service.lines().any(|found| found == line), "{line}: {reason}\n{service}");
        }
        assert!(!service.contains("evil"), "{service}");
        assert!(!service.contains("/not/this"), "{service}");
        let socket = &files[1].text;
        for (line, reason) in [
            ("ListenStream=/h/agent.sock", "the path that verbs connect to"),
            ("SocketMode=0600", "nobody else's"),
            ("DirectoryMode=0700", "nor the directory, where systemd makes it"),
            ("Backlog=4096", "as many verbs may wait"),
            ("RemoveOnStop=yes", "no dead socket is left"),
            ("TriggerLimitIntervalSec=10s", "an executable that is gone must not spin"),
            ("TriggerLimitBurst=100", "a kill loop must not trip it"),
            ("WantedBy=sockets.target", "there from login on"),
        ] {
            assert!(socket.lines().any(|found| found == line), "{line}: {reason}\n{socket}");
        }
        for file in files {
            let left = file.text.lines().find(|line| line.contains('@'));
            assert_eq!(left, None, "everything was filled in");
        }
    }

    #[test]
    fn a_home_by_default_is_not_named_for_that_would_move_the_configuration() {
        let home = Home::resolve(&APP, None).unwrap();
        let state = home.dir().parent().unwrap().display().to_string();
        let wanted = Wanted { home, ..wanted(Kind::Systemd, "/h", "/usr/bin/pair") };
        let service = &rendered(&wanted)[0].text;
        assert!(service.contains(&format!("Environment=\"XDG_STATE_HOME={state}\"")), "{service}");
        assert!(service.contains("Environment=\"XDG_CONFIG_HOME="), "{service}");
        assert!(!service.contains("Environment=\"PAIR_TEST_UNSET_HOME=/h"), "{service}");
    }

    #[test]
    fn what_was_written_is_read_again_whatever_stands_in_the_paths() {
        for kind in [Kind::Systemd, Kind::Launchd] {
            for path in ["/h", ODD] {
                let executable = format!("{path}/pair");
                let dir = tempfile::tempdir().unwrap();
                let files = render(&APP, &wanted(kind, path, &executable), dir.path()).unwrap();
                for file in &files {
                    std::fs::write(&file.path, &file.text).unwrap();
                }
                let found = match kind {
                    Kind::Systemd => systemd::installed_in(&APP, dir.path()),
                    Kind::Launchd => launchd::installed_at(&APP, &files[0].path),
                };
                let Installed::Unit(unit) = found else { panic!("{found:?}\n{files:#?}") };
                assert_eq!((unit.home, unit.executable), (path.into(), executable.into()));
                assert_eq!((unit.version.as_deref(), unit.edited), (Some("1.0.0"), false));
            }
        }
    }

    #[test]
    fn what_no_escape_brings_through_is_refused() {
        for (home, why) in [
            ("/a\nb", "a control character"),
            ("/a ", "ends in white space"),
            ("/a\\", "ends in a backslash"),
        ] {
            for kind in [Kind::Systemd, Kind::Launchd] {
                let refused = render(&APP, &wanted(kind, home, "/bin/pair"), Path::new("/units"));
                assert!(refused.unwrap_err().to_string().contains(why));
                let refused = render(&APP, &wanted(kind, "/h", home), Path::new("/units"));
                assert!(refused.unwrap_err().to_string().contains(why));
            }
        }
    }
}
