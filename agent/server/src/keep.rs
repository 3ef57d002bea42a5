//! What an agent gives a shim to keep, for the agent that adopts it and finds nothing on disk.
//!
//! Invariant: it is of this one life and small; definitions and captures, which hold secrets, are
//! the project's and lie in its [`crate::bundle`]. Notes of the first version had them in here, in
//! the shim's memory alone, and are understood: their shims may live for weeks.

use hearth_config::Service;
use hearth_core::{Done, Exit, Want};
use serde::{Deserialize, Serialize};

use crate::capture::Capture;

/// Version of this text.
const VERSION: u32 = 2;

/// The agent's notes on one life.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Keep {
    version: u32,
    /// Of the definition that it was started with.
    pub(crate) fingerprint: u64,
    /// Its place in the file.
    pub(crate) order: u32,
    /// What was asked for when it began.
    pub(crate) want: Want,
    /// Automatic restarts until then.
    pub(crate) restarts: u32,
    /// The oneshots that it stands on: they have no shim any more that could tell of them, and an
    /// agent that does not know that they are done would run them again below what lives on them.
    #[serde(default)]
    pub(crate) done: Vec<Finished>,
    /// What notes of the first version have.
    #[serde(skip)]
    pub(crate) inline: Option<(Service, Capture)>,
}

/// A oneshot that has succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// Its name.
    pub(crate) name: String,
    /// Of what it ran.
    pub(crate) fingerprint: u64,
    /// Its place in the file.
    pub(crate) order: u32,
    /// Which life of it succeeded.
    pub(crate) life: u64,
    /// How it ended.
    pub(crate) exit: Exit,
    /// What notes of the first version have.
    #[serde(skip)]
    pub(crate) inline: Option<Service>,
}

impl From<Done> for Finished {
    fn from(done: Done) -> Self {
        let Done { name, fingerprint, order, life, exit } = done;
        Self { name: name.to_string(), fingerprint, order, life, exit, inline: None }
    }
}

/// The first version.
#[derive(Deserialize)]
struct First {
    service: Service,
    order: u32,
    capture: Capture,
    want: Want,
    restarts: u32,
    #[serde(default)]
    done: Vec<FirstFinished>,
}

#[derive(Deserialize)]
struct FirstFinished {
    service: Service,
    order: u32,
    life: u64,
    exit: Exit,
}

impl Keep {
    /// Of a life that begins.
    pub(crate) fn new(
        fingerprint: u64,
        order: u32,
        want: Want,
        restarts: u32,
        done: Vec<Finished>,
    ) -> Self {
        Self { version: VERSION, fingerprint, order, want, restarts, done, inline: None }
    }

    /// As text for the shim.
    pub(crate) fn to_text(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| format!("it can't be written down: {error}"))
    }

    /// From a shim. Errors: what is not understood, in words for people.
    pub(crate) fn from_text(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let not_understood =
            |error: serde_json::Error| format!("its notes are not understood: {error}");
        let Head { version } = serde_json::from_str(text).map_err(not_understood)?;
        match version {
            1 => serde_json::from_str::<First>(text).map(Self::from).map_err(not_understood),
            VERSION => serde_json::from_str(text).map_err(not_understood),
            _ => Err(format!("its notes are of version {version}, and this agent knows {VERSION}")),
        }
    }
}

impl From<First> for Keep {
    fn from(first: First) -> Self {
        let First { service, order, capture, want, restarts, done } = first;
        let finished = |done: FirstFinished| Finished {
            name: done.service.name.clone(),
            fingerprint: done.service.fingerprint,
            order: done.order,
            life: done.life,
            exit: done.exit,
            inline: Some(done.service),
        };
        Self {
            version: 1,
            fingerprint: service.fingerprint,
            order,
            want,
            restarts,
            done: done.into_iter().map(finished).collect(),
            inline: Some((service, capture)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shim_kept_comes_back_whole() {
        let exit = Exit { code: Some(0), signal: None, at: "then".into() };
        let name = "migrate".to_owned();
        let done = Finished { name, fingerprint: 5, order: 1, life: 2, exit, inline: None };
        let text = Keep::new(7, 3, Want::Up, 2, vec![done.clone()]).to_text().unwrap();
        let keep = Keep::from_text(&text).unwrap();
        assert_eq!((keep.fingerprint, keep.order, keep.restarts), (7, 3, 2));
        assert_eq!((keep.want, keep.done), (Want::Up, vec![done]));
        let newer = text.replacen("\"version\":2", "\"version\":9", 1);
        assert!(Keep::from_text(&newer).unwrap_err().contains("version 9"));
    }

    #[test]
    fn notes_of_the_first_version_are_understood() {
        let dir = tempfile::tempdir().unwrap();
        let file = "[services.a]\nrun = ['x']\nenv = { A = '1' }\n[services.b]\nrun = 'y'\n";
        std::fs::write(dir.path().join("hearth.toml"), file).unwrap();
        let services = hearth_config::load(dir.path()).unwrap().services;
        let capture = Capture {
            env: [("PATH".to_owned(), "/bin".to_owned())].into(),
            umask: 0o27,
            limits: Default::default(),
        };
        let text = serde_json::json!({
            "version": 1, "service": services[0], "order": 3, "capture": capture, "want": "up",
            "restarts": 2, "done": [{ "service": services[1], "order": 1, "life": 4,
            "exit": { "code": 0, "signal": null, "at": "then" } }],
        });
        let keep = Keep::from_text(&text.to_string()).unwrap();
        assert_eq!(keep.inline, Some((services[0].clone(), capture)));
        assert_eq!((keep.fingerprint, keep.restarts), (services[0].fingerprint, 2));
        let done = &keep.done[0];
        assert_eq!(
            (done.name.as_str(), done.life, &done.inline),
            ("b", 4, &Some(services[1].clone()))
        );
    }
}
