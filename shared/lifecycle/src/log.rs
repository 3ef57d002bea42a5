//! The agent's own log: one file of bounded size, and a few older ones.
//!
//! Bounded by size and not by time, since it is size that fills a disk. Standard output and error
//! are the same file: when it is rotated they follow, or a panic would be written into a file that
//! nobody reads any more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;

use crate::LogConfig;

/// A writer to the log; a clone writes to the same.
#[derive(Clone, Debug)]
pub struct BoundedLog(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    file: File,
    path: PathBuf,
    size: u64,
    max_size: u64,
    keep: u32,
    /// Whether stdout and stderr are this file.
    stdio: bool,
}

impl BoundedLog {
    /// Opens the log for appending. With `stdio`, stdout and stderr become it, now and after each
    /// rotation.
    pub fn open(path: &Path, config: &LogConfig, stdio: bool) -> io::Result<Self> {
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        let inner = Inner {
            file,
            path: path.into(),
            size,
            max_size: config.max_size,
            keep: config.keep,
            stdio,
        };
        inner.point_stdio()?;
        Ok(Self(Arc::new(Mutex::new(inner))))
    }
}

impl Write for BoundedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.size > 0 && inner.size + bytes.len() as u64 > inner.max_size {
            // A log that cannot be rotated goes on in the old file: lines are worth more than bounds.
            let _ = inner.rotate();
        }
        // A line that cannot be written, on a full disk, is lost: who logs must not fail by it.
        let written = inner.file.write(bytes).unwrap_or(bytes.len());
        inner.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Inner {
    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |n: u32| {
            let mut path = self.path.clone().into_os_string();
            path.push(format!(".{n}"));
            PathBuf::from(path)
        };
        for n in (1..self.keep.max(1)).rev() {
            let from = if n == 1 { self.path.clone() } else { numbered(n - 1) };
            match fs::rename(from, numbered(n)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                Ok(()) | Err(_) => {}
            }
        }
        if self.keep <= 1 {
            fs::remove_file(&self.path)?;
        }
        self.file = append_to(&self.path)?;
        self.size = 0;
        self.point_stdio()
    }

    fn point_stdio(&self) -> io::Result<()> {
        if self.stdio {
            rustix::stdio::dup2_stdout(&self.file)?;
            rustix::stdio::dup2_stderr(&self.file)?;
        }
        Ok(())
    }
}

/// Opens a log for reading: as it is written, no symlink and nothing that would hold us.
pub(crate) fn read_only(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// Opens a log for appending; 0600, no symlink, and no pipe, which would hold us until somebody
/// reads it.
pub(crate) fn append_to(path: &Path) -> io::Result<File> {
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600).custom_flags(flags.bits() as i32);
    match options.open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(no_file()),
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Err(no_file()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_much_is_logged_it_stays_within_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.log");
        let config = LogConfig { max_size: 1000, keep: 3, ..LogConfig::default() };
        let mut log = BoundedLog::open(&path, &config, false).unwrap();
        for n in 0..1000 {
            writeln!(log, "line {n:05}").unwrap();
        }
        let sizes: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(sizes.len(), 3);
        assert!(sizes.iter().all(|size| *size <= 1000), "{sizes:?}");
        assert!(fs::read_to_string(&path).unwrap().ends_with("line 00999\n"));
    }
}
