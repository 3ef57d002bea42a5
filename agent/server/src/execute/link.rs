//! The connection to one shim: frames in, commands out, one task each.
//!
//! Invariant: the owner is told [`Told::Gone`] once for a life, and only when the shim has ended
//! and so has all that it could have left behind. A connection that breaks is not a shim that died:
//! it is asked for again before anybody concludes anything.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hearth_core::{ServiceId, Verdict};
use hearth_process::{ProcessHandle, ProcessId, Signal, facts, pass};
use hearth_shim::Record;
use hearth_shim::frames::{Decoder, FromShim, State, ToShim, VERSION, encode};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::orphans::Remains;
use super::{fd, orphans};
use crate::bundle::{Bundle, Held};

/// Connections that break without having said a word, before only the shim's end is waited for.
const MUTE: u32 = 3;

/// What executors tell the owner.
#[derive(Debug)]
pub(crate) enum Told {
    /// A shim of an earlier agent has answered.
    Answered {
        /// All that it knows.
        state: Box<State>,
        /// The way to it.
        link: Link,
        /// What it held, where it was asked for that by itself.
        bundle: Option<Box<(Bundle, Held)>>,
    },
    /// A shim of an earlier agent ended before it had answered.
    Unanswered(PathBuf),
    /// A shim that did not answer has let go of its record.
    Released(PathBuf),
    /// A record has appeared under `shims/`: ours, or one of an agent that is no more.
    Appeared(PathBuf),
    /// A frame of a shim.
    Frame {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
        /// What it says.
        frame: FromShim,
    },
    /// A shim has ended, with all that it had.
    Gone {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
        /// Why nothing was ever heard of it; empty otherwise.
        reason: String,
        /// It was killed, and its last output with it: pids of what could not be ended.
        killed: Option<Vec<u32>>,
    },
    /// A shim that has a service which was to be started was asked, and has not answered in time.
    Overdue {
        /// Whose.
        id: ServiceId,
        /// The life that was not begun.
        life: u64,
    },
    /// What a shim had left that died while no agent lived is gone.
    Cleared {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
        /// Its record.
        record: PathBuf,
        /// Pids of what could not be ended.
        left: Vec<u32>,
    },
    /// A probe's answer.
    Probed {
        /// Whose.
        id: ServiceId,
        /// Which life.
        life: u64,
        /// Number of the test.
        test: usize,
        /// What it said.
        verdict: Verdict,
    },
}

/// What the owner wants of a line.
#[derive(Debug)]
pub(crate) enum Order {
    /// Tell the shim this.
    Tell(ToShim),
    /// Tell it this, and give it what comes with the frame's first byte.
    Give(ToShim, Arc<OwnedFd>),
    /// End so what the shim leaves, if it is killed.
    Ending(Ending),
    /// Neither tell nor hear anything until [`Order::Resume`], whatever becomes of the connection: a
    /// successor may be taking the shim over.
    Pause(oneshot::Sender<()>),
    /// Go on where it was paused.
    Resume,
}

/// The way to a shim. Dropped, its task ends and the connection closes.
#[derive(Debug)]
pub(crate) struct Link {
    orders: mpsc::UnboundedSender<Order>,
}

impl Link {
    /// Tells the shim. What it does not hear any more is told by [`Told::Gone`].
    pub(crate) fn tell(&self, frame: ToShim) {
        let _ = self.orders.send(Order::Tell(frame));
    }

    /// How what it leaves is to be ended, where that became known later.
    pub(crate) fn ends_by(&self, ending: Ending) {
        let _ = self.orders.send(Order::Ending(ending));
    }

    /// Gives it what it is to hold for its project.
    pub(crate) fn hold(&self, held: &Held) {
        let frame = ToShim::Hold { generation: held.generation };
        let _ = self.orders.send(Order::Give(frame, Arc::clone(&held.fd)));
    }

    /// Lets the line rest; what is returned comes true when it does, or has ended.
    pub(crate) fn pause(&self) -> oneshot::Receiver<()> {
        let (resting, rests) = oneshot::channel();
        let _ = self.orders.send(Order::Pause(resting));
        rests
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        let _ = self.orders.send(Order::Resume);
    }

    /// Says farewell, and returns when that is written.
    pub(crate) async fn leave(self) {
        self.tell(ToShim::Bye);
        // The task that takes the orders ends with this one.
        self.orders.closed().await;
    }

    /// A way to whoever takes orders at the other end.
    pub(crate) fn to(orders: mpsc::UnboundedSender<Order>) -> Self {
        Self { orders }
    }
}

