//! An agent's watch over its own files.
//!
//! Kept true here: a socket that is gone from its path is published again, under L; and an agent whose lock
//! file is not at its path any more steps down, since the next one would lock another file, and there would
//! be two. All by the kernel's word (inotify(7), kqueue(2)): nothing looks again by time.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hearth_process::watch::DirWatch;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixListener;
use tokio::time::sleep;
use tracing::{error, warn};

use super::accept::serve_connection;
use super::publish::{PublishError, Standing, publish, standing, withdraw};
use super::serve::{Cause, Server, take_queued};
use super::take::same_file;
use crate::Home;
use crate::record::Stage;

/// From unlinking a socket to listening on the next one takes less.
const BINDING: Duration = Duration::from_millis(20);

/// The home's directory, and that of the sockets where it is another one.
pub(super) type Watches = [Option<AsyncFd<DirWatch>>; 2];

impl Server {
    /// Something changed in the directory: are the lock and the socket still ours?
    pub(super) async fn check_home(&mut self) -> Option<Cause> {
        if !self.holds_its_lock_file() {
            return Some(Cause::HomeGone);
        }
        let inode = self.inode?;
        if standing(&self.agent.home, inode) == Standing::Gone {
            // A manager that begins to listen there unlinks, binds and listens, and nothing tells of
            // the last step: in between its socket looks like one that nobody needs.
            sleep(BINDING).await;
        }
        match standing(&self.agent.home, inode) {
            Standing::Ours => None,
            Standing::Gone => self.publish_again(),
        }
    }

    /// Takes our socket away; a manager's stays.
    pub(super) fn withdraw(&self) {
        if let Some(inode) = self.inode {
            withdraw(&self.agent.home, inode);
        }
    }

    /// L is a file in the home. If that file is not at its path any more, the next agent will lock
    /// another one, and we would be two.
    fn holds_its_lock_file(&self) -> bool {
        same_file(self.agent.lock.file(), &self.agent.home.agent_lock())
    }

    fn publish_again(&mut self) -> Option<Cause> {
        let published = match publish(&self.agent.home, Duration::ZERO) {
            // The directory itself has gone, as one below XDG_RUNTIME_DIR does at a logout.
            Err(PublishError::Blocked(_)) => match self.agent.home.make_room_for_sockets() {
                Ok(home) => {
                    self.agent.record.socket = home.socket();
                    self.agent.home = home;
                    publish(&self.agent.home, Duration::ZERO)
                }
                Err(blocked) => Err(blocked.into()),
            },
            published => published,
        };
        match published.map(|(listener, inode)| (UnixListener::from_std(listener), inode)) {
            Ok((Ok(listener), inode)) => {
                let path = self.agent.home.socket();
                warn!("the socket was gone from its path: published again at {}", path.display());
                // Who is in the old queue found it before: the new one takes its place only after.
                while let Some(stream) = take_queued(&self.listener) {
                    let front = Arc::clone(&self.front);
                    self.connections.spawn(serve_connection(front, stream));
                }
                self.listener = listener;
                self.inode = Some(inode);
                self.watches = watch_over(&self.agent.home);
                // Where it listens now is to be found there.
                self.agent.set_stage(Stage::Running);
                None
            }
            Ok((Err(source), _)) => {
                error!(error = %source, "cannot listen on the new socket");
                None
            }
            Err(PublishError::Foreign(path)) => {
                error!("another process listens on {}: stepping down", path.display());
                Some(Cause::Foreign)
            }
            Err(error @ PublishError::Blocked(_)) => {
                error!(%error, "cannot publish the socket again");
                None
            }
        }
    }
}

fn watch(directory: &Path) -> io::Result<AsyncFd<DirWatch>> {
    let watch = DirWatch::names(directory)?;
    // SAFETY: the watch owns its descriptor, always tells the same one, and closes it when the
    // `AsyncFd` that owns the watch is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(watch, Interest::READABLE) }?)
}

/// Watches on all that is guarded; what can't be watched is told, and not guarded.
pub(super) fn watch_over(home: &Home) -> Watches {
    let elsewhere = Some(home.sockets()).filter(|sockets| *sockets != home.dir());
    [Some(home.dir()), elsewhere].map(|directory| {
        let cannot = "cannot watch the home: the socket is not guarded";
        watch(directory?).inspect_err(|error| warn!(%error, "{cannot}")).ok()
    })
}

/// Returns when names in the watched directories have changed; never where there is no watch.
pub(super) async fn changed([one, other]: &Watches) {
    tokio::select! {
        () = changed_in(one.as_ref()) => {}
        () = changed_in(other.as_ref()) => {}
    }
}

async fn changed_in(watch: Option<&AsyncFd<DirWatch>>) {
    let Some(watch) = watch else { return std::future::pending().await };
    if let Ok(mut ready) = watch.readable().await {
        let _ = ready.get_inner().drain();
        ready.clear_ready();
    }
}
