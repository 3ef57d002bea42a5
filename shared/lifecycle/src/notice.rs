//! What a person is told of the agent beside the answer: one line, and none where all is as always.

use std::path::Path;
use std::time::Duration;

use crate::ready::{ApiRange, Ready, State};
use crate::version::is_older;
use crate::{App, Home, unit};

impl Ready {
    /// The line; `None`: an agent was there and is as it should be.
    ///
    /// It tells that one was started or replaced; why there is none; that the one that answers is of
    /// another version, or of another executable of the same name.
    pub fn notice(&self, app: &App, home: &Home) -> Option<String> {
        let said = match self.state {
            State::Up => self.skew(app, home),
            State::Started => Some(self.started()),
            State::Down
            | State::SpawnFailed
            | State::SpawnSuppressed
            | State::StillStarting
            | State::Stopping
            | State::Unresponsive
            | State::ServiceNotReady
            | State::Blocked => Some(self.missing()),
        };
        said.map(|said| format!("{}: {said}", app.name))
    }

    /// Which agent there is, and how long it took to get it: `agent started (pid 42) in 7.1 ms`.
    pub fn started(&self) -> String {
        let pid = self.version.as_ref().map(|version| format!(" (pid {})", version.pid));
        let (state, tenths) = (self.state.as_str(), self.duration.as_micros().div_ceil(100));
        let (whole, tenth) = (tenths / 10, tenths % 10);
        format!("agent {state}{} in {whole}.{tenth} ms", pid.unwrap_or_default())
    }

    fn missing(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
        let hint = self.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("agent {}: {reason}{hint}", self.state.as_str())
    }

    /// In words, and with what to type, that the one that answers is not of this version, or not of this
    /// executable; `None`: it is.
    pub fn skew(&self, app: &App, home: &Home) -> Option<String> {
        let agent = self.version.as_ref()?;
        let (theirs, ours) = (&agent.version, app.version);
        let (api, range) = (agent.api, ApiRange { min: app.api.0, max: app.api.1 });
        if theirs == ours && !api.meets(range) {
            return Some(format!(
                "the agent speaks versions {}-{} of the API, and this command {}-{}: `{}`",
                api.min,
                api.max,
                range.min,
                range.max,
                renewal(app, home)
            ));
        }
        if is_older(theirs, ours) {
            let renewal = renewal(app, home);
            return Some(format!(
                "the agent ({theirs}) is older than this command ({ours}): `{renewal}`"
            ));
        }
        if is_older(ours, theirs) {
            return Some(format!(
                "the agent ({theirs}) is newer than this command ({ours}): use the newer `{}`",
                app.name
            ));
        }
        let (name, own) = (app.name, crate::spawn::executable());
        let other = agent.executable.as_deref();
        let other = other.filter(|it| *it != own && is_another_file(it, &own))?;
        Some(format!(
            "the agent (pid {}) runs {}, and this is {}: `{name} daemon restart` puts this one in its \
             place, {}=DIR gives it a home of its own",
            agent.pid,
            other.display(),
            own.display(),
            app.var_name("HOME")
        ))
    }
}

/// What puts an agent of this executable into the place of an older one: a manager runs what was
/// installed, as often as it is told to.
fn renewal(app: &App, home: &Home) -> String {
    let ours = crate::spawn::executable().canonicalize().ok();
    match unit::in_charge(app, home) {
        Some(unit) if unit.executable.canonicalize().ok() != ours => {
            format!("{} install", app.name)
        }
        Some(_) | None => format!("{} daemon restart", app.name),
    }
}

/// Both are there, and are not one. What was replaced in place is no other: its version tells.
fn is_another_file(theirs: &Path, ours: &Path) -> bool {
    let (theirs, ours) = (theirs.canonicalize().ok(), ours.canonicalize().ok());
    theirs.is_some() && ours.is_some() && theirs != ours
}

/// Seconds to the tenth, for people: `1.2 s`. Without floating point, which is a tenth of what the pair adds
/// to an executable.
pub(crate) fn seconds(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

/// To the tenth, for programs.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::APP;
    use crate::ready::Version;

    fn ready(state: State, version: &str, executable: Option<&str>) -> Ready {
        let version = Version {
            name: "pair".into(),
            version: version.into(),
            api: ApiRange { min: 1, max: 1 },
            instance: "1".into(),
            pid: 42,
            started_at: String::new(),
            executable: executable.map(Into::into),
        };
        Ready {
            state,
            duration: Duration::from_micros(7_100),
            reason: Some("one\ntwo".into()).filter(|_| !state.is_ready()),
            hint: Some("do this".into()).filter(|_| !state.is_ready()),
            retry_at: None,
            version: Some(version).filter(|_| state.is_ready()),
            log: "/log".into(),
        }
    }

    #[test]
    fn it_is_one_line_and_none_where_all_is_as_always() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::resolve(&APP, Some(directory.path())).unwrap();
        let said = |state, version: &str, executable: Option<&str>| {
            ready(state, version, executable).notice(&APP, &home)
        };
        let own = crate::spawn::executable();
        assert_eq!(said(State::Up, "1.0.0", own.to_str()), None);
        assert_eq!(said(State::Up, "1.0.0", None), None);
        assert_eq!(said(State::Up, "1.0.0", Some("/gone/pair")), None);
        let started = said(State::Started, "1.0.0", None);
        assert_eq!(started.as_deref(), Some("pair: agent started (pid 42) in 7.1 ms"));
        let down = said(State::SpawnFailed, "1.0.0", None);
        assert_eq!(down.as_deref(), Some("pair: agent spawn-failed: one (do this)"));
        let older = said(State::Up, "0.9.0", None).unwrap();
        assert!(older.ends_with("`pair daemon restart`") && !older.contains('\n'), "{older}");
        assert!(said(State::Up, "2.0.0", None).unwrap().contains("newer than this command"));
        let other = said(State::Up, "1.0.0", Some("/bin/sh")).unwrap();
        assert!(other.contains("PAIR_TEST_UNSET_HOME=DIR"), "{other}");
    }
}
