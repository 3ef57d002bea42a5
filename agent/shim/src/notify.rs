//! What a service says of itself by `sd_notify(3)`.
//!
//! Invariants: the latest of each field is kept here, so that `READY=1` is not lost while no agent
//! lives; and a service that floods its socket costs bounded work and memory: so many messages a
//! turn, none longer than [`MESSAGE`], and what they changed is told a few times a second at most.
//!
//! Who may speak: the service's user, ours and root, which is whoever is in its tree. A socket at a
//! path in the home can be reached by ours alone; a service of another user gets one without a
//! path, where the kernel has such, and the kernel's word on who has sent what.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::frames::{FromShim, Notify, User};
use crate::shim::Shim;

#[cfg(target_os = "linux")]
#[path = "notify/linux.rs"]
mod os;
#[cfg(not(target_os = "linux"))]
#[path = "notify/macos.rs"]
mod os;

/// The variable by which a service finds the socket.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// The longest message that counts: as long as systemd's.
const MESSAGE: usize = 4096;

/// How much of a status is kept, in bytes.
const STATUS: usize = 512;

/// How many messages are taken in a turn.
const A_TURN: usize = 16;

/// A changed status is told no sooner than so long after the last one.
const PAUSE: Duration = Duration::from_millis(100);

/// The receiving end. Its path is removed when it is dropped.
pub struct NotifySocket {
    socket: UnixDatagram,
    path: Option<PathBuf>,
    name: String,
    /// The service's.
    uid: Option<u32>,
}

/// One message, and who has sent it.
struct Message {
    length: usize,
    /// None: whoever can reach the path.
    uid: Option<u32>,
    truncated: bool,
}

impl NotifySocket {
    /// Makes it, at `path` if the service runs as ourselves.
    pub fn open(path: &Path, user: Option<&User>) -> io::Result<Self> {
        let (socket, name) = match user {
            None => {
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
                (UnixDatagram::bind(path)?, path.display().to_string())
            }
            Some(_) => os::without_path()?,
        };
        socket.set_nonblocking(true)?;
        os::name_senders(&socket)?;
        let path = user.is_none().then(|| path.to_path_buf());
        Ok(Self { socket, path, name, uid: user.map(|user| user.uid) })
    }

    /// `NOTIFY_SOCKET=...`, for the service alone.
    ///
    /// Errors: a path with NUL in it.
    pub fn variable(&self) -> io::Result<CString> {
        Ok(CString::new(format!("{VARIABLE}={}", self.name))?)
    }

    /// Takes what was said, at most [`A_TURN`] messages of it.
    fn take(&self, notify: &mut Notify) {
        let mut bytes = [0; MESSAGE];
        for _ in 0..A_TURN {
            let message = match os::receive(&self.socket, &mut bytes) {
                Ok(message) => message,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Nothing more; or something that the next message may not have.
                Err(_) => return,
            };
            if !message.truncated && self.listens_to(message.uid) {
                heard(notify, &bytes[..message.length]);
            }
        }
    }

    fn listens_to(&self, sender: Option<u32>) -> bool {
        let own = rustix::process::geteuid().as_raw();
        sender.is_none_or(|uid| uid == own || uid == 0 || Some(uid) == self.uid)
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// One message: lines of `NAME=value`. `BARRIER=1` and `FDSTORE=1` need nothing said here, the
/// descriptors that came with them are closed; `MAINPID` is of no meaning, the leader is ours.
fn heard(notify: &mut Notify, message: &[u8]) {
    // What is not text has no line that counts, as with systemd.
    let Ok(message) = std::str::from_utf8(message) else { return };
    for (name, value) in message.lines().filter_map(|line| line.split_once('=')) {
        match (name, value) {
            ("READY", "1") => notify.ready = true,
            ("STOPPING", "1") => notify.stopping = true,
            ("STATUS", "") => notify.status = None,
            ("STATUS", words) => {
                notify.status = Some(words[..words.floor_char_boundary(STATUS)].to_owned());
            }
            _ => {}
        }
    }
}

/// What was said, and when the agent is told.
#[derive(Default)]
pub struct Heard {
    /// The latest of each.
    pub notify: Notify,
    /// Something is to be told then.
    due: Option<Instant>,
    told: Option<Instant>,
}

impl Shim {
    /// Takes what the service has said.
    pub(crate) fn hear_notify(&mut self) {
        let Some(socket) = &self.notify_socket else { return };
        let heard = &mut self.heard;
        let before = heard.notify.clone();
        socket.take(&mut heard.notify);
        if heard.notify == before {
            return;
        }
        let words_alone =
            (before.ready, before.stopping) == (heard.notify.ready, heard.notify.stopping);
        let now = Instant::now();
        let next = heard.told.and_then(|told| told.checked_add(PAUSE)).unwrap_or(now);
        heard.due = Some(if words_alone { next.max(now) } else { now });
    }

    /// When that is told; an agent that does not read is told when it does.
    pub(crate) fn notify_due(&self) -> Option<Instant> {
        let behind = |connection: &crate::connection::Connection| {
            connection.agent && !connection.ended && connection.is_behind()
        };
        self.heard.due.filter(|_| !self.connections.iter().any(behind))
    }

    /// Tells it, if it is due.
    pub(crate) fn tell_notify(&mut self, now: Instant) {
        if self.notify_due().is_some_and(|due| due <= now) {
            self.heard.due = None;
            self.heard.told = Some(now);
            let notify = self.heard.notify.clone();
            self.tell(&FromShim::Notified { notify });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(messages: &[&[u8]]) -> Notify {
        let mut notify = Notify::default();
        messages.iter().for_each(|message| heard(&mut notify, message));
        notify
    }

    #[test]
    fn the_latest_of_each_counts() {
        let said = after(&[b"READY=1\nSTATUS=one", b"MAINPID=1\nSTATUS=two=2\nWATCHDOG=1\n"]);
        let words = Some("two=2".to_owned());
        assert_eq!(said, Notify { ready: true, stopping: false, status: words });
        assert_eq!(after(&[b"STATUS=x", b"STOPPING=1\nSTATUS="]).status, None);
        assert!(after(&[b"STOPPING=1"]).stopping);
    }

    #[test]
    fn what_is_no_such_line_counts_for_nothing() {
        let rubbish: [&[u8]; 6] =
            [b"READY=0", b"READY", b"ready=1", b" READY=1", b"READY=1\xff", b""];
        assert!(after(&rubbish).is_empty());
    }

    #[test]
    fn a_long_status_is_cut_between_characters() {
        let said = after(&[format!("STATUS={}", "é".repeat(400)).as_bytes()]);
        assert_eq!(said.status, Some("é".repeat(256)));
    }
}
