//! `hearth logs`: what services wrote, their stderr too, on stdout.
//!
//! Kept true here: the lines come from the log store itself, which the shims write whatever becomes
//! of the agent. So a reader that follows loses no line and sees none twice while the agent is
//! killed, replaced or not there at all. The agent is asked for what the store cannot tell: which
//! services there are.
//!
//! The name in front of a line is plain text that scripts may rely on; its colour, and those that
//! the service itself chose, are for terminals.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{ArgMatches, Command};
use hearth_api::reply::Services;
use hearth_api::{Code, LogLine};
use hearth_lifecycle::{CallError, Request};
use hearth_logs::{Extent, Follow, Line, Merge, Next, Reader, Stream};
use rustix::event::{PollFd, PollFlags};

use crate::agent::{self, Wish};
use crate::args::{self, Context};
use crate::project::{self, Place};
use crate::refuse::{self, Refusal};
use crate::{cold, output, plain};

/// Bytes that are gathered before they are written.
const WRITE: usize = 64 * 1024;

/// Colours of names, in the order of the file's services: red is left to what is wrong.
const COLORS: [&str; 6] = ["36", "33", "32", "35", "34", "96"];

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("logs").about("Show what services wrote").args([
        args::services(),
        args::follow(),
        args::last().help("Only the last N lines of each service"),
        args::since(),
        args::flag("timestamps", "Each line with its time"),
    ])
}

/// Several services: their lines by time, each behind its name.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let names = args::names(matches);
    let Asked { place, names, known } = which(context, names)?;
    let logs = context.home.dir().join("logs");
    let several = names.len() > 1;
    let source = |name: String| Source {
        directory: hearth_logs::dir(&logs, &place.id, &name),
        color: COLORS[known.iter().position(|known| *known == name).unwrap_or(0) % COLORS.len()],
        name,
    };
    let sources: Vec<_> = names.into_iter().map(source).collect();
    let mut writer = Writer {
        json: context.json,
        color: output::color(context),
        timestamps: matches.get_flag("timestamps"),
        project: place.id,
        several,
        out: Vec::new(),
    };
    let last = matches.get_one::<usize>("lines").copied();
    let extent = Extent { last, since: args::since_of(matches) };
    let shown = if matches.get_flag("follow") {
        follow(&sources, extent, &mut writer)
    } else {
        once(&sources, extent, &mut writer)
    };
    shown.map_err(|error| {
        Refusal::new(
            Code::Internal,
            format!("the logs in {} cannot be read: {error}", logs.display()),
        )
    })??;
    Ok(0)
}

/// One service's log.
struct Source {
    name: String,
    directory: PathBuf,
    /// The parameter of an SGR escape sequence (ECMA-48, 8.3.117).
    color: &'static str,
}

/// What is asked for.
struct Asked {
    place: Place,
    /// By name, else all that are enabled.
    names: Vec<String>,
    /// All services of the project that are known, in the order of the file: a service keeps its
    /// colour whichever others are shown.
    known: Vec<String>,
}

