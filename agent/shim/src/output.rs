//! The service's output: from its two pipes into its log.
//!
//! Invariants: nothing is held back, so what was read is in the log before the next thing is told;
//! and nothing waits for the end of a pipe, which a process outside the tree may hold open.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::SystemTime;

use hearth_logs::{Limits, Stream, Writer};
use rustix::io::Errno;

use crate::frames::Spec;

/// As much as a pipe holds by default. Only what was once filled takes memory.
const BUFFER: usize = 64 << 10;

/// A read of less than this is one of a quiet service, more than [`LOUD`] one of a loud one.
const QUIET: usize = 4 << 10;
const LOUD: usize = 16 << 10;

/// What the pipe of a loud service holds.
#[cfg(target_os = "linux")]
const WIDE: usize = 256 << 10;

/// So much is copied before an exit is told, however fast a survivor of the tree writes.
const BEFORE_EXIT: usize = 4 << 20;

/// Both pipes and the log.
pub struct Output {
    pipes: [Option<PipeReader>; 2],
    log: Writer,
    buffer: Vec<u8>,
    /// More of the buffer was filled than a quiet service needs, and holds memory since.
    grown: bool,
    /// Which of the pipes were made larger, for a service that writes much.
    wide: [bool; 2],
    /// What passes from such a pipe to the log; empty between two copies.
    #[cfg(target_os = "linux")]
    relay: Option<(PipeReader, PipeWriter)>,
}

/// The ends that the service gets.
pub struct Ends {
    /// Descriptor 1.
    pub stdout: PipeWriter,
    /// Descriptor 2.
    pub stderr: PipeWriter,
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

impl Output {
    /// Opens the log and makes the pipes.
    pub fn open(spec: &Spec) -> io::Result<(Self, Ends)> {
        let limits = Limits { max_size: spec.log.max_size, keep: spec.log.keep };
        let log = Writer::open(spec.log_dir.as_path(), limits, spec.life)?;
        let (out, stdout) = io::pipe()?;
        let (err, stderr) = io::pipe()?;
        // Only our ends: a service may rely on writes that wait.
        rustix::io::ioctl_fionbio(&out, true)?;
        rustix::io::ioctl_fionbio(&err, true)?;
        if let Some(user) = &spec.user {
            // Or it could write, and not open /dev/stdout.
            let uid = Some(rustix::fs::Uid::from_raw(user.uid));
            rustix::fs::fchown(&stdout, uid, None)?;
            rustix::fs::fchown(&stderr, uid, None)?;
        }
        let (pipes, buffer) = ([Some(out), Some(err)], Vec::with_capacity(BUFFER));
        let output = Self {
            pipes,
            log,
            buffer,
            grown: false,
            wide: [false; 2],
            #[cfg(target_os = "linux")]
            relay: None,
        };
        Ok((output, Ends { stdout, stderr }))
    }

    /// The inode numbers of the pipes.
    pub fn inodes(&self) -> Vec<u64> {
        let open = self.pipes.iter().flatten();
        open.filter_map(|pipe| rustix::fs::fstat(pipe).ok()).map(|found| found.st_ino).collect()
    }

    /// The pipes that are still open, by number.
    pub fn open_pipes(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let pipes = self.pipes.iter().enumerate();
        pipes.filter_map(|(number, pipe)| pipe.as_ref().map(|pipe| (number, pipe.as_fd())))
    }

    /// Copies what one read gives. Says how many bytes that were; 0: nothing is there now.
    pub fn copy(&mut self, number: usize) -> usize {
        #[cfg(target_os = "linux")]
        if self.wide[number]
            && let Some(count) = self.pass_on(number)
        {
            return count;
        }
        let Some(pipe) = &self.pipes[number] else { return 0 };
        self.buffer.clear();
        match rustix::io::read(pipe, rustix::buffer::spare_capacity(&mut self.buffer)) {
            Ok(0) => self.pipes[number] = None,
            Ok(count) => {
                // What can't be written is counted and told by the log itself.
                let _ = self.log.write(STREAMS[number], &self.buffer, SystemTime::now());
                self.let_go_after(count);
                self.widen_after(number, count);
                return count;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.pipes[number] = None,
        }
        0
    }

    /// What is in the service's pipe goes on into its log without passing through memory of ours.
    /// None: it has to be read, be it because it is little, or because the kernel can't.
    ///
    /// By way of a pipe of our own, into which the pages move: while a file takes what is in a pipe,
    /// nobody can write into that pipe.
    #[cfg(target_os = "linux")]
    fn pass_on(&mut self, number: usize) -> Option<usize> {
        use rustix::pipe::SpliceFlags;
        let pipe = self.pipes[number].as_ref()?;
        if rustix::io::ioctl_fionread(pipe).ok()? < hearth_logs::SPLICED {
            return None;
        }
        if self.relay.is_none() {
            let (reader, writer) = io::pipe().ok()?;
            rustix::pipe::fcntl_setpipe_size(&writer, WIDE).ok()?;
            rustix::io::ioctl_fionbio(&reader, true).ok()?;
            self.relay = Some((reader, writer));
        }
        let (reader, writer) = self.relay.as_ref()?;
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = rustix::pipe::splice(pipe, None, writer, None, WIDE, flags).ok()?;
        let mut left = moved;
        while left > 0 {
            match self.log.splice(STREAMS[number], reader.as_fd(), SystemTime::now()) {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        while left > 0 {
            // The file has no room for all of it, or the disk has failed: as anything else.
            self.buffer.clear();
            match rustix::io::read(reader, rustix::buffer::spare_capacity(&mut self.buffer)) {
                Ok(0) => break,
                Ok(count) => {
                    let _ = self.log.write(STREAMS[number], &self.buffer, SystemTime::now());
                    left = left.saturating_sub(count);
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        (moved > 0).then_some(moved)
    }

    /// A burst of output is no reason to keep the memory that it took for the rest of the life.
    fn let_go_after(&mut self, count: usize) {
        self.grown |= count > LOUD;
        if self.grown && count < QUIET {
            self.grown = false;
            self.buffer = Vec::new();
            crate::turn::trim();
            self.buffer = Vec::with_capacity(BUFFER);
        }
    }

    /// A service that fills its pipe waits less for us the more that holds. A user may have 64 MiB in
    /// pipes before the kernel makes them narrow (pipe(7)), so it lasts only while it is needed.
    fn widen_after(&mut self, number: usize, count: usize) {
        #[cfg(target_os = "linux")]
        {
            let size = match self.wide[number] {
                false if count > BUFFER / 2 => WIDE,
                true if count < QUIET => BUFFER,
                true | false => return,
            };
            let Some(pipe) = &self.pipes[number] else { return };
            // Refused: it stays as it is, which does as well, only slower.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, size);
            self.wide[number] = size == WIDE;
            if self.wide == [false; 2] {
                self.relay = None;
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (number, count, &mut self.wide);
    }

    /// Copies what is there now, of both, and waits for nothing.
    pub fn copy_what_is_there(&mut self) {
        for number in 0..self.pipes.len() {
            let mut copied = 0;
            while copied < BEFORE_EXIT {
                match self.copy(number) {
                    0 => break,
                    count => copied += count,
                }
            }
        }
    }

    /// Copies the rest of what the tree wrote, which has ended; what a process outside of it goes
    /// on writing is still copied as long as the shim lives.
    pub fn end(&mut self) {
        self.copy_what_is_there();
        self.log.end();
    }
}
