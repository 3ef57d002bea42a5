//! The agent's own log: one text file that is rotated by renaming.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hearth_api::Code;
use hearth_process::watch::DirWatch;
use rustix::event::{PollFd, PollFlags};

use crate::output;
use crate::refuse::Refusal;

/// Bytes that are read at a time.
const WINDOW: u64 = 64 * 1024;

/// Prints the file, or its last lines, and goes on with what comes. A file that is not there is
/// empty.
pub fn show(path: &Path, last: Option<usize>, follow: bool) -> Result<u8, Refusal> {
    let cannot = |error: std::io::Error| {
        Refusal::new(Code::Internal, format!("cannot read {}: {error}", path.display()))
    };
    // Subscribe, then look.
    let directory = path.parent().unwrap_or(Path::new("/"));
    let watch = if follow { Some(DirWatch::new(directory).map_err(cannot)?) } else { None };
    let mut file = open(path).map_err(cannot)?;
    if let (Some(file), Some(last)) = (&mut file, last) {
        seek_to_last(file, last).map_err(cannot)?;
    }
    loop {
        if let Some(file) = &mut file {
            copy(file).map_err(cannot)??;
        }
        let Some(watch) = &watch else { return Ok(0) };
        if let Some(newer) = successor(path, file.as_ref()).map_err(cannot)? {
            if let Some(old) = &mut file {
                copy(old).map_err(cannot)??;
            }
            file = Some(newer);
            continue;
        }
        let mut fds = [PollFd::new(watch, PollFlags::IN)];
        let _ = rustix::event::poll(&mut fds, None);
        watch.drain().map_err(cannot)?;
    }
}

fn open(path: &Path) -> std::io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What stands at the path now, if that is another file.
fn successor(path: &Path, file: Option<&File>) -> std::io::Result<Option<File>> {
    let Some(found) = open(path)? else { return Ok(None) };
    let Some(file) = file else { return Ok(Some(found)) };
    let same = found.metadata()?.ino() == file.metadata()?.ino();
    Ok((!same).then_some(found))
}

fn copy(file: &mut File) -> std::io::Result<Result<(), Refusal>> {
    let mut window = vec![0; WINDOW as usize];
    loop {
        let got = file.read(&mut window)?;
        if got == 0 {
            return Ok(Ok(()));
        }
        if let Err(refusal) = output::print(&window[..got]) {
            return Ok(Err(refusal));
        }
    }
}

/// Moves to the beginning of the last `lines` lines, looking from the end backward.
fn seek_to_last(file: &mut File, lines: usize) -> std::io::Result<()> {
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
