//! Standard output: results, and nothing else.
//!
//! Kept true here: an answer is one write, so that readers see it whole and a warm verb pays for
//! one system call; and a reader who has gone away (`hearth logs | head`) is no fault of anybody's.

use std::io;

use hearth_api::Code;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::FileType;

use crate::args::Context;
use crate::refuse::Refusal;

/// Writes all of it. Stdout closed (EPIPE) ends this process with exit code 0.
///
/// Errors: `internal` for anything else, a full disk for example.
pub fn print(bytes: &[u8]) -> Result<(), Refusal> {
    let mut left = bytes;
    while !left.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), left) {
            Ok(written) => left = &left[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::PIPE) => std::process::exit(0),
            // Somebody who shares it has set O_NONBLOCK: that holds for all of them.
            Err(rustix::io::Errno::AGAIN) => {
                let stdout = rustix::stdio::stdout();
                let mut fds = [PollFd::from_borrowed_fd(stdout, PollFlags::OUT)];
                let _ = rustix::event::poll(&mut fds, None);
            }
            Err(error) => {
                let why = io::Error::from(error);
                return Err(Refusal::new(Code::Internal, format!("cannot write to stdout: {why}")));
            }
        }
    }
    Ok(())
}

/// Stdout, where it is a pipe: its reader may go away while nothing is written.
pub fn watched() -> Option<PollFd<'static>> {
    let found = rustix::fs::fstat(rustix::stdio::stdout());
    let is_pipe = found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Fifo);
    // Asked for nothing: that nobody reads any more is told nevertheless (poll(2)).
    is_pipe.then(|| PollFd::from_borrowed_fd(rustix::stdio::stdout(), PollFlags::empty()))
}

/// Ends this process where what [`watched`] gave says that nobody reads any more.
pub fn end_if_unread(polled: &[PollFd<'_>]) {
    if polled.iter().any(|fd| fd.revents().contains(PollFlags::ERR)) {
        std::process::exit(0);
    }
}

/// Writes one line of JSON.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Refusal> {
    let mut line = serde_json::to_vec(value)
        .map_err(|error| Refusal::new(Code::Internal, format!("cannot write JSON: {error}")))?;
    line.push(b'\n');
    print(&line)
}

/// Writes a line to stderr, in one write. Stderr that is closed or full stops nobody.
pub fn tell(line: &str) {
    use std::io::Write;
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Whether stdout is to have colours: `--color`, else what `NO_COLOR`, `CLICOLOR`, `TERM` and the
/// terminal say (no-color.org, bixense.com/clicolors).
pub fn color(context: &Context) -> bool {
    context.color.unwrap_or_else(|| {
        !matches!(anstream::AutoStream::choice(&io::stdout()), anstream::ColorChoice::Never)
    })
}

/// The same for stderr, where progress is drawn.
pub fn color_of_stderr(context: &Context) -> bool {
    context.color.unwrap_or_else(|| {
        !matches!(anstream::AutoStream::choice(&io::stderr()), anstream::ColorChoice::Never)
    })
}
