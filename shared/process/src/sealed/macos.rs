//! POSIX shared memory without a name. There are no seals: the descriptor that writes is closed,
//! and the other one can't. What is in it is only to be had by a mapping.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Mode, ftruncate};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::shm::{self, OFlags};

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub(super) fn seal(bytes: &[u8]) -> io::Result<OwnedFd> {
    // At most 31 bytes (PSHMNAMLEN). Unlinked in the same moment: it is ours by `EXCL`.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("/hearth-{}-{number}", std::process::id());
    let owner = Mode::RUSR | Mode::WUSR;
    let writer = shm::open(&name, OFlags::CREATE | OFlags::EXCL | OFlags::RDWR, owner)?;
    let reader = shm::open(&name, OFlags::RDONLY, owner);
    shm::unlink(&name)?;
    let reader = reader?;
    if !bytes.is_empty() {
        ftruncate(&writer, bytes.len() as u64)?;
        with_map(writer.as_fd(), bytes.len(), ProtFlags::WRITE, |place| {
            // SAFETY: the mapping has that size, is writable, and nobody else knows of it.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        })?;
    }
    Ok(reader)
}

/// A size is rounded up to whole pages: what is behind the content is zero, and no part of it.
pub(super) fn read(sealed: BorrowedFd<'_>, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    if size > 0 {
        with_map(sealed, size, ProtFlags::READ, |place| {
            // SAFETY: the mapping has that size and is readable; the vector is as long.
            unsafe { ptr::copy_nonoverlapping(place, bytes.as_mut_ptr(), size) };
        })?;
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(end);
    }
    Ok(bytes)
}

fn with_map(
    fd: BorrowedFd<'_>,
    size: usize,
    how: ProtFlags,
    work: impl FnOnce(*mut u8),
) -> io::Result<()> {
    // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing of ours.
    let place = unsafe { mmap(ptr::null_mut(), size, how, MapFlags::SHARED, fd, 0)? };
    work(place.cast());
    // SAFETY: it is the whole mapping that was just made, and nothing points into it any more.
    unsafe { munmap(place, size)? };
    Ok(())
}
