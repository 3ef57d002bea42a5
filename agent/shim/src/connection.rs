//! One control connection, never waited for.
//!
//! Invariant: a peer that does not read, sends rubbish or belongs to somebody else costs its own
//! connection and nothing more; the service's output is copied on meanwhile.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use hearth_process::pass;

use crate::frames::{Decoder, FromShim, MAX_FRAME, ToShim, encode};

/// So many bytes may come from who has not said that he is the agent, before they make a frame.
const STRANGERS: usize = 64 << 10;

/// Beyond so much unread the peer is given up: one `State` of the largest size and some frames.
const QUEUE: usize = MAX_FRAME + (64 << 10);

/// More descriptors than this are not kept while no frame has asked for them.
const AHEAD: usize = 8;

/// A connection and what is still to be written to it.
pub struct Connection {
    socket: UnixStream,
    decoder: Decoder,
    /// Came with bytes whose frame has not asked for them yet.
    came: Vec<OwnedFd>,
    queue: Vec<u8>,
    /// Goes out with the byte of the queue at that place.
    passes: VecDeque<(usize, Rc<OwnedFd>)>,
    /// It has said `Start` or `Hello` and no newer one has.
    pub agent: bool,
    /// Whose it is, as far as that is known.
    pub pid: Option<u32>,
    /// It ended, failed or was given up; to be dropped.
    pub ended: bool,
}

impl Connection {
    /// Takes a socket that somebody has connected to ours.
    ///
    /// Errors: a foreign uid at the other end, or no way to tell.
    pub fn accepted(socket: UnixStream) -> io::Result<Self> {
        let uid = hearth_process::peer_uid(&socket)?;
        if uid != rustix::process::geteuid().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        socket.set_nonblocking(true)?;
        Ok(Self::over(socket))
    }

    /// Takes the socket that the caller gave us. It is trusted as the caller is; a pair of sockets
    /// has no peer credentials on macOS.
    ///
    /// Errors: it is no connected Unix socket.
    pub fn inherited(socket: UnixStream) -> io::Result<Self> {
        socket.peer_addr()?;
        let pid = hearth_process::peer(&socket).ok().and_then(|peer| peer.pid);
        Ok(Self { pid, ..Self::over(socket) })
    }

    fn over(socket: UnixStream) -> Self {
        Self {
            socket,
            decoder: Decoder::new(),
            came: Vec::new(),
            queue: Vec::new(),
            passes: VecDeque::new(),
            agent: false,
            pid: None,
            ended: false,
        }
    }

    /// Waits for one frame: only before the loop. None: the end, or something else than frames.
    pub fn wait_for_frame(&mut self) -> Option<ToShim> {
        let mut bytes = [0; 4096];
        loop {
            match self.decoder.next() {
                Ok(Some(frame)) => return Some(frame),
                Ok(None) => {}
                Err(_) => return None,
            }
            match self.receive(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.decoder.push(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// From here on nothing waits for this peer.
    pub fn never_wait(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Reads once, for [`Connection::next`].
    pub fn read(&mut self) {
        let mut bytes = [0; 4096];
        match self.receive(&mut bytes) {
            Ok(0) => self.ended = true,
            Ok(count) => self.decoder.push(&bytes[..count]),
            Err(error) if may_try_again(&error) => {}
            Err(_) => self.ended = true,
        }
        // Who is not the agent has nothing long to say, and what is understood takes more memory
        // than it has bytes.
        self.ended |= !self.agent && self.decoder.pending() > STRANGERS;
    }

    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = pass::receive(&self.socket, bytes, &mut self.came)?;
        self.came.truncate(AHEAD);
        Ok(count)
    }

    /// The next frame of what was read.
    pub fn next(&mut self) -> Option<ToShim> {
        match self.decoder.next() {
            Ok(frame) => {
                if frame.is_none() && self.decoder.is_empty() {
                    // No frame is left that they could belong to.
                    self.came = Vec::new();
                }
                frame
            }
            Err(_) => {
                self.ended = true;
                None
            }
        }
    }

    /// The descriptor of the frame that [`Connection::next`] has just given.
    pub fn descriptor(&mut self) -> Option<OwnedFd> {
        (!self.came.is_empty()).then(|| self.came.remove(0))
    }

    /// Sends what goes at once and keeps the rest for [`Connection::write`].
    pub fn send(&mut self, frame: &FromShim) {
        self.queue.extend_from_slice(&encode(frame));
        self.go_on();
    }

    /// The same with a descriptor on the frame's first byte.
    pub fn send_with(&mut self, frame: &FromShim, fd: Rc<OwnedFd>) {
        if self.passes.len() >= AHEAD {
            // It asks and asks, and takes nothing.
            self.ended = true;
            return;
        }
        self.passes.push_back((self.queue.len(), fd));
        self.send(frame);
    }

    fn go_on(&mut self) {
        self.write();
        if self.queue.len() > QUEUE {
            self.ended = true;
        }
    }

    /// Something is left to be written.
    pub fn is_behind(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Writes what the peer takes now.
    pub fn write(&mut self) {
        while !self.queue.is_empty() && !self.ended {
            match self.write_once() {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.queue.drain(..count);
                    self.passes.iter_mut().for_each(|(place, _)| *place -= count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if may_try_again(&error) => break,
                Err(_) => self.ended = true,
            }
        }
        if self.queue.is_empty() {
            self.queue = Vec::new();
        }
    }

    /// Up to the next byte that a descriptor goes with; that one and what follows with it.
    fn write_once(&mut self) -> io::Result<usize> {
        let ahead = self.passes.get(1).map_or(self.queue.len(), |(place, _)| *place);
        match self.passes.front() {
            Some((0, fd)) => {
                let count = pass::send(&self.socket, &self.queue[..ahead], &[fd.as_fd()])?;
                if count > 0 {
                    self.passes.pop_front();
                }
                Ok(count)
            }
            Some((place, _)) => self.socket.write(&self.queue[..*place]),
            None => self.socket.write(&self.queue),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn may_try_again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
