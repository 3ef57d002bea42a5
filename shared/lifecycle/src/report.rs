//! How it stands with the agent, in one value: what `daemon up` and `daemon status` tell.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::notice::milliseconds;
use crate::ready::Ready;
use crate::record::Record;
use crate::unit::{self, Kind};
use crate::{App, Home, Running, running};

/// How long a manager may take to say how it stands.
const PATIENCE: Duration = Duration::from_secs(2);

/// How it stands with the agent.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The word of the state.
    pub state: &'static str,
    /// How long it took to find out.
    pub duration_ms: f64,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// Of who answers; else, of who lives, by its record.
    pub pid: Option<u32>,
    /// The same.
    pub version: Option<String>,
    /// The same.
    pub instance: Option<String>,
    /// The home.
    pub home: PathBuf,
    /// Where it listens, or would.
    pub socket: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// The one before, where it died without stopping and none lives.
    pub last: Option<Last>,
    /// Where else it can be reached, as it says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// What else it says of itself.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    /// Where a unit is in charge, and was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager: Option<Seen>,
}

/// An agent that died without stopping.
#[derive(Clone, Debug, Serialize)]
pub struct Last {
    /// Its pid, which may be another's by now.
    pub pid: u32,
    /// RFC 3339.
    pub started_at: String,
}

/// A unit that is in charge of the home, as its manager sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// `systemd` or `launchd`.
    pub kind: &'static str,
    /// Under which name the manager knows it.
    pub unit: String,
    /// `None`: the manager could not be asked, and `words` say why.
    pub standing: Option<&'static str>,
    /// The manager's own.
    pub words: String,
}

impl Report {
    /// Of what a client has found out. Who does not answer is known by its record.
    pub fn of(home: &Home, ready: &Ready) -> Self {
        let version = ready.version.as_ref();
        let (living, last) = match running(home) {
            Ok(Running::Living(record)) => (record, None),
            Ok(Running::Died(record)) => (None, Some(record)),
            Ok(Running::Gone(_)) | Err(_) => (None, None),
        };
        let record = living.as_ref();
        let of_record = |field: fn(&Record) -> &String| record.map(|record| field(record).clone());
        Self {
            state: ready.state.as_str(),
            duration_ms: milliseconds(ready.duration),
            reason: ready.reason.clone(),
            pid: version.map(|it| it.pid).or(record.map(|record| record.process.pid)),
            version: version.map(|it| it.version.clone()).or_else(|| of_record(|it| &it.version)),
            instance: version
                .map(|it| it.instance.clone())
                .or_else(|| of_record(|it| &it.instance)),
            home: home.dir().to_owned(),
            socket: record.map_or_else(|| home.socket(), |record| record.socket.clone()),
            log: home.log(),
            last: last.map(|it| Last { pid: it.process.pid, started_at: it.started_at }),
            addresses: record.map(|record| record.addresses.clone()).unwrap_or_default(),
            fields: record.map(Record::fields).unwrap_or_default(),
            manager: None,
        }
    }

    /// The same with what a service manager says, where one is in charge. It is asked for 2 s at most.
    pub fn with_manager(self, app: &App, home: &Home) -> Self {
        let manager = unit::in_charge(app, home).map(|unit| {
            let (standing, words) = match unit.ask(Instant::now() + PATIENCE) {
                Ok(answer) => (Some(answer.standing.as_str()), answer.words),
                Err(refused) => (None, refused.words),
            };
            let kind = match unit.kind {
                Kind::Systemd => "systemd",
                Kind::Launchd => "launchd",
            };
            Seen { kind, unit: unit.name, standing, words }
        });
        Self { manager, ..self }
    }

    /// For people: a line for each thing that there is.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            text.push_str(&format!("{name:<10} {value}\n"));
        };
        line("state", &self.state);
        let words = |text: &Option<String>| text.clone().unwrap_or_default();
        let pid = self.pid.map(|pid| pid.to_string());
        for (name, value) in [
            ("reason", words(&self.reason)),
            ("pid", words(&pid)),
            ("version", words(&self.version)),
            ("instance", words(&self.instance)),
        ] {
            if !value.is_empty() {
                line(name, &value);
            }
        }
        line("home", &self.home.display());
        line("socket", &self.socket.display());
        line("log", &self.log.display());
        if let Some(Last { pid, started_at }) = &self.last {
            line("last", &format!("pid {pid} died without stopping, started {started_at}"));
        }
        self.addresses.iter().for_each(|address| line("address", address));
        self.fields.iter().for_each(|(name, value)| match value {
            Value::String(text) => line(name, text),
            other => line(name, other),
        });
        if let Some(seen) = &self.manager {
            line("manager", &seen.line());
        }
        text
    }
}

impl Seen {
    /// For people, in one line.
    pub fn line(&self) -> String {
        match self.standing {
            Some(_) => format!("{}: {}", self.kind, self.words),
            None => format!("{}: {}: {}", self.kind, self.unit, self.words),
        }
    }
}
