//! Finding and reading the files. The project's canonical path is its identity, so both start from
//! canonical paths: a directory that is entered through a link is the same project.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::fault::{Fault, Faults};
use crate::merge::{Source, Texts};
use crate::parse;
use crate::project::Project;

/// The name of the file that makes a directory a project.
pub const FILE: &str = "hearth.toml";

/// The file beside it that is merged over it, for what one machine or one person has otherwise.
pub const LOCAL_FILE: &str = "hearth.local.toml";

/// Most bytes of a file that are read.
pub const MAX_FILE_SIZE: u64 = 1 << 20;

/// Why there is no project.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No such file.
    #[error("there is no {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It can't be read, is no file, or is larger than [`MAX_FILE_SIZE`].
    #[error("{} can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was read, and is not right.
    #[error("{0}")]
    Faulty(Faults),
}

/// The nearest directory from `start` upward that has a `hearth.toml`, whatever that is: one that
/// can't be read is to be told, not passed over. Canonical.
pub fn find(start: &Path) -> Option<PathBuf> {
    let start = start.canonicalize().or_else(|_| std::path::absolute(start)).ok()?;
    let found = start.ancestors().find(|dir| dir.join(FILE).symlink_metadata().is_ok());
    found.map(Path::to_owned)
}

/// Reads, merges and validates the `hearth.toml` of a directory, the `hearth.local.toml` beside it
/// where there is one, and the env files that they name. Who may have written them is not looked at
/// here, see [`crate::check_ownership`].
pub fn load(project_dir: &Path) -> Result<Project, LoadError> {
    let named = project_dir.join(FILE);
    let root = match project_dir.canonicalize() {
        Ok(root) => root,
        Err(source) => return Err(unreadable(named, source)),
    };
    let (file, local) = (root.join(FILE), root.join(LOCAL_FILE));
    let base = read(&file).map_err(|source| unreadable(file.clone(), source))?;
    let over = match local.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(_) | Err(_) => {
            let bytes = read(&local);
            Some(bytes.map_err(|source| LoadError::Unreadable { path: local.clone(), source })?)
        }
    };
    let (over, no_text) = match over.map(|bytes| text(bytes, &local)) {
        Some(Ok(text)) => (Some(text), None),
        Some(Err(fault)) => (None, Some(*fault)),
        None => (None, None),
    };
    let base = match text(base, &file) {
        Ok(text) => text,
        Err(fault) => {
            return Err(LoadError::Faulty(Faults([*fault].into_iter().chain(no_text).collect())));
        }
    };
    let over = over.as_deref().map(|text| Source { text, file: &local });
    let texts = Texts { base: Source { text: &base, file: &file }, local: over };
    let mut project = parse::all(&texts, no_text, &root).map_err(LoadError::Faulty)?;
    project.sources.insert(1, local);
    Ok(project)
}

fn unreadable(path: PathBuf, source: io::Error) -> LoadError {
    match source.kind() {
        io::ErrorKind::NotFound => LoadError::Missing { path },
        _ => LoadError::Unreadable { path, source },
    }
}

/// The bytes of a regular file. Anything else is refused before it is opened: opening a fifo would
/// wait for its other end. (Exchanged in between, it would; who can do that can do worse.)
///
/// Errors: those of stat(2) and open(2); `InvalidInput` for what is no file, `FileTooLarge` above
/// [`MAX_FILE_SIZE`].
pub fn read(file: &Path) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        let why = format!("it is larger than {MAX_FILE_SIZE} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// The bytes as a text, or the place at which they are none.
pub(crate) fn text(bytes: Vec<u8>, file: &Path) -> Result<String, Box<Fault>> {
    String::from_utf8(bytes).map_err(|error| {
        let text = String::from_utf8_lossy(error.as_bytes());
        let at = error.utf8_error().valid_up_to();
        let expected = Some("a text in UTF-8".to_owned());
        Box::new(Fault::new(&text, file, at..at + 1, "the file is not UTF-8", expected))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(FILE), text).expect("a file");
        let root = dir.path().canonicalize().expect("its path");
        (dir, root)
    }

    #[test]
    fn the_nearest_directory_upward_is_found_through_links_too() {
        let (_dir, root) = project(b"");
        std::fs::create_dir_all(root.join("a/b")).expect("directories");
        assert_eq!(find(&root.join("a/b")), Some(root.clone()));
        let elsewhere = tempfile::tempdir().expect("a directory");
        let link = elsewhere.path().join("link");
        std::os::unix::fs::symlink(root.join("a"), &link).expect("a link");
        assert_eq!(find(&link), Some(root.clone()));
        assert_eq!(load(&root).expect("an empty project").root, root);
    }

    #[test]
    fn what_is_no_file_is_told_apart_from_none() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(matches!(load(dir.path()), Err(LoadError::Missing { .. })));
        assert!(matches!(load(&dir.path().join("gone")), Err(LoadError::Missing { .. })));
        std::fs::create_dir(dir.path().join(FILE)).expect("a directory");
        assert!(matches!(load(dir.path()), Err(LoadError::Unreadable { .. })));
    }

    #[test]
    fn an_endless_file_is_not_read() {
        let (_dir, root) = project(&vec![b'#'; MAX_FILE_SIZE as usize + 1]);
        let error = load(&root).expect_err("too large").to_string();
        assert!(error.contains("larger than 1048576 bytes"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_text_have_a_place() {
        let (_dir, root) = project(b"# a\n# \xff\n");
        let Err(LoadError::Faulty(faults)) = load(&root) else { panic!("faulty") };
        assert_eq!((faults.as_slice()[0].line, faults.as_slice()[0].column), (2, 3));
    }

    #[test]
    fn a_local_file_that_is_no_text_is_told_beside_the_faults_of_the_other() {
        let (_dir, root) = project(b"x = 1\n[services.a]\n");
        std::fs::write(root.join(LOCAL_FILE), b"\xff").expect("a file");
        let Err(LoadError::Faulty(faults)) = load(&root) else { panic!("faulty") };
        let all: Vec<(&Path, &str)> =
            faults.0.iter().map(|fault| (fault.file.as_path(), fault.message.as_str())).collect();
        assert_eq!(all.len(), 2, "its `run` may stand in the local file: {all:?}");
        assert_eq!(all[1], (root.join(LOCAL_FILE).as_path(), "the file is not UTF-8"));
        std::fs::remove_file(root.join(LOCAL_FILE)).expect("removed");
        std::os::unix::fs::symlink("nowhere", root.join(LOCAL_FILE)).expect("a link");
        assert!(matches!(load(&root), Err(LoadError::Unreadable { .. })));
    }

    #[test]
    fn every_file_that_can_change_it_is_a_source() {
        let (_dir, root) = project(b"[services.a]\nrun='x'\nenv_file=['.env', 'b.env', '.env']\n");
        for name in [".env", "b.env"] {
            std::fs::write(root.join(name), "").expect("a file");
        }
        let sources = [FILE, LOCAL_FILE, ".env", "b.env"].map(|name| root.join(name));
        assert_eq!(load(&root).expect("a project").sources, sources);
    }
}
