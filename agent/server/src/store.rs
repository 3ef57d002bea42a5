//! What is known of the services, on disk: `state.json` in the home.
//!
//! Invariant: a reader sees a whole file, the old one or the new one; there is no environment and no
//! command in it. It costs no service: what can't be read is set aside under another name and told,
//! what can't be written is told once and tried again until it can be.
//!
//! What must not be forgotten is written before it is answered (a command) or before it is forgotten
//! elsewhere (an exit, before its shim may go); other changes within [`PAUSE`]. Nothing is synced:
//! the page cache outlives every process, and after the machine's end hardly anything in it counts.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hearth_core::{Saved, SavedLease};
use hearth_lifecycle::kept;
use hearth_process::{BootId, facts};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::bundle::hash;
use crate::ports::Chosen;

/// Version of the file. Fields may be added without another one; readers pass over what they do not
/// know.
const VERSION: u32 = 1;
/// Two writes that nobody waits for are so far apart.
const PAUSE: Duration = Duration::from_millis(50);
/// After a write that failed it is tried again, although nothing may have changed: what was asked for
/// last must not stay unwritten when there is room again. Nothing tells when there is.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// One service.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What decisions go by.
    pub(crate) state: Saved,
    /// The last change of state, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub(crate) since: Option<u64>,
    /// It is in no file.
    #[serde(default)]
    pub(crate) loose: bool,
}

/// Services of a project that are up again after a boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enabled {
    /// Whose.
    pub(crate) project: Arc<str>,
    /// Their names.
    pub(crate) services: BTreeSet<Arc<str>>,
}

/// What an agent begins with after a boot.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Boot {
    /// A project once.
    #[serde(default)]
    pub(crate) enabled: Vec<Enabled>,
    /// The agent that reads this has to bring them up, whatever boot it is: everything was taken down for
    /// the end of the user's session, or an agent that had to do it died before it could.
    #[serde(default)]
    pub(crate) due: bool,
}

#[derive(Serialize, Deserialize)]
struct Whole {
    version: u32,
    boot: String,
    pid_ns: u64,
    services: Vec<Entry>,
    #[serde(default)]
    ports: Vec<Chosen>,
    #[serde(default)]
    leases: Vec<SavedLease>,
    #[serde(default)]
    granted: Vec<(String, Arc<str>)>,
    #[serde(default)]
    requests: Vec<String>,
    #[serde(default)]
    at_boot: Boot,
}

/// What an earlier agent has left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Its services.
    pub(crate) services: Vec<Entry>,
    /// What it has chosen for `port = "auto"`; for ever, whatever was started anew.
    pub(crate) ports: Vec<Chosen>,
    /// What sessions held.
    pub(crate) leases: Vec<SavedLease>,
    /// Ids of requests, each with the lease that it was answered with.
    pub(crate) granted: Vec<(String, Arc<str>)>,
    /// Ids of requests that it has carried out, oldest first: who waits for them may come again.
    pub(crate) requests: Vec<String>,
    /// What is to be up after a boot.
    pub(crate) at_boot: Boot,
    /// The machine, or the container, was started anew since: no process of that time is left.
    pub(crate) other_world: bool,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    /// Of the content that the file has.
    written: Option<u64>,
    at: Option<Instant>,
    dirty: bool,
    failing: bool,
}

impl Store {
    /// That of a home; nothing is read yet.
    pub(crate) fn new(home: &Path) -> Self {
        let path = home.join("state.json");
        Self { path, written: None, at: None, dirty: false, failing: false }
    }

