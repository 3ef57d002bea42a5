//! Where the agent's things stand in the home, beyond what the lifecycle knows of it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use hearth_api::shim_id;
use hearth_core::ServiceId;
use hearth_lifecycle::Home;

/// The paths, computed once.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    home: PathBuf,
    shims: PathBuf,
    sockets: PathBuf,
    logs: PathBuf,
}

impl Place {
    /// Makes the directories, 0700, where they are missing.
    pub(crate) fn prepare(home: &Home) -> io::Result<Self> {
        let place = Self {
            home: home.dir().to_owned(),
            shims: home.dir().join("shims"),
            sockets: home.sockets().join("shims"),
            logs: home.dir().join("logs"),
        };
        for path in [&place.shims, &place.sockets, &place.logs] {
            let made = DirBuilder::new().mode(0o700).create(path);
            match made {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    let words = format!("cannot make {}: {error}", path.display());
                    return Err(io::Error::new(error.kind(), words));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(place)
    }

    /// The home itself.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Where the records of shims are.
    pub(crate) fn records(&self) -> &Path {
        &self.shims
    }

    /// The record of the shim with this id.
    pub(crate) fn record(&self, id: &str) -> PathBuf {
        self.shims.join(format!("{id}.rec"))
    }

    /// The socket of the shim with this id.
    pub(crate) fn socket(&self, id: &str) -> PathBuf {
        self.sockets.join(format!("{id}.sock"))
    }

    /// The notify socket of the shim with this id.
    pub(crate) fn notify(&self, id: &str) -> PathBuf {
        self.sockets.join(format!("{id}.ntf"))
    }

    /// The directory of a service's log.
    pub(crate) fn log(&self, id: &ServiceId) -> PathBuf {
        hearth_logs::dir(&self.logs, &id.project, &id.name)
    }

    /// The name of a service's shim.
    pub(crate) fn shim(id: &ServiceId) -> String {
        shim_id(&id.project, &id.name)
    }
}
