//! Telling the service manager how it stands (sd_notify(3)).
//!
//! Invariant: who runs below the agent can't speak for it. The socket's path is taken out of the
//! environment at the start and kept here (`sd_notify::notify` looks for it there each time, so only
//! that crate's messages are used). A manager that does not take a message is done without.

use std::ffi::OsStr;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::SocketAddrUnix;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::debug;

use super::Handle;

/// Words that change faster are told so often.
const PACE: Duration = Duration::from_millis(200);

/// Where it is told; nowhere, where nobody asked for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Notify(Option<Arc<UnixDatagram>>);

impl Notify {
    /// By the value of `NOTIFY_SOCKET`: a path, or a name behind `@`.
    pub(super) fn to(place: &OsStr) -> Self {
        let connected = || -> std::io::Result<UnixDatagram> {
            use std::os::unix::ffi::OsStrExt;
            let address = match place.as_bytes().strip_prefix(b"@") {
                #[cfg(target_os = "linux")]
                Some(name) => SocketAddrUnix::new_abstract_name(name)?,
                #[cfg(not(target_os = "linux"))]
                Some(_) => return Err(std::io::ErrorKind::Unsupported.into()),
                None => SocketAddrUnix::new(place)?,
            };
            let socket = UnixDatagram::unbound()?;
            // A manager that hangs must not make us hang.
            socket.set_nonblocking(true)?;
            rustix::net::connect(&socket, &address)?;
            Ok(socket)
        };
        Self(connected().ok().map(Arc::new))
    }

    /// Whether anybody listens.
    pub(super) fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// One message.
    pub(super) fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.0 else { return };
        let lines: String = states.iter().map(|state| format!("{state}\n")).collect();
        if let Err(error) = socket.send(lines.as_bytes()) {
            debug!(%error, "the service manager does not listen");
        }
    }

    /// Tells the latest of what `handle` is given to say, until the agent begins to stop. It wakes
    /// when there is something new, and never else.
    pub(super) async fn keep_telling(self, handle: Handle) {
        let mut words = handle.0.words.subscribe();
        let tell = async {
            while words.changed().await.is_ok() {
                let said = one_line(&words.borrow_and_update());
                self.tell(&[NotifyState::Status(&said)]);
                sleep(PACE).await;
            }
        };
        tokio::select! {
            () = tell => {}
            () = handle.stopping() => {}
        }
    }
}

/// What was given to say, at first nothing.
pub(super) fn words() -> watch::Sender<String> {
    watch::Sender::new(String::new())
}

/// A message is made of lines: what stands in a second one would be another field.
pub(super) fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_several_lines_are_one_field() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(path.as_os_str());
        let words = one_line("faulty:\n  READY=1\n");
        notify.tell(&[NotifyState::Stopping, NotifyState::Status(&words)]);
        let mut got = [0; 256];
        let length = manager.recv(&mut got).unwrap();
        assert_eq!(&got[..length], b"STOPPING=1\nSTATUS=faulty: READY=1\n");
    }

    #[test]
    fn nobody_there_is_nobody_told() {
        let notify = Notify::to(OsStr::new("/nonexistent/notify"));
        assert!(!notify.is_heard());
        notify.tell(&[NotifyState::Ready]);
    }
}
