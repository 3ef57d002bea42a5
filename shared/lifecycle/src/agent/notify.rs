//! Telling the service manager how it stands (sd_notify(3)).
//!
//! Invariant: who runs below the agent can't speak for it. The socket's path is taken out of the
//! environment at the start and kept here (`sd_notify::notify` looks for it there each time, so only
//! that crate's messages are used). That the agent is ready is never lost: a manager that was not told ends
//! what it has started. One whose queue is full, which is short (unix(7), `max_dgram_qlen`), is waited for,
//! and holds up nothing else; one that is gone is done without.

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

    /// One message, where there is room for it now.
    pub(super) fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.0 else { return };
        if let Err(error) = socket.send(message(states).as_bytes()) {
            debug!(%error, "the service manager does not listen");
        }
    }

    /// Tells that the agent is ready, then the latest of what `handle` is given to say, until the agent
    /// begins to stop. It wakes when there is something new, and never else.
    pub(super) async fn keep_telling(self, handle: Handle) {
        let copy =
            |socket: Arc<UnixDatagram>| tokio::net::UnixDatagram::from_std(socket.try_clone()?);
        let Some(Ok(socket)) = self.0.map(copy) else { return };
        let mut words = handle.0.words.subscribe();
        let tell = async {
            let said = one_line(&words.borrow_and_update());
            let said = if said.is_empty() { "ready" } else { said.as_str() };
            send(&socket, &[NotifyState::Ready, NotifyState::Status(said)]).await;
            while words.changed().await.is_ok() {
                let said = one_line(&words.borrow_and_update());
                send(&socket, &[NotifyState::Status(&said)]).await;
                sleep(PACE).await;
            }
        };
        tokio::select! {
            biased;
            () = handle.stopping() => {}
            () = tell => {}
        }
    }
}

/// One message; waits until there is room for it.
async fn send(socket: &tokio::net::UnixDatagram, states: &[NotifyState<'_>]) {
    if let Err(error) = socket.send(message(states).as_bytes()).await {
        debug!(%error, "the service manager does not listen");
    }
}

fn message(states: &[NotifyState<'_>]) -> String {
    states.iter().map(|state| format!("{state}\n")).collect()
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

    #[tokio::test]
    async fn a_manager_whose_queue_is_full_hears_that_it_is_ready_when_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = tokio::net::UnixDatagram::bind(&path).unwrap();
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        other.connect(&path).unwrap();
        while other.send(b"STATUS=of another\n").is_ok() {}
        let handle = Handle::new("x".into(), true, None);
        handle.say("ready: 1 service up".into());
        let telling = tokio::spawn(Notify::to(path.as_os_str()).keep_telling(handle));
        // It has tried by now, and found no room.
        tokio::task::yield_now().await;
        let heard = async {
            let mut got = [0; 256];
            loop {
                let length = manager.recv(&mut got).await.unwrap();
                if got.starts_with(b"READY=1\n") {
                    return String::from_utf8_lossy(&got[..length]).into_owned();
                }
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(20), heard).await;
        assert_eq!(heard.as_deref(), Ok("READY=1\nSTATUS=ready: 1 service up\n"));
        telling.abort();
    }

    #[test]
    fn nobody_there_is_nobody_told() {
        let notify = Notify::to(OsStr::new("/nonexistent/notify"));
        assert!(!notify.is_heard());
        notify.tell(&[NotifyState::Ready]);
    }
}
