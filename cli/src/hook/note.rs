//! What is known of one shell: a note, and beside it what is held for it.
//!
//! Kept true here: a file is of one process, by pid and start time, so a recycled pid finds nothing, and a
//! shell that replaces itself (`exec zsh`) finds its own. The time of the note is a moment *before* the
//! project's files were read: whatever is written to them later is younger than it, and the shell sees so.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hearth_lifecycle::Home;
use hearth_process::ProcessId;
use serde::{Deserialize, Serialize};

use crate::trusted;

/// What a shell is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The project whose services are to be held.
    #[serde(default)]
    pub wanted: Option<Wanted>,
    /// Whether that could not be had, which was told: it is tried again when somebody changes something.
    #[serde(default)]
    pub failed: bool,
    /// What was told last of a project that is not brought up: once is enough.
    #[serde(default)]
    pub told: BTreeMap<PathBuf, String>,
}

/// A project that is trusted and says `auto = true`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Canonical.
    pub project: PathBuf,
    /// The record of trust by which it was found good.
    pub trusted: String,
    /// What is brought up, for words.
    pub services: Vec<String>,
}

/// A lease that was taken for the shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The agent's name for it.
    pub lease: String,
    /// Of which project.
    pub project: PathBuf,
    /// As it was trusted then.
    pub trusted: String,
}

/// The files of one shell.
#[derive(Clone, Debug)]
pub struct Files {
    directory: PathBuf,
    name: String,
}

impl Files {
    /// Of the shell that has this pid now. Errors: there is none.
    pub fn of(home: &Home, pid: u32) -> io::Result<Self> {
        let shell = ProcessId::of(pid)?;
        let start = shell.start.map_or(0, |start| start.as_raw());
        Ok(Self { directory: directory(home), name: format!("{pid}-{start}") })
    }

    /// The note.
    pub fn note(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// What is held; locked while it is changed.
    pub fn held(&self) -> PathBuf {
        self.directory.join(format!("{}.held", self.name))
    }

    /// What went wrong in the background, for the next prompt.
    pub fn said(&self) -> PathBuf {
        self.directory.join(format!("{}.said", self.name))
    }

    /// What the note says; of a shell that has none, nothing.
    pub fn read(&self) -> Note {
        let bytes = fs::read(self.note()).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Begins a new note, whose time is now. Errors: the home can't be written to.
    pub fn begin(&self) -> io::Result<Draft> {
        trusted::directory(&self.directory)?;
        let aside = self.directory.join(format!("{}.new-{}", self.name, std::process::id()));
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        // By the clock of the file system, which is not that of the system (it goes in ticks): one
        // nanosecond earlier, so that what is written within this tick is younger.
        let now = file.metadata()?.modified()?;
        let time = now.checked_sub(Duration::from_nanos(1)).unwrap_or(now);
        Ok(Draft { file, aside, note: self.note(), time })
    }

    /// Keeps something for the next prompt.
    pub fn say(&self, line: &str) -> io::Result<()> {
        trusted::directory(&self.directory)?;
        trusted::write_whole(&self.said(), format!("{line}\n").as_bytes())
    }

    /// Takes what was kept for the prompt.
    pub fn take_said(&self) -> Option<String> {
        let text = fs::read_to_string(self.said()).ok()?;
        let _ = fs::remove_file(self.said());
        Some(text.trim_end().to_owned()).filter(|text| !text.is_empty())
    }
}

/// A note that is being written.
#[derive(Debug)]
pub struct Draft {
    file: File,
    aside: PathBuf,
    note: PathBuf,
    time: SystemTime,
}

impl Draft {
    /// Puts it into the place of the one before. Errors: the home can't be written to.
    pub fn finish(mut self, note: &Note) -> io::Result<()> {
        let text = serde_json::to_vec(note)?;
        let written = self.file.write_all(&text);
        let timed = written
            .and_then(|()| self.file.set_times(FileTimes::new().set_modified(self.time)))
            .and_then(|()| fs::rename(&self.aside, &self.note));
        if timed.is_err() {
            let _ = fs::remove_file(&self.aside);
        }
        timed
    }
}

/// Removes the files of shells that are no more. What can't be told or removed stays.
pub fn prune(home: &Home) {
    for entry in fs::read_dir(directory(home)).into_iter().flatten().flatten() {
        if is_of_nobody(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Notes of shells that live, which can't be understood.
pub fn unreadable(home: &Home) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory(home)).into_iter().flatten().flatten();
    let is_note = |path: &PathBuf| path.extension().is_none() && !is_of_nobody(path);
    let understood = |path: &PathBuf| {
        fs::read(path).is_ok_and(|bytes| serde_json::from_slice::<Note>(&bytes).is_ok())
    };
    let notes = entries.map(|entry| entry.path()).filter(is_note);
    notes.filter(|path| !understood(path)).collect()
}

fn is_of_nobody(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let shell = name.split('.').next().unwrap_or_default().split_once('-');
    let numbers: Option<(u32, u64)> =
        shell.and_then(|(pid, start)| Some((pid.parse().ok()?, start.parse().ok()?)));
    let Some((pid, start)) = numbers else { return false };
    match ProcessId::of(pid) {
        Ok(now) => now.start.is_some_and(|now| now.as_raw() != start),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn directory(home: &Home) -> PathBuf {
    home.dir().join("hook")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_after_the_note_was_begun_is_younger() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::resolve(crate::app(), Some(&dir.path().join("home"))).expect("a home");
        home.prepare().expect("it can be made");
        let files = Files::of(&home, std::process::id()).expect("we live");
        for _ in 0..50 {
            let draft = files.begin().expect("a draft");
            let late = dir.path().join("late");
            fs::write(&late, "x").expect("a file");
            draft.finish(&Note::default()).expect("a note");
            let time = |path: &Path| path.metadata().and_then(|it| it.modified()).expect("a time");
            assert!(time(&late) > time(&files.note()));
        }
        assert_eq!(files.read(), Note::default());
    }

    #[test]
    fn what_belongs_to_a_shell_that_is_no_more_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::resolve(crate::app(), Some(&dir.path().join("home"))).expect("a home");
        home.prepare().expect("it can be made");
        let mine = Files::of(&home, std::process::id()).expect("we live");
        mine.say("x").expect("it is written");
        let stale = home.dir().join("hook").join(format!("{}-1.held", std::process::id()));
        fs::write(&stale, "").expect("a file");
        let other = home.dir().join("hook/notes.txt");
        fs::write(&other, "").expect("a file");
        prune(&home);
        assert!(mine.said().exists() && other.exists() && !stale.exists());
        assert_eq!(mine.take_said().as_deref(), Some("x"));
        assert_eq!(mine.take_said(), None);
    }
}
