//! The writing side: a shim's, with no buffer of its own and no allocation a write.
//!
//! Invariants: a chunk's record is written before its bytes; a file never grows beyond `max_size`;
//! a service is never held up or ended because its output can't be kept: what can't be written is
//! dropped, counted, and told in the log at the same place as soon as writing works again.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::io::Errno;

use crate::index::{self, Kind, Record};
use crate::{Limits, Stream, nanoseconds, place};

/// Bytes in a pipe from which on [`Writer::splice`] takes them: it is cheaper than a copy then.
#[cfg(target_os = "linux")]
pub const SPLICED: u64 = 16 * 1024;

/// Appends one life's output to its service's log.
///
/// There may be one at a time for a directory; nothing checks that.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    limits: Limits,
    life: u64,
    /// The newest time in the index; later records are never older.
    at: u64,
    /// None while no file could be opened (a full disk at the start).
    current: Option<Current>,
    /// Whether each stream's last line is open: standard output, standard error.
    open: [bool; 2],
    lost: u64,
    /// The part of `lost` that no line in the log tells yet, and why the first of it was lost.
    untold: u64,
    reason: Option<String>,
    ended: bool,
    /// The file system can't take bytes from a pipe.
    #[cfg(target_os = "linux")]
    cannot_splice: bool,
}

#[derive(Debug)]
struct Current {
    number: u64,
    path: PathBuf,
    /// Device and inode of the log file.
    id: (u64, u64),
    log: File,
    index: File,
    /// Length of the log file as we left it.
    length: u64,
    /// Length of the index in bytes; what stands behind it is of no account.
    indexed: u64,
    /// Whether the last byte of the log file is a newline, or there is none.
    ends_line: bool,
}

impl Writer {
    /// Opens the log in `dir` (made with its parents, mode 0700) and goes on behind what is there.
    ///
    /// `life` must not be less than that of any writer before; a line that an earlier life left
    /// open stays its own. A disk that is full or read-only is no error: the writer then drops and
    /// counts until it can write.
    ///
    /// Errors: anything else that keeps the directory or the files from being made or read.
    pub fn open(dir: impl Into<PathBuf>, limits: Limits, life: u64) -> io::Result<Self> {
        let mut writer = Writer::new(dir.into(), limits, life);
        match writer.begin() {
            Err(error) if !disk_failed(&error) => Err(error),
            Ok(()) | Err(_) => Ok(writer),
        }
    }

    fn new(dir: PathBuf, limits: Limits, life: u64) -> Self {
        // A larger file can't be written by this process, whoever limited it (setrlimit(2)).
        let possible = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        let max_size = limits.max_size.min(possible.unwrap_or(u64::MAX)).max(256);
        Writer {
            dir,
            limits: Limits { max_size, keep: limits.keep.max(1) },
            life,
            at: 0,
            current: None,
            open: [false; 2],
            lost: 0,
            untold: 0,
            reason: None,
            ended: false,
            #[cfg(target_os = "linux")]
            cannot_splice: false,
        }
    }

