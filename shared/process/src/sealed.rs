//! Memory that several processes share by a descriptor and that nobody can change any more.
//!
//! Invariant: it has no name in any file system, so nothing of it is ever on disk, and it is gone
//! with the last descriptor; who holds one holds what was put in and nothing else. Everybody's
//! descriptor shares one offset, so it is read by place alone.

#[cfg(target_os = "linux")]
#[path = "sealed/linux.rs"]
mod os;
#[cfg(target_os = "macos")]
#[path = "sealed/macos.rs"]
mod os;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// More is not taken back: nothing of ours is as large, and a stranger's number is not believed.
pub const MOST: usize = 64 << 20;

/// Puts `bytes` into memory of its own. The descriptor closes on exec.
///
/// Linux: `memfd_create(2)`, sealed against writing and resizing (3.17). macOS: `shm_open(2)`,
/// unlinked at once, and the descriptor that is given out can only read. Errors: no descriptor or
/// no memory is left; or `bytes` are more than [`MOST`].
pub fn seal(bytes: &[u8]) -> io::Result<OwnedFd> {
    if bytes.len() > MOST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    os::seal(bytes)
}

/// What was put in.
///
/// Errors: it is no such descriptor; or there is more in it than [`MOST`].
pub fn read(sealed: impl AsFd) -> io::Result<Vec<u8>> {
    let size = rustix::fs::fstat(&sealed)?.st_size;
    match usize::try_from(size) {
        Ok(size) if size <= MOST => os::read(sealed.as_fd(), size),
        Ok(_) | Err(_) => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_sealed_can_be_read_twice_and_not_be_changed() {
        let sealed = seal(b"kept").unwrap();
        let copy = sealed.try_clone().unwrap();
        assert_eq!(read(&sealed).unwrap(), b"kept");
        assert_eq!(read(&copy).unwrap(), b"kept");
        assert!(rustix::fs::ftruncate(&sealed, 0).is_err());
        assert!(std::fs::File::from(copy).write_all(b"lost").is_err());
        assert_eq!(read(&sealed).unwrap(), b"kept");
        assert!(rustix::io::fcntl_getfd(&sealed).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        assert_eq!(read(seal(b"").unwrap()).unwrap(), b"");
    }
}