    /// What an earlier agent has left; nothing where there is none, or what can't be read.
    pub(crate) fn read(&mut self) -> Left {
        let bytes = match kept::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Left::default(),
            Err(error) => {
                let path = self.path.display();
                warn!(%path, %error, "cannot read what the last agent knew: services that run are \
                    taken over all the same; look at them with `hearth status --all`");
                return Left::default();
            }
        };
        match parse(&bytes) {
            Ok(whole) => {
                self.written = Some(hash(&bytes));
                let other_world = BootId::from(whole.boot.as_str()) != facts::boot_id()
                    || whole.pid_ns != facts::pid_namespace();
                let Whole { services, ports, leases, granted, requests, at_boot, .. } = whole;
                Left { services, ports, leases, granted, requests, at_boot, other_world }
            }
            Err(reason) => {
                self.set_aside(&reason);
                Left::default()
            }
        }
    }

    fn set_aside(&self, reason: &str) {
        let moved = kept::set_aside(&self.path);
        let path = self.path.display();
        warn!(%path, reason, "what the last agent knew is not understood, {moved}; services that run \
            are taken over all the same; what waited or was in a pause is down: run `hearth up`; what was \
            enabled for the next boot is forgotten: run `hearth enable`");
    }

    /// Something has changed.
    pub(crate) fn touch(&mut self) {
        self.dirty = true;
    }

    /// Somebody else may have written it.
    pub(crate) fn forget(&mut self) {
        if self.written.is_some() {
            self.written = Some(0);
        }
        self.dirty = true;
    }

    /// When it is to be written at the latest; `None`: nothing has changed.
    pub(crate) fn due(&self) -> Option<Instant> {
        let pause = if self.failing { TRY_AGAIN } else { PAUSE };
        self.dirty.then(|| self.at.map_or_else(Instant::now, |at| at + pause))
    }

    /// Writes it, if it is not what the file has.
    pub(crate) fn write(
        &mut self,
        services: Vec<Entry>,
        ports: Vec<Chosen>,
        leases: Vec<SavedLease>,
        granted: Vec<(String, Arc<str>)>,
        requests: Vec<String>,
        at_boot: Boot,
    ) {
        self.dirty = false;
        let nothing = services.is_empty() && ports.is_empty() && at_boot.enabled.is_empty();
        if nothing && self.written.is_none() {
            return;
        }
        let boot = facts::boot_id().as_str().to_owned();
        let pid_ns = facts::pid_namespace();
        let version = VERSION;
        let whole =
            Whole { version, boot, pid_ns, services, ports, leases, granted, requests, at_boot };
        let bytes = match serde_json::to_vec(&whole) {
            Ok(bytes) => bytes,
            Err(error) => return self.failed(&error.into()),
        };
        let content = hash(&bytes);
        if self.written == Some(content) {
            return;
        }
        self.at = Some(Instant::now());
        match kept::replace(&self.path, &bytes) {
            Ok(()) => {
                self.written = Some(content);
                if std::mem::take(&mut self.failing) {
                    info!(path = %self.path.display(), "can be written again");
                }
            }
            Err(error) => {
                self.dirty = true;
                self.failed(&error);
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            let path = self.path.display();
            warn!(%path, %error, "cannot be written: if this agent is killed now, the next one \
                does not know what has changed since; it is tried again until it can be");
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Whole, String> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let words = |error: serde_json::Error| format!("it is damaged: {error}");
    let Head { version } = serde_json::from_slice(bytes).map_err(words)?;
    if version > VERSION {
        return Err(format!("it is of version {version}, and this agent knows {VERSION}"));
    }
    serde_json::from_slice(bytes).map_err(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_damaged_or_of_a_later_version_is_set_aside_each_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.json");
        for text in ["{\"version\": 1, \"boot\"", "{\"version\": 99}", "", "\0\0\0"] {
            std::fs::write(&file, text).unwrap();
            assert!(Store::new(dir.path()).read().services.is_empty());
            assert!(!file.exists(), "{text:?}");
        }
        let names = ["state.json.bad", "state.json.bad.2", "state.json.bad.3", "state.json.bad.4"];
        assert!(names.iter().all(|name| dir.path().join(name).exists()));
    }

    #[test]
    fn fields_of_a_later_version_are_passed_over_and_another_boot_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.json");
        let boot = facts::boot_id();
        let ours = facts::pid_namespace();
        for (boot, pid_ns, other) in
            [(boot.as_str(), ours, false), ("x", ours, true), (boot.as_str(), 1, true)]
        {
            let text = format!(
                "{{\"version\":1,\"boot\":{boot:?},\"pid_ns\":{pid_ns},\"services\":[],\"new\":3}}"
            );
            std::fs::write(&file, text).unwrap();
            assert_eq!(Store::new(dir.path()).read().other_world, other);
        }
    }

    fn write_nothing(store: &mut Store) {
        store.write(Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Boot::default());
    }

    #[test]
    fn it_is_written_for_its_owner_alone_and_only_when_something_changed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.json");
        let mut store = Store::new(dir.path());
        write_nothing(&mut store);
        assert!(!file.exists(), "nothing is nothing to write");
        store.written = Some(0);
        write_nothing(&mut store);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&file).unwrap();
        store.touch();
        write_nothing(&mut store);
        assert!(!file.exists(), "the same is not written again");
        assert_eq!(store.due(), None);
    }
}