    /// Appends `bytes`, which were read from `stream` at `at`; a time before that of the last write
    /// counts as that time.
    ///
    /// What can't be written is dropped and counted. Where the disk is full or broken (ENOSPC,
    /// EDQUOT, EIO, EROFS) that is not an error; anything else is returned as well, for the caller to tell
    /// if it can; the next write tries again in either case.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], at: SystemTime) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.at = self.at.max(nanoseconds(at));
        let mut rest = bytes;
        let result = self.put(stream, &mut rest);
        let Err(error) = result else { return Ok(()) };
        let missing = rest.len() as u64;
        self.lost += missing;
        self.untold += missing;
        // What comes next of this stream does not belong to what its open line holds.
        self.open[slot(stream)] = false;
        let expected = disk_failed(&error);
        if self.reason.is_none() {
            self.reason = Some(reason(&error));
        }
        if expected { Ok(()) } else { Err(error) }
    }

    /// As [`Writer::write`] with all that is in `pipe` now, which never passes through memory of ours:
    /// for a service that writes much (splice(2)). Says how many bytes it took. 0 where there is too
    /// little to be worth it, where this file has no room for all of it, or where the kernel can't or
    /// the disk fails: what is in the pipe is then to be read and written, as anything else.
    #[cfg(target_os = "linux")]
    pub fn splice(&mut self, stream: Stream, pipe: BorrowedFd<'_>, at: SystemTime) -> usize {
        let there = rustix::io::ioctl_fionread(pipe).unwrap_or(0);
        if there < SPLICED || self.cannot_splice || self.check().and_then(|()| self.tell()).is_err()
        {
            return 0;
        }
        let fits = self.current.as_ref().is_some_and(|current| {
            current.indexed + index::SIZE as u64 <= self.limits.max_size
                && current.length.saturating_add(there) <= self.limits.max_size
        });
        let Some(length) = usize::try_from(there).ok().filter(|_| fits) else { return 0 };
        self.at = self.at.max(nanoseconds(at));
        // Bytes that did not come are still in the pipe: who reads them finds out why.
        let (written, result) = self.append(kind(stream), Chunk::Pipe(pipe, length));
        let invalid = Some(Errno::INVAL.raw_os_error());
        self.cannot_splice = result.is_err_and(|error| error.raw_os_error() == invalid);
        self.note_open(stream, written);
        written
    }

    /// How many bytes could not be written since this writer was opened.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Says that this life writes nothing more, so that those who follow see a last line without a
    /// newline now and not with the next life. Dropping the writer does the same. Writing afterwards
    /// is allowed and reopens nothing.
    pub fn end(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        // If the disk is full now, the next life's first record tells the same, only later.
        let _ = self.tell().and_then(|()| self.mark(Kind::End));
        self.open = [false; 2];
    }

    /// Goes on behind what is there; tells that the life begins; lets go what is too old.
    fn begin(&mut self) -> io::Result<()> {
        self.go_on()?;
        self.mark(Kind::Begin)?;
        retain(&self.dir, self.limits.keep);
        Ok(())
    }

    /// Opens the newest file, or the first.
    fn go_on(&mut self) -> io::Result<()> {
        let numbers = place::numbers(&self.dir)?;
        match numbers.last() {
            Some(&number) => self.resume(number)?,
            None => self.rotate()?,
        }
        for &number in numbers.iter().rev() {
            if let Some(at) = newest_time(&self.dir, number)? {
                self.at = self.at.max(at);
                break;
            }
        }
        Ok(())
    }

    /// Goes on in file `number`, which an earlier life left. Records that no byte followed are cut.
    fn resume(&mut self, number: u64) -> io::Result<()> {
        let path = place::log(&self.dir, number);
        let log = open(&path, false)?;
        let index = open(&place::index(&self.dir, number), true)?;
        let found = log.metadata()?;
        let (id, length) = ((found.dev(), found.ino()), found.len());
        let records = index::partition(&index, |record| record.offset <= length)?;
        let indexed = records * index::SIZE as u64;
        cut(&index, indexed)?;
        let mut last = [b'\n'];
        if length > 0 {
            index::read_at(&log, &mut last, length - 1)?;
        }
        let ends_line = last == [b'\n'];
        self.current = Some(Current { number, path, id, log, index, length, indexed, ends_line });
        Ok(())
    }

    /// Writes `rest` and moves it on as bytes reach the disk.
    fn put(&mut self, stream: Stream, rest: &mut &[u8]) -> io::Result<()> {
        self.check()?;
        self.tell()?;
        let kind = kind(stream);
        while !rest.is_empty() {
            let here = self.fitting(rest, self.open[slot(stream)]);
            if here == 0 {
                self.rotate()?;
                continue;
            }
            let (written, result) = self.append(kind, Chunk::Bytes(&rest[..here]));
            self.note_open(stream, written);
            *rest = &rest[written..];
            result?;
        }
        Ok(())
    }

    /// Whether the stream's last line is open after so many bytes of it.
    fn note_open(&mut self, stream: Stream, written: usize) {
        if written > 0 {
            self.open[slot(stream)] = self.current.as_ref().is_some_and(|file| !file.ends_line);
        }
    }

    /// How much of `bytes` belongs into the current file: up to the end of the last line that fits,
    /// so that lines are whole in their file, but a line longer than what is left of the file is
    /// spread over files and put together by the reader. 0: the next file is needed first.
    fn fitting(&self, bytes: &[u8], continues: bool) -> usize {
        let Some(current) = &self.current else { return 0 };
        if current.indexed + index::SIZE as u64 > self.limits.max_size {
            return 0;
        }
        let room = self.limits.max_size.saturating_sub(current.length);
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(1 << 30);
        if bytes.len() <= room {
            return bytes.len();
        }
        match bytes[..room].iter().rposition(|&byte| byte == b'\n') {
            Some(newline) => newline + 1,
            None if continues || current.length == 0 => room,
            None => 0,
        }
    }

    /// One chunk: its record, then its bytes. Says how many bytes reached the file, also on an error.
    fn append(&mut self, kind: Kind, chunk: Chunk<'_>) -> (usize, io::Result<()>) {
        let (at, life, [out, err]) = (self.at, self.life, self.open);
        let (continues, other_open) = match kind {
            Kind::Stdout => (out, err),
            Kind::Stderr => (err, out),
            // After these no line goes on.
            Kind::Hearth | Kind::Begin | Kind::End | Kind::Unknown => (false, false),
        };
        let Some(current) = &mut self.current else {
            return (0, Err(Errno::NOENT.into()));
        };
        let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        let offset = current.length;
        let record = Record { offset, at, life, length, kind, continues, other_open };
        if let (_, Err(error)) = write_all_at(&current.index, &record.encode(), current.indexed) {
            return (0, Err(error));
        }
        let (written, result) = chunk.write(&current.log, offset);
        // A record that no byte followed is overwritten by the next one.
        if written > 0 || length == 0 {
            current.indexed += index::SIZE as u64;
        }
        current.length += written as u64;
        if written > 0 {
            current.ends_line = chunk.ends_line(written, current);
        }
        (written, result)
    }

    /// A record without bytes.
    fn mark(&mut self, kind: Kind) -> io::Result<()> {
        if self
            .current
            .as_ref()
            .is_none_or(|current| current.indexed + index::SIZE as u64 > self.limits.max_size)
        {
            self.rotate()?;
        }
        self.append(kind, Chunk::Bytes(&[])).1
    }

    /// Where output was lost, the line that says how much. It ends the open lines of both streams.
    fn tell(&mut self) -> io::Result<()> {
        if self.untold == 0 {
            return Ok(());
        }
        let why = self.reason.as_deref().unwrap_or("unknown");
        self.say(&format!("hearth: {} bytes lost: {why}", self.untold))?;
        self.untold = 0;
        self.reason = None;
        Ok(())
    }

    /// A line of hearth's own, which ends the open lines of both streams.
    fn say(&mut self, text: &str) -> io::Result<()> {
        let ends_line = self.current.as_ref().is_none_or(|current| current.ends_line);
        let line = format!("{}{text}\n", if ends_line { "" } else { "\n" });
        if self.fitting(line.as_bytes(), false) < line.len() {
            self.rotate()?;
        }
        // If a part of it comes through, readers leave that out, and it is said again as a whole.
        self.append(Kind::Hearth, Chunk::Bytes(line.as_bytes())).1?;
        self.open = [false; 2];
        Ok(())
    }

    /// Goes to a new file where ours was cut, or is no longer at its path because it was removed or
    /// one of the directories above it was moved away: one stat(2) a write.
    fn check(&mut self) -> io::Result<()> {
        let sound = match &self.current {
            None => return self.begin(),
            Some(current) => current.is_sound()?,
        };
        if sound { Ok(()) } else { self.rotate() }
    }

    /// Opens the next file and lets the oldest go. The index is made first: who sees the log file
    /// finds its index too. On an error everything stays as it was.
    fn rotate(&mut self) -> io::Result<()> {
        let ours = self.current.as_ref().map_or(0, |current| current.number);
        let number = place::numbers(&self.dir)?.last().map_or(ours, |&last| last.max(ours)) + 1;
        let path = place::index(&self.dir, number);
        let index = match open(&path, true) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
                open(&path, true)?
            }
            other => other?,
        };
        cut(&index, 0)?;
        let path = place::log(&self.dir, number);
        let log = open(&path, true)?;
        cut(&log, 0)?;
        let found = log.metadata()?;
        let (id, length, indexed, ends_line) = ((found.dev(), found.ino()), 0, 0, true);
        self.current = Some(Current { number, path, id, log, index, length, indexed, ends_line });
        retain(&self.dir, self.limits.keep);
        Ok(())
    }
}