/// How what a killed shim leaves behind is ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// With which signal.
    pub(crate) signal: Signal,
    /// After how long with SIGKILL.
    pub(crate) patience: Duration,
}

/// As a file has it that says nothing about it.
impl Default for Ending {
    fn default() -> Self {
        Self { signal: Signal::TERM, patience: Duration::from_secs(10) }
    }
}

/// One life's end of the line.
pub(crate) struct Line {
    pub(crate) id: ServiceId,
    pub(crate) life: u64,
    pub(crate) socket: PathBuf,
    pub(crate) record: PathBuf,
    pub(crate) ending: Ending,
    pub(crate) told: mpsc::Sender<Told>,
    pub(crate) orders: mpsc::UnboundedReceiver<Order>,
    pub(crate) seen: Seen,
}

/// What went by on the line, as far as its end depends on it.
#[derive(Default)]
pub(crate) struct Seen {
    shim: Option<ProcessId>,
    leader: Option<ProcessId>,
    over: bool,
    frames: bool,
    reason: Option<String>,
}

enum Broken {
    /// The agent has said farewell, or the owner is gone.
    Left,
    /// The connection ended.
    Ended,
}

impl Line {
    /// Relays until the shim has ended, and tells of it.
    pub(crate) async fn relay(mut self, mut stream: UnixStream, mut decoder: Decoder) {
        let mut mute = 0;
        loop {
            self.seen.frames = false;
            match self.talk(&mut stream, std::mem::take(&mut decoder)).await {
                Broken::Left => return,
                Broken::Ended => {}
            }
            mute = if self.seen.frames { 0 } else { mute + 1 };
            let again = if mute < MUTE { self.connect_again().await } else { None };
            match again {
                Some(connected) => stream = connected,
                None => break,
            }
        }
        let killed = self.shim_ended().await;
        let reason = match self.seen.shim {
            Some(_) => String::new(),
            None => {
                self.seen.reason.take().unwrap_or_else(|| "its shim ended without a word".into())
            }
        };
        let _ = self.told.send(Told::Gone { id: self.id, life: self.life, reason, killed }).await;
    }

    /// Nothing was connected: the reason why is told, and that is all.
    pub(crate) async fn never(self, reason: String) {
        let killed = None;
        let _ = self.told.send(Told::Gone { id: self.id, life: self.life, reason, killed }).await;
    }

    async fn talk(&mut self, stream: &mut UnixStream, mut decoder: Decoder) -> Broken {
        if self.pass_on(&mut decoder).await.is_err() {
            return Broken::Ended;
        }
        loop {
            tokio::select! {
                order = self.orders.recv() => {
                    let (frame, fd) = match order {
                        Some(Order::Tell(frame)) => (frame, None),
                        Some(Order::Give(frame, fd)) => (frame, Some(fd)),
                        Some(Order::Ending(ending)) => {
                            self.ending = ending;
                            continue;
                        }
                        Some(Order::Pause(resting)) => match self.rest(resting).await {
                            Some(Order::Tell(frame)) => (frame, None),
                            Some(_) => continue,
                            None => return Broken::Left,
                        },
                        Some(Order::Resume) => continue,
                        None => return Broken::Left,
                    };
                    let last = matches!(frame, ToShim::Bye);
                    if matches!(frame, ToShim::Stop | ToShim::Kill) {
                        self.wake();
                    }
                    let written = write(stream, &encode(&frame), fd.as_ref()).await;
                    if last {
                        return Broken::Left;
                    }
                    // What is left to be read may still tell how it ended.
                    if let Err(error) = written {
                        debug!(service = %self.id.name, %error, "a shim does not listen");
                    }
                }
                readable = stream.readable() => {
                    let read = readable.and_then(|()| read(stream, &mut decoder));
                    if self.pass_on(&mut decoder).await.is_err() {
                        return Broken::Ended;
                    }
                    match read {
                        Ok(true) => {}
                        Ok(false) | Err(_) => return Broken::Ended,
                    }
                }
            }
        }
    }

    /// A shim that somebody has stopped hears nothing: it must go on to do what it is told now.
    fn wake(&self) {
        let Some(shim) = &self.seen.shim else { return };
        if facts::is_stopped(shim.pid) {
            warn!(service = %self.id.name, shim = shim.pid, "a shim was stopped by a signal: it is let go on");
            let _ = ProcessHandle::open(shim).map(|handle| handle.signal(Signal::CONT));
        }
    }

