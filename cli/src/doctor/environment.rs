//! The environment of this command: what decides which home it is, and what of it is not as one thinks.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearth_lifecycle::unit::{self, Kind};
use hearth_lifecycle::{Home, Knock, Request, Running, knock, running};
use hearth_process::{ProcessId, ancestors, facts};

use crate::finding::Finding;
use crate::{app, session};

/// Its findings.
pub const NAMES: &[&str] =
    &["environment-user", "environment-directories", "environment-hearth", "environment-service"];

/// What of ours means something; `HEARTH_NAME_PORT` is what `with` gives.
const KNOWN: [&str; 4] = ["HOME", "NO_AUTOSPAWN", "SESSION", "HOOK"];

const PATIENCE: Duration = Duration::from_secs(1);

/// Looks.
pub fn look(home: &Home) -> Vec<Finding> {
    vec![user(), directories(home), ours(home), service()]
}

fn user() -> Finding {
    const NAME: &str = "environment-user";
    let own = rustix::process::geteuid();
    let Some(home) = env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
    else {
        return Finding::warning(
            NAME,
            "HOME is not set to an absolute path: without HEARTH_HOME there is no home",
            "`export HOME=...`, as a login does",
        );
    };
    let shown = home.display();
    match fs::metadata(&home) {
        Ok(found) if found.uid() != own.as_raw() => {
            let sudo = env::var_os("SUDO_UID").is_some() || own.is_root();
            let remedy = match sudo {
                true => "without `sudo`; or `sudo -H`, which takes root's own home".to_owned(),
                false => "set HOME to a directory of yours".to_owned(),
            };
            Finding::warning(
                NAME,
                format!(
                    "we are uid {}, and HOME ({shown}) belongs to uid {}: the agent is another one than theirs",
                    own.as_raw(),
                    found.uid()
                ),
                remedy,
            )
        }
        Ok(_) => Finding::ok(NAME, format!("uid {}, HOME is {shown}", own.as_raw())),
        Err(error) => Finding::warning(
            NAME,
            format!("HOME is {shown}: {error}"),
            "set HOME to a directory that is there",
        ),
    }
}

/// An empty or relative one counts as unset.
fn directories(home: &Home) -> Finding {
    const NAME: &str = "environment-directories";
    let mut wrong = Vec::new();
    for name in ["XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
        if let Some(value) = env::var_os(name)
            && !Path::new(&value).is_absolute()
        {
            wrong.push((
                format!("{name} is {value:?}, which is no absolute path: it counts as unset"),
                format!("`unset {name}`, or an absolute path"),
            ));
        }
    }
    if let Some(found) = runtime(home) {
        wrong.push(found);
    }
    Finding::all(NAME, wrong, "XDG_STATE_HOME and XDG_CONFIG_HOME are absolute or unset".to_owned())
}

/// XDG_RUNTIME_DIR is where the user's service manager is spoken to; nothing else of ours needs it.
fn runtime(home: &Home) -> Option<(String, String)> {
    const NAME: &str = "XDG_RUNTIME_DIR";
    let own = rustix::process::geteuid().as_raw();
    let Some(dir) = env::var_os(NAME).filter(|dir| !dir.is_empty()) else {
        // Where the usual place is there, it is found without the variable.
        let usual = format!("/run/user/{own}");
        let matters = unit::in_charge(app(), home).is_some_and(|unit| unit.kind == Kind::Systemd)
            && !Path::new(&usual).is_dir();
        return matters.then(|| {
            (
                format!(
                    "{NAME} is not set, and there is no {usual}: the unit's service manager is spoken to there"
                ),
                "log in anew, or `loginctl enable-linger`: logind makes it".to_owned(),
            )
        });
    };
    match fs::metadata(&dir) {
        Ok(found) if found.uid() == own => None,
        Ok(found) => Some((
            format!(
                "{NAME} is {dir:?}, which belongs to uid {}, and we are uid {own}",
                found.uid()
            ),
            format!("`unset {NAME}` (`su -`, not `su`)"),
        )),
        Err(error) => Some((format!("{NAME} is {dir:?}: {error}"), format!("`unset {NAME}`"))),
    }
}

fn ours(home: &Home) -> Finding {
    const NAME: &str = "environment-hearth";
    let (prefix, mut wrong, mut told) = (app().var_name(""), Vec::new(), Vec::new());
    if home.is_given() {
        told.push(format!("the home was named: {}", home.dir().display()));
    }
    if app().spawn_forbidden() {
        let name = app().var_name("NO_AUTOSPAWN");
        wrong.push((format!("{name} is set: no verb starts an agent"), format!("`unset {name}`")));
    }
    if let Some(found) = dead_session(home) {
        wrong.push(found);
    }
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(|name| name.starts_with(&prefix)) {
        let rest = &name[prefix.len()..];
        if !KNOWN.contains(&rest) && !rest.ends_with("_PORT") {
            wrong.push((format!("{name} is set, and means nothing"), format!("`unset {name}`")));
        }
    }
    let told =
        if told.is_empty() { "the home is the one by default".to_owned() } else { told.join(", ") };
    Finding::all(NAME, wrong, told)
}

/// HEARTH_SESSION, where it names one that has ended. Where no agent lives nobody can tell, and the
/// connection alone might start one.
fn dead_session(home: &Home) -> Option<(String, String)> {
    let name = session::VARIABLE;
    let value = env::var_os(name).filter(|value| !value.is_empty())?;
    let dead =
        |why: &str| Some((format!("{name} {why}: it is passed over"), format!("`unset {name}`")));
    let Some(id) = session::named() else { return dead("is no session's name") };
    let Ok(Running::Living(Some(_))) = running(home) else { return None };
    match knock(app(), home, &Request::get(format!("/v1/sessions/{id}")), PATIENCE) {
        Knock::Answered { reply: Some((404, _)), .. } => {
            dead(&format!("names {}, which has ended", value.to_string_lossy()))
        }
        _ => None,
    }
}

/// Whether a shim is above us: then this runs inside of a service, whose end is the end of all it starts.
fn service() -> Finding {
    const NAME: &str = "environment-service";
    let above = ancestors(&ProcessId::current()).unwrap_or_default();
    let shim = above.iter().find_map(|ancestor| {
        let arguments = facts::arguments_of(ancestor.id.pid)?;
        let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
        let named = Path::new(&**words.first()?).file_name()? == app().name();
        (named && words.get(1)? == "shim").then(|| words.get(2).map(ToString::to_string))
    });
    match shim {
        None => Finding::ok(NAME, "not inside of a service"),
        Some(which) => Finding::ok(
            NAME,
            format!(
                "inside of the service {}: what is started here ends with it",
                which.unwrap_or_else(|| "of a shim".to_owned())
            ),
        ),
    }
}
