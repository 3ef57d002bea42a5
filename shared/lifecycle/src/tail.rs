//! The agent's own log: one text file that is rotated by renaming.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hearth_process::watch::DirWatch;
use rustix::event::{PollFd, PollFlags};

/// Bytes that are read at a time.
const WINDOW: u64 = 64 * 1024;

/// Gives `print` the file, or its last lines. With `follow`, goes on with what comes, over rotations, until
/// nobody reads any more what is written to that descriptor (stdout mostly: a pipe or a terminal), or `print`
/// fails. macOS does not tell of the reader: there it ends with the next line. A file that is not there is empty.
///
/// Errors: those of reading it, and of `print`.
pub fn tail(
    path: &Path,
    last: Option<usize>,
    follow: Option<BorrowedFd<'_>>,
    print: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    // Subscribe, then look.
    let directory = path.parent().unwrap_or(Path::new("/"));
    let following = follow.map(|reader| Ok::<_, io::Error>((DirWatch::new(directory)?, reader)));
    let following = following.transpose()?;
    let mut file = open(path)?;
    if let (Some(file), Some(last)) = (&mut file, last) {
        seek_to_last(file, last)?;
    }
    loop {
        if let Some(file) = &mut file {
            copy(file, print)?;
        }
        let Some((watch, reader)) = &following else { return Ok(()) };
        if let Some(newer) = successor(path, file.as_ref())? {
            if let Some(old) = &mut file {
                copy(old, print)?;
            }
            file = Some(newer);
            continue;
        }
        // Asked for nothing: that its reader has gone is told nevertheless (poll(2); not by macOS).
        let mut fds = [PollFd::new(watch, PollFlags::IN), PollFd::new(reader, PollFlags::empty())];
        let _ = rustix::event::poll(&mut fds, None);
        if fds[1].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            return Ok(());
        }
        watch.drain()?;
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match crate::log::read_only(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What stands at the path now, if that is another file.
fn successor(path: &Path, file: Option<&File>) -> io::Result<Option<File>> {
    let Some(found) = open(path)? else { return Ok(None) };
    let Some(file) = file else { return Ok(Some(found)) };
    let same = found.metadata()?.ino() == file.metadata()?.ino();
    Ok((!same).then_some(found))
}

fn copy(file: &mut File, print: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut window = vec![0; WINDOW as usize];
    loop {
        match file.read(&mut window)? {
            0 => return Ok(()),
            got => print(&window[..got])?,
        }
    }
}

/// Moves to the beginning of the last `lines` lines, looking from the end backward.
fn seek_to_last(file: &mut File, lines: usize) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut left = lines;
    while end > 0 {
        let start = end.saturating_sub(WINDOW);
        let mut window = vec![0; usize::try_from(end - start).unwrap_or(0)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut window)?;
        for (at, byte) in window.iter().enumerate().rev() {
            let at = start + at as u64;
            // The newline that ends the file ends a line and does not begin one.
            if *byte == b'\n' && at + 1 < length {
                if left <= 1 {
                    let to = if left == 0 { length } else { at + 1 };
                    return file.seek(SeekFrom::Start(to)).map(drop);
                }
                left -= 1;
            }
        }
        end = start;
    }
    let to = if lines == 0 { length } else { 0 };
    file.seek(SeekFrom::Start(to)).map(drop)
}
