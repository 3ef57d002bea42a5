//! What is known of a project and may not be on disk: definitions with their variables, and what
//! the shells gave that wanted the services up.
//!
//! Invariant: it is in memory alone, sealed, and shared by every shim of the project: any one of
//! them gives it back to the agent that adopts it. It is made anew when it changes, with a higher
//! number, so who was not there for the last one is known by its number.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use hearth_config::Service;
use hearth_process::{pass, sealed};
use hearth_shim::frames::{Decoder, FromShim, ToShim, encode};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::capture::Capture;
use crate::owner::Node;

/// Version of the content. Fields may be added without another one.
const VERSION: u32 = 1;

/// The content.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bundle {
    version: u32,
    /// Each once, however many services took it.
    pub(crate) captures: Vec<Arc<Capture>>,
    /// By name.
    pub(crate) services: BTreeMap<String, Part>,
}

/// One service's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// What its file said, newest last: what is in force, what is held back.
    pub(crate) versions: Vec<Arc<Service>>,
    /// Its place in the file.
    pub(crate) order: u32,
    /// Which of the captures it took.
    pub(crate) capture: Option<usize>,
    /// It is in no file.
    #[serde(default)]
    pub(crate) loose: bool,
    /// What was chosen for its `port = "auto"`: `state.json` may be damaged while it runs on.
    #[serde(default)]
    pub(crate) port: Option<u16>,
}

/// As shims hold it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Its number within the project.
    pub(crate) generation: u64,
    /// Of the content.
    pub(crate) hash: u64,
    /// The sealed memory.
    pub(crate) fd: Arc<OwnedFd>,
}

impl Bundle {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { version: VERSION, captures: Vec::new(), services: BTreeMap::new() }
    }

    /// Adds a service, with the port that was chosen for it. What shares one capture in memory shares it
    /// here.
    pub(crate) fn add(&mut self, name: &str, order: u32, node: &Node, port: Option<u16>) {
        let capture = node.capture.as_ref().map(|capture| {
            let known = self.captures.iter().position(|known| known == capture);
            known.unwrap_or_else(|| {
                self.captures.push(Arc::clone(capture));
                self.captures.len() - 1
            })
        });
        let (versions, loose) = (node.versions().to_vec(), node.loose);
        self.services.insert(name.to_owned(), Part { versions, order, capture, loose, port });
    }

    /// Seals it; `None`: it is what `last` has.
    pub(crate) fn seal(&self, last: Option<&Held>, generation: u64) -> io::Result<Option<Held>> {
        let bytes = serde_json::to_vec(self)?;
        let hash = hash(&bytes);
        if last.is_some_and(|last| last.hash == hash) {
            return Ok(None);
        }
        let fd = Arc::new(sealed::seal(&bytes)?);
        Ok(Some(Held { generation, hash, fd }))
    }

    /// As it was sealed.
    pub(crate) fn open(fd: OwnedFd, generation: u64) -> io::Result<(Self, Held)> {
        let bytes = sealed::read(&fd)?;
        let bundle: Self = serde_json::from_slice(&bytes)?;
        if bundle.version > VERSION {
            let words = format!("it is of version {}, this agent knows {VERSION}", bundle.version);
            return Err(io::Error::other(words));
        }
        Ok((bundle, Held { generation, hash: hash(&bytes), fd: Arc::new(fd) }))
    }
}

/// Of a content: to tell whether it is still the same, in this process.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Asks one shim, on a connection of its own, which stays without a `Hello`. `None`: it holds none.
pub(crate) async fn give_back(socket: &Path) -> io::Result<Option<(Bundle, Held)>> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&encode(&ToShim::GiveBack)).await?;
    let (mut decoder, mut came) = (Decoder::new(), Vec::new());
    loop {
        match decoder.next::<FromShim>().map_err(io::Error::other)? {
            Some(FromShim::Held { generation: None }) => return Ok(None),
            Some(FromShim::Held { generation: Some(generation) }) => {
                let fd =
                    came.pop().ok_or_else(|| io::Error::other("no descriptor came with it"))?;
                return Bundle::open(fd, generation).map(Some);
            }
            Some(_) => continue,
            None => {}
        }
        let mut bytes = [0; 4096];
        let received = stream
            .async_io(Interest::READABLE, || pass::receive(&stream, &mut bytes, &mut came))
            .await?;
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decoder.push(&bytes[..received]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_whole_and_what_is_the_same_is_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[services.a]\nrun = ['x']\nenv = { A = '1', B = false }\n";
        std::fs::write(dir.path().join("hearth.toml"), text).unwrap();
        let service = Arc::new(hearth_config::load(dir.path()).unwrap().services.remove(0));
        let env = [("PATH".to_owned(), "/bin".to_owned())].into();
        let capture = Arc::new(Capture { env, umask: 0o27, limits: BTreeMap::default() });
        let mut bundle = Bundle::new();
        let mut node = Node::default();
        (node.capture, node.loose) = (Some(Arc::clone(&capture)), true);
        node.offer(Arc::clone(&service));
        for name in ["a", "b"] {
            bundle.add(name, 3, &node, Some(20_000));
        }
        assert_eq!(bundle.captures.len(), 1, "they share it");
        let held = bundle.seal(None, 7).unwrap().unwrap();
        assert!(bundle.seal(Some(&held), 8).unwrap().is_none());
        let fd = held.fd.try_clone().unwrap();
        let (found, again) = Bundle::open(fd, 7).unwrap();
        assert_eq!((again.hash, again.generation), (held.hash, 7));
        assert_eq!(found.captures, [capture]);
        let part = &found.services["b"];
        assert_eq!((&*part.versions[0], part.order, part.capture), (&*service, 3, Some(0)));
        assert_eq!((part.loose, part.port), (true, Some(20_000)));
    }
}