/// What is to be written.
enum Chunk<'a> {
    Bytes(&'a [u8]),
    /// So many bytes, which are in this pipe.
    #[cfg(target_os = "linux")]
    Pipe(BorrowedFd<'a>, usize),
}

impl Chunk<'_> {
    fn len(&self) -> usize {
        match self {
            Chunk::Bytes(bytes) => bytes.len(),
            #[cfg(target_os = "linux")]
            Chunk::Pipe(_, length) => *length,
        }
    }

    fn write(&self, log: &File, offset: u64) -> (usize, io::Result<()>) {
        match self {
            Chunk::Bytes(bytes) => write_all_at(log, bytes, offset),
            #[cfg(target_os = "linux")]
            Chunk::Pipe(pipe, length) => splice_all_at(*pipe, *length, log, offset),
        }
    }

    /// Whether its last byte of so many that were written, at the end of `current`, is a newline.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    fn ends_line(&self, written: usize, current: &Current) -> bool {
        match self {
            Chunk::Bytes(bytes) => bytes[written - 1] == b'\n',
            #[cfg(target_os = "linux")]
            Chunk::Pipe(..) => {
                let mut last = [0];
                let read = index::read_at(&current.log, &mut last, current.length - 1);
                read.is_ok() && last == [b'\n']
            }
        }
    }
}

