//! What an agent gives a shim to keep, for the agent that adopts it.
//!
//! Invariant: whatever an agent needs to go on with a life that it did not begin is in here, and
//! only in the shim's memory: a captured environment holds secrets, and is never on disk.

use std::borrow::Cow;

use hearth_config::Service;
use hearth_core::{Exit, Want};
use serde::{Deserialize, Serialize};

use crate::capture::Capture;

/// Version of this text. One that is not understood makes its service be left alone.
const VERSION: u32 = 1;

/// The agent's notes on one life.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Keep<'a> {
    version: u32,
    /// What it was started with.
    pub(crate) service: Cow<'a, Service>,
    /// Its place in the file.
    pub(crate) order: u32,
    /// What it took from the shell that wanted it up.
    pub(crate) capture: Cow<'a, Capture>,
    /// What was asked for when it began.
    pub(crate) want: Want,
    /// Automatic restarts until then.
    pub(crate) restarts: u32,
    /// The oneshots that it stands on: they have no shim any more that could tell of them, and an
    /// agent that does not know that they are done would run them again below what lives on them.
    #[serde(default)]
    pub(crate) done: Vec<Finished>,
}

/// A oneshot that has succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// What it ran.
    pub(crate) service: Service,
    /// Its place in the file.
    pub(crate) order: u32,
    /// Which life of it succeeded.
    pub(crate) life: u64,
    /// How it ended.
    pub(crate) exit: Exit,
}

impl<'a> Keep<'a> {
    /// Of a life that begins.
    pub(crate) fn new(
        service: &'a Service,
        order: u32,
        capture: &'a Capture,
        want: Want,
        restarts: u32,
        done: Vec<Finished>,
    ) -> Self {
        let (service, capture) = (Cow::Borrowed(service), Cow::Borrowed(capture));
        Self { version: VERSION, service, order, capture, want, restarts, done }
    }

    /// As text for the shim.
    pub(crate) fn to_text(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| format!("it can't be written down: {error}"))
    }

    /// From a shim. Errors: what is not understood, in words for people.
    pub(crate) fn from_text(text: &str) -> Result<Keep<'static>, String> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let not_understood =
            |error: serde_json::Error| format!("its notes are not understood: {error}");
        let Head { version } = serde_json::from_str(text).map_err(not_understood)?;
        if version != VERSION {
            return Err(format!(
                "its notes are of version {version}, and this agent knows {VERSION}"
            ));
        }
        serde_json::from_str::<Keep<'static>>(text).map_err(not_understood)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shim_kept_comes_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "[services.a]\nrun = ['x']\nready = { log = 'up' }\nenv = { A = '1', B = false }\n";
        std::fs::write(dir.path().join("hearth.toml"), text).unwrap();
        let project = hearth_config::load(dir.path()).unwrap();
        let service = &project.services[0];
        let env = [("PATH".to_owned(), "/bin".to_owned())].into();
        let capture = Capture { env, umask: 0o27, limits: Default::default() };
        let text = Keep::new(service, 3, &capture, Want::Up, 2, Vec::new()).to_text().unwrap();
        let keep = Keep::from_text(&text).unwrap();
        assert_eq!((&*keep.service, &*keep.capture), (service, &capture));
        assert_eq!((keep.order, keep.restarts, keep.want), (3, 2, Want::Up));
        let newer = text.replacen("\"version\":1", "\"version\":9", 1);
        assert!(Keep::from_text(&newer).unwrap_err().contains("version 9"));
    }
}
