//! A file that one process holds locked for as long as it lives, with one record in it.
//!
//! Invariant: the lock belongs to the open file description and is let go by closing alone,
//! never by `LOCK_UN`. A description handed down to a child is one lock held by two processes;
//! unlocking it in one would take it from the other, who goes on believing that it is alone.
//! The kernel closes on death, whatever the death: a held lock is a living holder, without pid
//! files that go stale.
//!
//! The record is one write of fixed size with its length and checksum first, so a reader can tell
//! a torn one, and rewriting it takes no new block of a full disk.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat};
use rustix::io::{Errno, FdFlags, retry_on_intr};

/// Bytes that a record takes in the file, its head included.
pub const SIZE: usize = 8192;
/// Bytes that a record can carry.
pub const CAPACITY: usize = SIZE - HEAD;

/// Magic, length and checksum, little-endian.
const HEAD: usize = 16;
/// "hrt1".
const MAGIC: u32 = u32::from_le_bytes(*b"hrt1");
/// A record read while it is written looks torn; the writer needs microseconds for it.
const READS: usize = 3;

/// A file held exclusively; dropping it closes it, which lets go where nobody else has the same
/// description.
#[derive(Debug)]
pub struct LockedFile {
    file: File,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TryError {
    /// Somebody holds it, or tests it in this moment.
    #[error("the file is locked by another process")]
    Held,
    /// The file system has no locks of this kind.
    #[error("the file system cannot lock files: {0}")]
    Unsupported(io::Error),
    /// Any other refusal of flock(2).
    #[error("the file cannot be locked: {0}")]
    Os(io::Error),
}

/// What is in a locked file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A whole record: its payload.
    Valid(Vec<u8>),
    /// Nothing was ever written.
    Empty,
    /// Something that is no whole record: its writer died over it, or is just writing.
    Torn,
}

/// Opens a file to be locked, for reading and writing, close-on-exec; `create`: makes it with
/// mode 0600 if it is not there.
///
/// Errors: those of open(2); ELOOP if it is a symlink, `InvalidInput` if it is no regular file.
pub fn open(path: &Path, create: bool) -> io::Result<File> {
    // O_NONBLOCK: somebody's FIFO must not hang us before it is refused; no effect on files.
    let mut flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    flags.set(OFlags::CREATE, create);
    regular(retry_on_intr(|| rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR))?)
}

fn open_to_read(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    regular(retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?)
}

fn regular(fd: OwnedFd) -> io::Result<File> {
    if FileType::from_raw_mode(fstat(&fd)?.st_mode as _) == FileType::RegularFile {
        Ok(fd.into())
    } else {
        let message = "a lock must be a regular file";
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }
}

/// Above what a process of few descriptors has, and below the usual limit of them (1,024).
const HIGH: RawFd = 1000;

impl LockedFile {
    /// [`open`], under the name of what it is for.
    pub fn open(path: &Path, create: bool) -> io::Result<File> {
        open(path, create)
    }

