//! Handing over to a successor: the predecessor's side.
//!
//! Invariants: no client is refused (the listener is never closed, only passed on, and never shut
//! down, which would shut every copy of it); until the successor serves, this agent can go on as if
//! nothing had been, and does where the other one fails, hangs or dies; there are never two that
//! accept.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use hearth_process::{ProcessHandle, Signal};
use tokio::net::UnixStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{info, warn};

use super::handle::{HandOver, Handed, Handle};
use super::serve::{Server, Signals};
use super::stop::Stopped;
use crate::handover::{Channel, Gives, Luggage, Says};
use crate::record::Stage;

/// From its question to its being prepared a successor may take so long; this agent serves on
/// meanwhile.
const PREPARING: Duration = Duration::from_secs(10);
/// From everything being its own to its serving, while nobody is answered.
const SETTLING: Duration = Duration::from_secs(3);
/// Who has come and not asked yet gets so long to do so.
const ASKING: Duration = Duration::from_millis(50);
/// Requests under way get so long to be answered. Who is not by then is told to come again.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// A successor that has asked.
pub(super) struct Heir {
    channel: Channel,
    process: Option<ProcessHandle>,
}

/// Lends it what it needs to begin, and waits until it is prepared. In a thread of its own.
async fn lend(
    stream: UnixStream,
    listener: io::Result<OwnedFd>,
    lock: io::Result<OwnedFd>,
) -> io::Result<Heir> {
    // Opened while it waits for us, so the pid is its own.
    let process = hearth_process::peer_handle(&stream).ok();
    let (stream, listener, lock) = (stream.into_std()?, listener?, lock?);
    let prepared = spawn_blocking(move || {
        let mut channel = Channel::new(stream)?;
        channel.wait_at_most(PREPARING)?;
        channel.send(&Gives::Lent, &[listener.as_fd(), lock.as_fd()])?;
        match channel.receive()? {
            Says::Prepared => Ok(channel),
            Says::Serving => Err(io::Error::other("it serves before it may")),
        }
    });
    let channel = prepared.await.map_err(io::Error::other)??;
    Ok(Heir { channel, process })
}

impl Heir {
    /// Gives everything away and waits until the successor serves.
    async fn give(self, luggage: Luggage) -> (Self, io::Result<()>) {
        let process = self.process;
        let mut channel = self.channel;
        let given = spawn_blocking(move || {
            let given = give(&mut channel, &luggage);
            (channel, given)
        });
        match given.await {
            Ok((channel, given)) => (Self { channel, process }, given),
            // A panic in there is a defect of ours; nothing is left to talk with.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Makes sure that it does not come to life after all.
    async fn end(mut self) {
        let process = self.process.take();
        let _ = spawn_blocking(move || match process {
            Some(process) => {
                let _ = process.signal(Signal::KILL);
                let _ = process.wait();
            }
            // Of another pid namespace: its end closes the connection.
            None => self.channel.await_end(),
        })
        .await;
    }
}

fn give(channel: &mut Channel, luggage: &Luggage) -> io::Result<()> {
    channel.wait_at_most(SETTLING)?;
    for (name, fd) in &luggage.fds {
        channel.send(&Gives::Luggage { name: name.clone() }, &[fd.as_fd()])?;
    }
    channel.send(&Gives::Yours { notes: luggage.notes.clone() }, &[])?;
    match channel.receive()? {
        Says::Serving => Ok(()),
        Says::Prepared => Err(io::Error::other("it says twice that it is prepared")),
    }
}

impl Server {
    /// One at a time: to a second one the connection closes.
    pub(super) fn lend(&mut self, stream: tokio::net::UnixStream) {
        if self.heir.is_empty() {
            let listener = self.listener.as_fd().try_clone_to_owned();
            let lock = self.agent.lock.as_fd().try_clone_to_owned();
            self.lent = stream.as_fd().try_clone_to_owned().ok();
            self.heir.spawn(lend(stream, listener, lock));
        }
    }

    /// A successor that is still preparing itself goes on without us: nothing of ours may wait for
    /// it, and least of all the lock.
    pub(super) async fn take_back(&mut self) {
        if let Some(lent) = self.lent.take() {
            let _ = rustix::net::shutdown(lent, rustix::net::Shutdown::Both);
            while self.heir.join_next().await.is_some() {}
        }
    }

    /// The successor is prepared. True: it serves, and this agent is none any more.
    pub(super) async fn hand_over(&mut self, heir: Heir) -> bool {
        let pid = heir.process.as_ref().map(|process| process.id().pid);
        info!(pid, "handing over to another agent");
        let handle = self.agent.handle.clone();
        let _ = timeout(ASKING, handle.all_have_asked()).await;
        let _ = timeout(UNDER_WAY, handle.out_of_service()).await;
        handle.0.handed.send_replace(Handed::Frozen);
        let app = hand_over_of(&handle);
        let luggage = match &app {
            Some(app) => (app.freeze)().await,
            None => Luggage::default(),
        };
        // Who asks now on a connection of ours is told to come again, and finds the other one. The
        // record in L is the successor's to write.
        handle.0.stage.send_replace(Stage::Stopping);
        let (heir, given) = heir.give(luggage).await;
        let Err(error) = given else {
            handle.0.handed.send_replace(Handed::Over);
            return true;
        };
        warn!(pid, %error, "the other agent has failed: going on");
        heir.end().await;
        self.agent.set_stage(Stage::Running);
        if let Some(app) = app {
            (app.thaw)().await;
        }
        handle.0.handed.send_replace(Handed::No);
        false
    }

    /// Another agent serves: socket, lock and its record are its own.
    pub(super) async fn leave_to_the_other(mut self, signals: &mut Signals) -> Stopped {
        info!("replaced by another agent");
        let hung = self.hooks(signals, false).await;
        self.let_replies_run_out().await;
        self.agent.handle.0.stage.send_replace(Stage::Stopped);
        Stopped { hung, _lock: self.agent.lock }
    }
}

fn hand_over_of(handle: &Handle) -> Option<std::sync::Arc<HandOver>> {
    let place = handle.0.hand_over.lock();
    place.unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}
