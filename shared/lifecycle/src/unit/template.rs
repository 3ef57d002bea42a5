//! The files of a unit, from the templates in `templates/`.
//!
//! Kept true here: whatever stands in a home's or an executable's path, the manager reads the same
//! path again: a `%` is no specifier, a space no end of a word, a `"` or `\` no syntax. What no
//! escape brings through (a line's end, bytes that are not UTF-8) is refused before anything is
//! written.

use std::path::{Path, PathBuf};

use super::{Kind, stamp};
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
        ("@LABEL@", app.label),
        ("@ARGUMENTS@", &arguments.join("\n")),
        ("@ENVIRONMENT@", &environment.join("\n")),
        ("@LOG@", &xml(&wanted.home.log().to_string_lossy())),
    ];
    let text = filled(include_str!("../../templates/agent.plist"), &values);
    File {
        path: directory.join(format!("{}.plist", app.label)),
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
    if home.is_given() {
        return vec![(app.var_name("HOME"), text(home.dir()))];
    }
    let above = |path: &Path| path.parent().map(text).unwrap_or_default();
    let config = home.config().parent().unwrap_or(home.config());
    vec![
        ("XDG_STATE_HOME".to_owned(), above(home.dir())),
        ("XDG_CONFIG_HOME".to_owned(), above(config)),
    ]
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
