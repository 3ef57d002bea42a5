//! The logs of services that a verb brings up, written while and after they come up.
//!
//! Kept true here: no line is missed from the moment at which the verb began, and what is drawn on
//! the terminal meanwhile is taken off before a line is written over it.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::SystemTime;

use hearth_api::Code;
use hearth_logs::Extent;
use rustix::event::PollFd;

use crate::args::Context;
use crate::output;
use crate::progress::Progress;
use crate::refuse::Refusal;
use crate::story::Story;
use crate::written::{Source, Tail, Writer};

/// The logs of what a story tells of.
pub struct Following {
    logs: PathBuf,
    project: String,
    json: bool,
    color: bool,
    since: SystemTime,
    tail: Option<Tail>,
    reader: Option<PollFd<'static>>,
    /// Whose logs: what was brought up; all that was asked for where that is nothing.
    pub names: Vec<String>,
}

impl Following {
    /// From now on; whose is known with the first snapshot.
    pub fn new(context: &Context, project: String) -> Self {
        Self {
            logs: context.home.dir().join("logs"),
            project,
            json: context.json,
            color: output::color(context),
            since: SystemTime::now(),
            tail: None,
            reader: output::watched(),
            names: Vec::new(),
        }
    }

    /// The first snapshot is there.
    pub fn begin(&mut self, story: &Story) -> Result<(), Refusal> {
        if self.tail.is_some() {
            return Ok(());
        }
        let brought_up = story.brought_up();
        let all = story.nodes.iter().map(|node| node.name.clone());
        self.names = if brought_up.is_empty() { all.collect() } else { brought_up };
        let numbered = story.nodes.iter().enumerate();
        let mine = numbered.filter(|(_, node)| self.names.contains(&node.name));
        let sources = mine.map(|(number, node)| {
            Source::new(&self.logs, &self.project, node.name.clone(), number)
        });
        let writer = Writer {
            json: self.json,
            color: self.color,
            timestamps: false,
            project: self.project.clone(),
            named: true,
            out: Vec::new(),
        };
        let extent = Extent { last: None, since: Some(self.since) };
        let tail = Tail::new(sources.collect(), extent, writer);
        self.tail = Some(tail.map_err(|error| self.unreadable(&error))?);
        Ok(())
    }

    /// Writes some of what there is; says whether there was anything.
    pub fn write(&mut self, progress: &mut Progress) -> Result<bool, Refusal> {
        let Some(tail) = &mut self.tail else { return Ok(false) };
        let filled = match tail.fill() {
            Ok(filled) => filled?,
            Err(error) => return Err(self.unreadable(&error)),
        };
        if filled {
            progress.clear();
            tail.flush()?;
        }
        Ok(filled)
    }

    /// Readable when there may be more.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.tail.iter().flat_map(Tail::fds).collect()
    }

    /// Stdout, where its reader may go away.
    pub fn reader(&self) -> Option<PollFd<'static>> {
        self.reader.clone()
    }

    fn unreadable(&self, error: &std::io::Error) -> Refusal {
        let why = format!("the logs in {} cannot be read: {error}", self.logs.display());
        Refusal::new(Code::Internal, why)
    }
}
