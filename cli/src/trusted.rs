//! Which projects a person has trusted, and whether they are still what was trusted.
//!
//! Kept true here: trust is in bytes, not in names. A record holds the SHA-256 of every file by which a
//! project says what is run, and that `hearth.local.toml` was not there; one of them changed, come or
//! gone, and the project is not trusted any more. So what somebody pulls, unpacks or checks out runs
//! nothing before it has been looked at. The list of env files stands in the two first files, so equal
//! bytes mean an equal list.
//!
//! Not held in it: the programs and scripts that the files name (`run = "./migrate.sh"`).
//!
//! A record is a file of the home (0700, so nobody else writes one), exchanged as a whole; the name is the
//! hash of the project's path, and the path in it must be the one that is asked for.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hearth_config::Project;
use hearth_lifecycle::Home;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What was trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The project's directory, canonical.
    pub project: PathBuf,
    /// The files by which it says what is run, `hearth.toml` first.
    pub files: Vec<Seen>,
}

/// One file, as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Absolute.
    pub path: PathBuf,
    /// Of its bytes, in hexadecimal; null: there was no such file.
    pub sha256: Option<String>,
}

/// How a project stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is what was trusted; the number is that of this record.
    Trusted(String),
    /// These files are not what was trusted.
    Changed(Vec<PathBuf>),
    /// Nobody has trusted it.
    Unknown,
}

/// Looks at the files of a project as they are now. Errors: one can't be read.
pub fn look(project: &Project) -> io::Result<Record> {
    let files = project.sources.iter().map(|path| seen(path)).collect::<io::Result<_>>()?;
    Ok(Record { project: project.root.clone(), files })
}

/// Whose the files are, as for every verb, and the directories on the way to them: nobody has typed a verb,
/// and who could exchange one for a moment would choose what is run.
pub fn check(project: &Project) -> Result<(), hearth_config::Ownership> {
    let me = rustix::process::geteuid().as_raw();
    hearth_config::check_ownership(&project.root, me)?;
    project.sources.iter().try_for_each(|path| hearth_config::check_way(path, me))
}

/// Keeps a record. Errors: the home can't be written to.
pub fn keep(home: &Home, record: &Record) -> io::Result<()> {
    directory(&store(home))?;
    write_whole(&path_of(home, &record.project), &serde_json::to_vec(record)?)
}

