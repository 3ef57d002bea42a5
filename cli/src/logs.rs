//! `hearth logs`: what services wrote, their stderr too, on stdout.
//!
//! Kept true here: the lines come from the log store itself, which the shims write whatever becomes
//! of the agent. So a reader that follows loses no line and sees none twice while the agent is
//! killed, replaced or not there at all. The agent is asked for what the store cannot tell: which
//! services there are.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{ArgMatches, Command};
use hearth_api::reply::Services;
use hearth_api::{Code, LogLine};
use hearth_lifecycle::{CallError, Request};
use hearth_logs::{Follow, Line, Position, Reader, Stream};
use rustix::event::{PollFd, PollFlags};

use crate::agent::{self, Wish};
use crate::args::{self, Context};
use crate::project::{self, Place};
use crate::refuse::{self, Refusal};
use crate::{cold, output};

/// Bytes that are gathered before they are written.
const WRITE: usize = 64 * 1024;

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("logs").about("Show what services wrote").args([
        args::services(),
        args::follow(),
        args::last().help("Only the last N lines of each service"),
        args::flag("timestamps", "Each line with its time"),
    ])
}

/// Several services: their lines by time, each behind its name.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let names = args::names(matches);
    let (place, names) = which(context, names)?;
    let logs = context.home.dir().join("logs");
    let several = names.len() > 1;
    let sources: Vec<_> = (names.into_iter())
        .map(|name| Source { directory: hearth_logs::dir(&logs, &place.id, &name), name })
        .collect();
    let mut writer = Writer {
        json: context.json,
        color: context.json || output::color(context),
        timestamps: matches.get_flag("timestamps"),
        project: place.id,
        several,
        out: Vec::new(),
    };
    let last = matches.get_one::<usize>("lines").copied();
    let shown = if matches.get_flag("follow") {
        follow(&sources, last, &mut writer)
    } else {
        once(&sources, last, &mut writer)
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
}

/// The project, and the services of it that are asked for: by name, else all that are enabled.
fn which(context: &Context, names: Vec<String>) -> Result<(Place, Vec<String>), Refusal> {
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
    if names.is_empty() {
        let all = match &file {
            Some(file) => {
                let enabled = file.services.iter().filter(|service| service.enabled);
                enabled.map(|service| service.name.clone()).collect()
            }
            None => runs().collect(),
        };
        return Ok((place, all));
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
    Ok((place, names))
}

type Shown = std::io::Result<Result<(), Refusal>>;

/// What is there now, by time. Lines of an unknown time stay where their service has them.
fn once(sources: &[Source], last: Option<usize>, writer: &mut Writer) -> Shown {
    let mut heads = Vec::new();
    for source in sources {
        let reader = Reader::open(&source.directory);
        let mut lines: Box<dyn Iterator<Item = std::io::Result<Line>>> = match last {
            Some(last) => Box::new(reader.last_lines(last)?.into_iter().map(Ok)),
            None => Box::new(reader.lines_from(Position::START)),
        };
        if let Some(first) = lines.next().transpose()? {
            heads.push((source, first, lines));
        }
    }
    // Few services: the oldest of the heads is found by looking at all of them.
    while let Some(oldest) = (0..heads.len()).min_by_key(|n| heads[*n].1.at) {
        let (source, line, rest) = &mut heads[oldest];
        if let Err(refusal) = writer.line(source, line) {
            return Ok(Err(refusal));
        }
        match rest.next().transpose()? {
            Some(next) => *line = next,
            None => drop(heads.remove(oldest)),
        }
    }
    Ok(writer.flush())
}

/// And what comes, until Ctrl-C or until nobody reads.
fn follow(sources: &[Source], last: Option<usize>, writer: &mut Writer) -> Shown {
    let mut follows = Vec::new();
    for source in sources {
        follows.push(match last {
            Some(last) => Follow::last(&source.directory, last)?,
            None => Follow::new(&source.directory, Position::START)?,
        });
    }
    loop {
        let mut lines = Vec::new();
        for (source, follow) in sources.iter().zip(&mut follows) {
            lines.extend(follow.next()?.into_iter().map(|line| (source, line)));
        }
        if lines.is_empty() {
            let mut fds: Vec<_> =
                follows.iter().map(|follow| PollFd::new(follow, PollFlags::IN)).collect();
            let _ = rustix::event::poll(&mut fds, None);
            continue;
        }
        lines.sort_by_key(|(_, line)| line.at);
        for (source, line) in &lines {
            if let Err(refusal) = writer.line(source, line) {
                return Ok(Err(refusal));
            }
        }
        if let Err(refusal) = writer.flush() {
            return Ok(Err(refusal));
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
            if self.timestamps {
                let at = line.at.map_or_else(|| "-".to_owned(), hearth_api::time::rfc3339);
                self.out.extend_from_slice(format!("{at:<24} ").as_bytes());
            }
            if self.several {
                self.out.extend_from_slice(format!("{} | ", source.name).as_bytes());
            }
            if self.color {
                self.out.extend_from_slice(&line.bytes);
            } else {
                self.out.extend_from_slice(&anstream::adapter::strip_bytes(&line.bytes).into_vec());
            }
            self.out.push(b'\n');
        }
        if self.out.len() >= WRITE { self.flush() } else { Ok(()) }
    }

    /// As `GET /v1/logs` has it.
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
