//! What services wrote, from the log store to stdout.
//!
//! Kept true here: the lines of several services come out by time, each whole; and nothing of them is
//! a colour where stdout is no terminal.
//!
//! The name in front of a line is plain text that scripts may rely on; its colour, and those that
//! the service itself chose, are for terminals.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hearth_api::{Code, LogLine};
use hearth_logs::{Extent, Follow, Line, Merge, Next, Reader, Stream};

use crate::refuse::Refusal;
use crate::{output, plain};

/// Bytes that are gathered before they are written.
const WRITE: usize = 64 * 1024;

/// Colours of names, in the order of the file's services: red is left to what is wrong.
const COLORS: [&str; 6] = ["36", "33", "32", "35", "34", "96"];

/// One service's log.
pub struct Source {
    /// Its service.
    pub name: String,
    /// Where its files are.
    pub directory: PathBuf,
    /// The parameter of an SGR escape sequence (ECMA-48, 8.3.117).
    pub color: &'static str,
}

impl Source {
    /// The log of a service that is the `number`th of its project.
    pub fn new(logs: &Path, project: &str, name: String, number: usize) -> Self {
        let directory = hearth_logs::dir(logs, project, &name);
        Self { name, directory, color: COLORS[number % COLORS.len()] }
    }
}

/// What a reading comes to: the store may fail it, or the writing may.
pub type Shown = std::io::Result<Result<(), Refusal>>;

/// Writes what is there now, by time.
pub fn once(sources: &[Source], extent: Extent, writer: &mut Writer) -> Shown {
    let logs = sources.iter().map(|source| Reader::open(&source.directory).read(extent));
    let mut logs = logs.collect::<std::io::Result<Vec<_>>>()?;
    gather(&mut Merge::new(logs.len()), sources, writer, |number| logs[number].portion())
}

/// What comes, as it comes.
pub struct Tail {
    sources: Vec<Source>,
    follows: Vec<Follow>,
    merge: Merge,
    writer: Writer,
}

impl Tail {
    /// Follows these from `extent` on.
    pub fn new(sources: Vec<Source>, extent: Extent, writer: Writer) -> std::io::Result<Self> {
        let follows = sources.iter().map(|source| Follow::after(&source.directory, extent));
        let follows = follows.collect::<std::io::Result<Vec<_>>>()?;
        Ok(Self { merge: Merge::new(follows.len()), sources, follows, writer })
    }

    /// Gathers what there is for now, or as much of it as is written at a time; says whether that is
    /// anything. Never blocks.
    pub fn fill(&mut self) -> std::io::Result<Result<bool, Refusal>> {
        self.merge.wake();
        while self.writer.out.len() < WRITE {
            match self.merge.next() {
                Next::Line(number, line) => {
                    if let Err(refusal) = self.writer.gather(&self.sources[number], &line) {
                        return Ok(Err(refusal));
                    }
                }
                Next::Needs(number) => self.merge.give(number, self.follows[number].next()?),
                Next::Dry => break,
            }
        }
        Ok(Ok(!self.writer.out.is_empty()))
    }

    /// Writes what was gathered.
    pub fn flush(&mut self) -> Result<(), Refusal> {
        self.writer.flush()
    }

    /// Readable when there may be more.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.follows.iter().map(AsFd::as_fd)
    }
}

/// Writes what there is for now of all logs, each read by `read` as far as it is needed.
fn gather(
    merge: &mut Merge,
    sources: &[Source],
    writer: &mut Writer,
    mut read: impl FnMut(usize) -> std::io::Result<Vec<Line>>,
) -> Shown {
    loop {
        match merge.next() {
            Next::Line(number, line) => {
                if let Err(refusal) = writer.line(&sources[number], &line) {
                    return Ok(Err(refusal));
                }
            }
            Next::Needs(number) => merge.give(number, read(number)?),
            Next::Dry => return Ok(writer.flush()),
        }
    }
}

/// Lines on their way to stdout.
pub struct Writer {
    /// As `GET /v1/logs` has it.
    pub json: bool,
    /// With the colours that services chose, and some for their names.
    pub color: bool,
    /// Each line with its time.
    pub timestamps: bool,
    /// Whose services; empty: no project's.
    pub project: String,
    /// Each line behind its service's name.
    pub named: bool,
    /// What is not written yet.
    pub out: Vec<u8>,
}

impl Writer {
    fn gather(&mut self, source: &Source, line: &Line) -> Result<(), Refusal> {
        if self.json {
            return self.json_line(source, line);
        }
        self.plain_line(source, line);
        Ok(())
    }

    fn line(&mut self, source: &Source, line: &Line) -> Result<(), Refusal> {
        self.gather(source, line)?;
        if self.out.len() >= WRITE { self.flush() } else { Ok(()) }
    }

    /// `NAME | TIME BYTES`, as far as it is asked for.
    fn plain_line(&mut self, source: &Source, line: &Line) {
        if self.named {
            let (name, color) = (&source.name, source.color);
            let name = match self.color {
                true => format!("\x1b[{color}m{name} | \x1b[0m"),
                false => format!("{name} | "),
            };
            self.out.extend_from_slice(name.as_bytes());
        }
        if self.timestamps {
            let at = line.at.map_or_else(|| "-".to_owned(), hearth_api::time::rfc3339);
            self.out.extend_from_slice(format!("{at:<24} ").as_bytes());
        }
        if self.color {
            self.out.extend_from_slice(&line.bytes);
            if self.named && line.bytes.contains(&b'\x1b') {
                // A colour that goes on is not to reach another service's line.
                self.out.extend_from_slice(b"\x1b[0m");
            }
        } else {
            plain::without_escapes(&line.bytes, &mut self.out);
        }
        self.out.push(b'\n');
    }

    /// As `GET /v1/logs` has it, with the bytes as the service wrote them.
    fn json_line(&mut self, source: &Source, line: &Line) -> Result<(), Refusal> {
        let line = LogLine {
            at: line.at.map(|at: SystemTime| hearth_api::time::rfc3339(at)),
            project: Some(self.project.clone()).filter(|project| !project.is_empty()),
            service: source.name.clone(),
            life: line.life,
            stream: line.stream.map(|stream| match stream {
                Stream::Stdout => "stdout".to_owned(),
                Stream::Stderr => "stderr".to_owned(),
            }),
            line: String::from_utf8_lossy(&line.bytes).into_owned(),
        };
        serde_json::to_writer(&mut self.out, &line)
            .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
        self.out.push(b'\n');
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        let written = output::print(&self.out);
        self.out.clear();
        written
    }
}