/// Forgets a project; whether it was known.
pub fn forget(home: &Home, project: &Path) -> io::Result<bool> {
    match fs::remove_file(path_of(home, project)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// All records, by their projects' paths. What can't be read is none.
pub fn all(home: &Home) -> Vec<Record> {
    let entries = fs::read_dir(store(home)).into_iter().flatten().flatten();
    let mut records: Vec<Record> = entries
        .filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok())
        .filter(|record: &Record| path_of(home, &record.project).is_file())
        .collect();
    records.sort_by(|one, other| one.project.cmp(&other.project));
    records
}

/// Whether the project in this directory (canonical) is what was trusted.
pub fn standing(home: &Home, project: &Path) -> Standing {
    let Ok(bytes) = fs::read(path_of(home, project)) else { return Standing::Unknown };
    let record: Option<Record> = serde_json::from_slice(&bytes).ok();
    let Some(record) = record.filter(|record| record.project == project) else {
        return Standing::Unknown;
    };
    match changed(&record) {
        changed if changed.is_empty() => Standing::Trusted(hex(&bytes)),
        changed => Standing::Changed(changed),
    }
}

/// Files among the records that can't be understood: their projects are not trusted.
pub fn unreadable(home: &Home) -> Vec<PathBuf> {
    let entries = fs::read_dir(store(home)).into_iter().flatten().flatten();
    let understood = |path: &PathBuf| {
        fs::read(path).is_ok_and(|bytes| serde_json::from_slice::<Record>(&bytes).is_ok())
    };
    let records = entries.map(|entry| entry.path()).filter(|path| path.extension().is_none());
    records.filter(|path| !understood(path)).collect()
}

/// The files that are not what they were. One that can't be read is not what it was.
pub fn changed(record: &Record) -> Vec<PathBuf> {
    let is = |was: &&Seen| seen(&was.path).ok().as_ref() != Some(was);
    record.files.iter().filter(is).map(|was| was.path.clone()).collect()
}

/// Where the record of a project stands.
pub fn path_of(home: &Home, project: &Path) -> PathBuf {
    store(home).join(hex(project.as_os_str().as_encoded_bytes()))
}

/// Makes a directory of the home, where it is not there.
pub fn directory(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Writes a file (0600) that others see whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    let written = file.write_all(bytes).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

fn store(home: &Home) -> PathBuf {
    home.dir().join("trust")
}

fn seen(path: &Path) -> io::Result<Seen> {
    // A link that leads nowhere is no absent file: the reader refuses it.
    let absent =
        path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let sha256 = if absent { None } else { Some(hex(&hearth_config::read_file(path)?)) };
    Ok(Seen { path: path.to_owned(), sha256 })
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(text: &str) -> (tempfile::TempDir, PathBuf, Home) {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("its path").join("project");
        fs::create_dir(&root).expect("a directory");
        fs::write(root.join("hearth.toml"), text).expect("a file");
        let home = Home::resolve(crate::app(), Some(&dir.path().join("home"))).expect("a home");
        home.prepare().expect("it can be made");
        (dir, root, home)
    }

    fn trust(home: &Home, root: &Path) {
        let project = hearth_config::load(root).expect("a project");
        keep(home, &look(&project).expect("its files")).expect("a record");
    }

    #[test]
    fn any_file_that_changes_comes_or_goes_voids_it() {
        let (_dir, root, home) = project("[services.a]\nrun = 'x'\nenv_file = '.env'\n");
        let write = |name: &str, text: &str| fs::write(root.join(name), text).expect("a file");
        write(".env", "A=1\n");
        assert_eq!(standing(&home, &root), Standing::Unknown);
        trust(&home, &root);
        assert!(matches!(standing(&home, &root), Standing::Trusted(_)));

        write(".env", "A=2\n");
        assert_eq!(standing(&home, &root), Standing::Changed(vec![root.join(".env")]));
        write(".env", "A=1\n");
        assert!(matches!(standing(&home, &root), Standing::Trusted(_)), "the bytes count");

        write("hearth.local.toml", "");
        assert_eq!(standing(&home, &root), Standing::Changed(vec![root.join("hearth.local.toml")]));
        trust(&home, &root);
        assert!(matches!(standing(&home, &root), Standing::Trusted(_)));
        fs::remove_file(root.join("hearth.local.toml")).expect("removed");
        assert_eq!(standing(&home, &root), Standing::Changed(vec![root.join("hearth.local.toml")]));
        std::os::unix::fs::symlink("nowhere", root.join("hearth.local.toml")).expect("a link");
        assert!(matches!(standing(&home, &root), Standing::Changed(_)), "a link to nothing");
    }

    #[test]
    fn a_record_is_of_one_path_and_can_be_taken_back() {
        let (_dir, root, home) = project("");
        trust(&home, &root);
        let other = root.with_file_name("other");
        fs::create_dir(&other).expect("a directory");
        fs::copy(root.join("hearth.toml"), other.join("hearth.toml")).expect("a copy");
        assert_eq!(standing(&home, &other), Standing::Unknown);
        fs::copy(path_of(&home, &root), path_of(&home, &other)).expect("a copy");
        assert_eq!(standing(&home, &other), Standing::Unknown, "another's record");
        assert!(forget(&home, &root).expect("it can be removed"));
        assert!(!forget(&home, &root).expect("it is gone"));
        assert_eq!(standing(&home, &root), Standing::Unknown);
    }
}