    /// Takes the lock without waiting. The file comes back with the refusal, to be waited on.
    pub fn try_exclusive(file: File) -> Result<Self, (File, TryError)> {
        match retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(Self { file }),
            Err(error) => Err((file, refusal(error))),
        }
    }

    /// Takes the lock, and waits for it in the kernel for as long as it takes. flock(2) has no
    /// timeout: who has a deadline waits on a thread.
    pub fn exclusive(file: File) -> io::Result<Self> {
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
        Ok(Self { file })
    }

    /// Takes over a descriptor that was inherited locked, and sets close-on-exec on it. That it is
    /// locked is the word of who handed it down.
    pub fn adopt_inherited(fd: OwnedFd) -> Self {
        // Fails for a descriptor that is not open alone, and an `OwnedFd` is.
        let _ = rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC);
        Self { file: fd.into() }
    }

    /// Writes the record, in one pwrite(2) of [`SIZE`] bytes at 0. It is not synced: it speaks of
    /// a living process, and a reboot ends that.
    ///
    /// Errors: `InvalidInput` for more than [`CAPACITY`] bytes. The first write may fail for lack
    /// of room; later ones take no new block (file systems that copy on write excepted).
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut block = [0; SIZE];
        let payload = block[HEAD..].get_mut(..bytes.len()).ok_or_else(|| {
            let message = "the record is too long for its file";
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?;
        payload.copy_from_slice(bytes);
        block[..4].copy_from_slice(&MAGIC.to_le_bytes());
        block[4..8].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        block[8..HEAD].copy_from_slice(&checksum(bytes).to_le_bytes());
        let written = retry_on_intr(|| rustix::io::pwrite(&self.file, &block, 0))?;
        if written == SIZE {
            Ok(())
        } else {
            // A full disk cut it. What is there is torn, and says so.
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    /// The file, for fstat(2) and the like.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The same lock behind a descriptor of a high number, where there may be one.
    ///
    /// Whoever waits for the death of its holder waits no longer for anything else: Linux lets go of
    /// a dead process's descriptors from the highest down, one after the other, and takes some 20 ms
    /// for each watch on a directory.
    pub fn let_go_first(self) -> Self {
        match rustix::io::fcntl_dupfd_cloexec(&self.file, HIGH) {
            Ok(high) => Self { file: File::from(high) },
            Err(_) => self,
        }
    }

    /// Gives the file away, still locked, to be handed to a child for example.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl AsFd for LockedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<LockedFile> for OwnedFd {
    fn from(locked: LockedFile) -> Self {
        locked.file.into()
    }
}

fn refusal(error: Errno) -> TryError {
    // ENOLCK is what NFS without a lock server says. Two of these are one number on Linux.
    let unsupported = [Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS, Errno::NOLCK, Errno::INVAL];
    match error {
        Errno::WOULDBLOCK => TryError::Held,
        error if unsupported.contains(&error) => TryError::Unsupported(error.into()),
        other => TryError::Os(other.into()),
    }
}

/// Reads the record of an open file, whoever holds the lock.
pub fn read(file: impl AsFd) -> io::Result<Record> {
    let mut block = [0; SIZE];
    let mut record = Record::Torn;
    for _ in 0..READS {
        let length = retry_on_intr(|| rustix::io::pread(file.as_fd(), &mut block[..], 0))?;
        record = parse(&block[..length]);
        if record != Record::Torn {
            break;
        }
    }
    Ok(record)
}

/// Reads the record of the file at `path`. Errors: `NotFound` if there is none, else as [`open`].
pub fn read_path(path: &Path) -> io::Result<Record> {
    read(open_to_read(path)?)
}

fn parse(block: &[u8]) -> Record {
    if block.is_empty() {
        return Record::Empty;
    }
    let whole = || {
        let magic = u32::from_le_bytes(block.get(..4)?.try_into().ok()?);
        let length = u32::from_le_bytes(block.get(4..8)?.try_into().ok()?);
        let sum = u64::from_le_bytes(block.get(8..HEAD)?.try_into().ok()?);
        let payload = block.get(HEAD..)?.get(..usize::try_from(length).ok()?)?;
        (magic == MAGIC && sum == checksum(payload)).then_some(payload)
    };
    match whole() {
        Some(payload) => Record::Valid(payload.to_vec()),
        None => Record::Torn,
    }
}

/// FNV-1a, 64 bits: against accidents, not against people, who cannot write here.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Whether somebody holds the file at `path` locked; no such file is no.
///
/// Tested by taking the lock shared for a moment, on a description of its own. In that moment
/// [`LockedFile::try_exclusive`] of another process would say `Held`: test only under a lock that
/// the takers take first.
pub fn is_held(path: &Path) -> io::Result<bool> {
    let file = match open_to_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockShared)) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