/// The project, and the services of it that are asked for.
fn which(context: &Context, names: Vec<String>) -> Result<Asked, Refusal> {
    let found = project::find(context)?;
    let path = match &found {
        Some(place) => agent::path("/v1/services", &[("project", &place.id)]),
        None => "/v1/services".to_owned(),
    };
    let start = found.is_some() || cold::any_shim(context);
    let mut missing = None;
    let rows = match agent::ask(context, Wish { start, ..Wish::default() }, &Request::get(path)) {
        Ok((_, mut reply)) => {
            let body = agent::body(&mut reply)?;
            // A project that the agent does not know may have logs all the same.
            if reply.is_success() { agent::parse::<Services>(&body)?.services } else { Vec::new() }
        }
        Err(CallError::NotReady(ready)) => {
            missing = Some(ready);
            cold::rows_of_home(context)
        }
        Err(error) => return Err(refuse::of_call(error, None)),
    };
    let (place, file) = match found {
        Some(place) => {
            let file = project::load_or_tell(context, &place);
            (place, file)
        }
        None => (project::running(context, &rows)?, None),
    };
    if let Some(ready) = missing {
        cold::tell(context, &ready);
    }
    let runs = || {
        let of_project = rows.iter().filter(|row| row.project.as_deref() == Some(&place.id));
        of_project.map(|row| row.name.clone())
    };
    let known = match &file {
        Some(file) => file.services.iter().map(|service| service.name.clone()).collect(),
        None => runs().collect(),
    };
    if names.is_empty() {
        let all = match &file {
            Some(file) => {
                let enabled = file.services.iter().filter(|service| service.enabled);
                enabled.map(|service| service.name.clone()).collect()
            }
            None => runs().collect(),
        };
        return Ok(Asked { place, names: all, known });
    }
    if let Some(file) = &file {
        let removed: Vec<_> = runs().filter(|name| file.service(name).is_none()).collect();
        let in_file: Vec<_> =
            names.iter().filter(|name| !removed.contains(name)).cloned().collect();
        project::check_names(file, &in_file)?;
    } else {
        // No file to go by: known is what runs, and what has written something.
        let logs = context.home.dir().join("logs");
        let known = |name: &String| {
            runs().any(|run| run == *name) || hearth_logs::dir(&logs, &place.id, name).is_dir()
        };
        if let Some(unknown) = names.iter().find(|name| !known(name)) {
            let why = format!("no service `{unknown}` runs in {}, and it has no logs", place.id);
            return Err(Refusal::new(Code::NotFound, why).hint("hearth status"));
        }
    }
    Ok(Asked { place, names, known })
}

type Shown = std::io::Result<Result<(), Refusal>>;

/// What is there now, by time.
fn once(sources: &[Source], extent: Extent, writer: &mut Writer) -> Shown {
    let logs = sources.iter().map(|source| Reader::open(&source.directory).read(extent));
    let mut logs = logs.collect::<std::io::Result<Vec<_>>>()?;
    gather(&mut Merge::new(logs.len()), sources, writer, |number| logs[number].portion())
}

/// And what comes, until Ctrl-C or until nobody reads.
fn follow(sources: &[Source], extent: Extent, writer: &mut Writer) -> Shown {
    let follows = sources.iter().map(|source| Follow::after(&source.directory, extent));
    let mut follows = follows.collect::<std::io::Result<Vec<_>>>()?;
    let mut merge = Merge::new(follows.len());
    loop {
        let shown = gather(&mut merge, sources, writer, |number| follows[number].next())?;
        if shown.is_err() {
            return Ok(shown);
        }
        wait(&follows);
        merge.wake();
    }
}

/// Waits for what comes; and, so that a reader who goes away is not outlived until then, for that.
fn wait(follows: &[Follow]) {
    let stdout = rustix::stdio::stdout();
    // Asked for nothing: that nobody reads any more is told nevertheless (poll(2)).
    let mut fds = vec![PollFd::from_borrowed_fd(stdout, PollFlags::empty())];
    if !output::is_pipe() {
        fds.clear();
    }
    let first = fds.len();
    fds.extend(follows.iter().map(|follow| PollFd::new(follow, PollFlags::IN)));
    let _ = rustix::event::poll(&mut fds, None);
    if fds[..first].iter().any(|fd| fd.revents().contains(PollFlags::ERR)) {
        std::process::exit(0);
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
struct Writer {
    json: bool,
    color: bool,
    timestamps: bool,
    project: String,
    several: bool,
    out: Vec<u8>,
}

impl Writer {
    fn line(&mut self, source: &Source, line: &Line) -> Result<(), Refusal> {
        if self.json {
            self.json_line(source, line)?;
        } else {
            self.plain_line(source, line);
        }
        if self.out.len() >= WRITE { self.flush() } else { Ok(()) }
    }

    /// `NAME | TIME BYTES`, as far as it is asked for.
    fn plain_line(&mut self, source: &Source, line: &Line) {
        if self.several {
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
            if self.several && line.bytes.contains(&b'\x1b') {
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
            project: Some(self.project.clone()),
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