    /// Returns the order that ends the rest: to go on, or to say farewell. None: the owner is gone.
    async fn rest(&mut self, resting: oneshot::Sender<()>) -> Option<Order> {
        let _ = resting.send(());
        loop {
            match self.orders.recv().await? {
                order @ (Order::Resume | Order::Tell(ToShim::Bye)) => return Some(order),
                Order::Pause(resting) => drop(resting.send(())),
                Order::Ending(ending) => self.ending = ending,
                // Nothing is decided while lines rest.
                Order::Tell(_) | Order::Give(..) => {}
            }
        }
    }

    async fn pass_on(&mut self, decoder: &mut Decoder) -> Result<(), ()> {
        loop {
            let frame = match decoder.next::<FromShim>() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                Err(error) => {
                    warn!(service = %self.id.name, %error, "a shim speaks otherwise than agreed");
                    return Err(());
                }
            };
            self.seen.note(&frame);
            let told = Told::Frame { id: self.id.clone(), life: self.life, frame };
            self.told.send(told).await.map_err(drop)?;
        }
    }

    /// A living shim takes us back; it has dropped us because we were slow, for example.
    async fn connect_again(&mut self) -> Option<UnixStream> {
        let known = self.seen.shim.as_ref()?;
        ProcessHandle::open(known).ok()?;
        let mut stream = UnixStream::connect(&self.socket).await.ok()?;
        stream.write_all(&encode(&hello())).await.ok()?;
        Some(stream)
    }

    /// Returns when the shim has ended and, if it left a tree, that has too: then with what of it
    /// could not be ended.
    async fn shim_ended(&mut self) -> Option<Vec<u32>> {
        let shim = self.seen.shim.clone()?;
        if let Ok(handle) = ProcessHandle::open(&shim)
            && let Err(error) = fd::ended(handle).await
        {
            warn!(pid = shim.pid, %error, "cannot wait for a shim's end");
        }
        if self.seen.over {
            return None;
        }
        // What it noted last; it may not have come to tell all of it.
        let record = Record::read(&self.record).ok().flatten();
        let record = record.filter(|record| record.shim == shim);
        let (leader, pipes) = record.map_or((None, Vec::new()), |it| (it.leader, it.pipes));
        let remains = Remains { leader: self.seen.leader.clone().or(leader), pipes };
        let leader = remains.leader.as_ref().map(|leader| leader.pid);
        warn!(service = %self.id.name, shim = shim.pid, leader, "a shim was killed: ending what it left, but \
            for what has a session of its own, no parent, and closed its output: that can't be told");
        Some(orphans::end(&remains, self.ending.signal, self.ending.patience).await)
    }
}

impl Seen {
    /// Remembers what the end will depend on.
    pub(crate) fn note(&mut self, frame: &FromShim) {
        self.frames = true;
        match frame {
            FromShim::State(state) => {
                self.shim = Some(state.shim.clone());
                self.leader.clone_from(&state.leader);
                self.over = state.emptied || state.failed.is_some();
            }
            FromShim::Started { leader } => self.leader = Some(leader.clone()),
            FromShim::Refused { reason } | FromShim::StartFailed { reason } => {
                self.reason = Some(reason.clone());
                self.over = true;
            }
            FromShim::Emptied => self.over = true,
            FromShim::Exited { .. }
            | FromShim::Probed { .. }
            | FromShim::Notified { .. }
            | FromShim::Held { .. }
            | FromShim::Unknown => {}
        }
    }
}

/// Writes a frame, and with its first byte the descriptor.
pub(crate) async fn write(
    stream: &mut UnixStream,
    bytes: &[u8],
    fd: Option<&Arc<OwnedFd>>,
) -> io::Result<()> {
    let Some(fd) = fd else { return stream.write_all(bytes).await };
    let fds = [fd.as_fd()];
    let sent = {
        let stream = &*stream;
        stream.async_io(Interest::WRITABLE, || pass::send(stream, bytes, &fds)).await?
    };
    stream.write_all(&bytes[sent..]).await
}

/// Reads once what is there. False: the end.
pub(crate) fn read(stream: &UnixStream, decoder: &mut Decoder) -> io::Result<bool> {
    // On the stack, and across no await: a buffer in each of a thousand tasks would add up.
    let mut bytes = [0; 8192];
    loop {
        match stream.try_read(&mut bytes) {
            Ok(0) => return Ok(false),
            Ok(count) => decoder.push(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// I am the agent now.
pub(crate) fn hello() -> ToShim {
    ToShim::Hello { version: VERSION, agent: ProcessId::current() }
}
