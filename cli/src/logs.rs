//! `hearth logs`: what services wrote, their stderr too, on stdout.
//!
//! Kept true here: the lines come from the log store itself, which the shims write whatever becomes
//! of the agent. So a reader that follows loses no line and sees none twice while the agent is
//! killed, replaced or not there at all. The agent is asked for what the store cannot tell: which
//! services there are.

use clap::{ArgMatches, Command};
use hearth_api::Code;
use hearth_api::reply::Services;
use hearth_lifecycle::{CallError, Request};
use hearth_logs::Extent;
use rustix::event::{PollFd, PollFlags};

use crate::agent::{self, Wish};
use crate::args::{self, Context};
use crate::project::{self, Place};
use crate::refuse::{self, Refusal};
use crate::written::{self, Shown, Source, Tail, Writer};
use crate::{cold, output};

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
    let source = |name: String| {
        let number = known.iter().position(|known| *known == name).unwrap_or(0);
        Source::new(&logs, &place.id, name, number)
    };
    let sources: Vec<_> = names.into_iter().map(source).collect();
    let mut writer = Writer {
        json: context.json,
        color: output::color(context),
        timestamps: matches.get_flag("timestamps"),
        project: place.id,
        named: several,
        out: Vec::new(),
    };
    let last = matches.get_one::<usize>("lines").copied();
    let extent = Extent { last, since: args::since_of(matches) };
    let shown = if matches.get_flag("follow") {
        follow(sources, extent, writer)
    } else {
        written::once(&sources, extent, &mut writer)
    };
    shown.map_err(|error| {
        Refusal::new(
            Code::Internal,
            format!("the logs in {} cannot be read: {error}", logs.display()),
        )
    })??;
    Ok(0)
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
        let of_project = rows.iter().filter(|row| project::has(&place, row));
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
        project::expand(file, &in_file)?;
        return Ok(Asked { place, names: project::expand_known(file, &names), known });
    } else {
        // No file to go by: known is what runs, and what has written something.
        let logs = context.home.dir().join("logs");
        let known = |name: &String| {
            runs().any(|run| run == *name) || hearth_logs::dir(&logs, &place.id, name).is_dir()
        };
        if let Some(unknown) = names.iter().find(|name| !known(name)) {
            let why = format!("no service `{unknown}` runs here, and it has no logs");
            return Err(Refusal::new(Code::NotFound, why).hint("hearth status"));
        }
    }
    Ok(Asked { place, names, known })
}

/// What is there and what comes, until Ctrl-C or until nobody reads.
fn follow(sources: Vec<Source>, extent: Extent, writer: Writer) -> Shown {
    let mut tail = Tail::new(sources, extent, writer)?;
    loop {
        match tail.fill()? {
            Ok(false) => wait(&tail),
            Ok(true) => {
                if let Err(refusal) = tail.flush() {
                    return Ok(Err(refusal));
                }
            }
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
}

/// Waits for what comes; and, so that a reader who goes away is not outlived until then, for that.
fn wait(tail: &Tail) {
    let reader = output::watched();
    let mut fds: Vec<_> = reader.into_iter().collect();
    let first = fds.len();
    fds.extend(tail.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    let _ = rustix::event::poll(&mut fds, None);
    output::end_if_unread(&fds[..first]);
}