impl Current {
    /// Whether the file is at its path and as long as we left it.
    fn is_sound(&self) -> io::Result<bool> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == self.id && there.len() == self.length),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(false),
                // A directory above that lets nobody in: what is open can still be written.
                _ => Ok(self.log.metadata()?.len() == self.length),
            },
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Appends one line of hearth's own to the log in `dir`, where `life`, the last that wrote to it,
/// could not say it itself: its shim was killed. What it left open ends there; readers are shown the
/// line as one of `life`'s, on standard error.
///
/// Only while no [`Writer`] lives: nothing checks that, and what that writes would be torn.
///
/// `text` is one line: control characters in it become spaces, it begins with `hearth: `, which is
/// put before it where it is missing, and is cut where it is longer than a file may be.
///
/// Errors: whatever keeps the line from being written, a full disk included.
pub fn note(dir: impl Into<PathBuf>, limits: Limits, life: u64, text: &str) -> io::Result<()> {
    let text = text.strip_prefix("hearth: ").unwrap_or(text);
    let mut line = format!("hearth: {text}").replace(char::is_control, " ");
    let mut writer = Writer::new(dir.into(), limits, life);
    // With the newline that ends it, and one before it.
    let longest = usize::try_from(writer.limits.max_size).unwrap_or(usize::MAX) - 2;
    line.truncate(line.floor_char_boundary(longest));
    writer.go_on()?;
    writer.at = writer.at.max(nanoseconds(SystemTime::now()));
    writer.say(&line)
}

fn kind(stream: Stream) -> Kind {
    match stream {
        Stream::Stdout => Kind::Stdout,
        Stream::Stderr => Kind::Stderr,
    }
}

fn slot(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// Makes a file that short, where it is not. One that is empty must not be cut once more: ext4 would
/// take it for a file that is being replaced, and write all of it to the disk when it is closed
/// (`auto_da_alloc`), while whoever waits for the service's end waits for that.
fn cut(file: &File, length: u64) -> io::Result<()> {
    if file.metadata()?.len() == length { Ok(()) } else { file.set_len(length) }
}

/// The time of the last record in the index of file `number`, if it has one.
fn newest_time(dir: &Path, number: u64) -> io::Result<Option<u64>> {
    let Ok(index) = File::open(place::index(dir, number)) else { return Ok(None) };
    let Some(last) = index::count(&index)?.checked_sub(1) else { return Ok(None) };
    Ok(index::record(&index, last)?.map(|record| record.at))
}

/// Removes all but the newest `keep` files. One that can't be removed is tried again next time.
fn retain(dir: &Path, keep: u32) {
    let Ok(numbers) = place::numbers(dir) else { return };
    let surplus = numbers.len().saturating_sub(keep as usize);
    for &number in &numbers[..surplus] {
        let _ = std::fs::remove_file(place::log(dir, number));
        let _ = std::fs::remove_file(place::index(dir, number));
    }
}

fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write_at(&bytes[written..], offset + written as u64) {
            Ok(0) => return (written, Err(Errno::NOSPC.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

#[cfg(target_os = "linux")]
fn splice_all_at(
    pipe: BorrowedFd<'_>,
    length: usize,
    file: &File,
    offset: u64,
) -> (usize, io::Result<()>) {
    use rustix::pipe::{SpliceFlags, splice};
    let mut written = 0;
    while written < length {
        let mut at = offset + written as u64;
        match splice(pipe, None, file, Some(&mut at), length - written, SpliceFlags::NONBLOCK) {
            Ok(0) => break,
            Ok(n) => written += n,
            Err(Errno::INTR) => {}
            Err(errno) => return (written, Err(errno.into())),
        }
    }
    (written, Ok(()))
}

/// A disk that is full or broken, or was made read-only, as Linux does with one that is broken: no
/// fault of the caller, who can do nothing about it.
fn disk_failed(error: &io::Error) -> bool {
    let failed = [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::ROFS].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|errno| failed.contains(&errno))
}

fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) if errno == Errno::NOSPC.raw_os_error() => "disk full".to_owned(),
        Some(errno) if errno == Errno::DQUOT.raw_os_error() => "disk quota used up".to_owned(),
        Some(errno) if errno == Errno::ROFS.raw_os_error() => "file system read-only".to_owned(),
        _ => error.to_string(),
    }
}
