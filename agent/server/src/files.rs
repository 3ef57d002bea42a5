//! The `hearth.toml` of each project as it is now, for `changed` and for rows of what never ran.
//!
//! Invariant: read again only when the kernel says that one of the files that it was made of is another
//! one, so a status costs a stat(2) for each of those.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearth_config::{FILE, LOCAL_FILE, Project};

/// Projects that are remembered: more than anybody has, and a bound against asking for rubbish.
const REMEMBERED: usize = 256;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Files {
    seen: HashMap<Arc<str>, Seen>,
}

#[derive(Debug)]
struct Seen {
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    project: Arc<Project>,
}

/// What there is where no file is: that of the services of no project.
pub(crate) fn no_project() -> Project {
    Project {
        root: PathBuf::new(),
        file: PathBuf::new(),
        sources: Vec::new(),
        auto: false,
        services: Vec::new(),
        groups: Vec::new(),
    }
}

/// Device, inode, size, and the times of content and inode in nanoseconds.
type Stamp = (u64, u64, u64, [i64; 4]);

impl Files {
    /// The project as its file says; `None`: the file is gone or broken.
    pub(crate) fn read(&mut self, root: &Arc<str>) -> Option<Arc<Project>> {
        if root.is_empty() {
            // A relative path would be somebody's file.
            return None;
        }
        let dir = Path::new(&**root);
        if let Some(seen) = self.seen.get(root)
            && seen.stamps.iter().all(|(path, was)| stamp(path) == *was)
        {
            return Some(Arc::clone(&seen.project));
        }
        self.seen.remove(root);
        // Before it is read: what is written meanwhile is seen the next time.
        let own = [dir.join(FILE), dir.join(LOCAL_FILE)].map(|path| (stamp(&path), path));
        own[0].0?;
        // A directory that is missing makes a file faulty too, so a broken one is not remembered.
        let project = Arc::new(hearth_config::load(dir).ok()?);
        let mut stamps: Vec<_> = own.into_iter().map(|(was, path)| (path, was)).collect();
        for source in &project.sources {
            if !stamps.iter().any(|(path, _)| path == source) {
                stamps.push((source.clone(), stamp(source)));
            }
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        self.seen.insert(Arc::clone(root), Seen { stamps, project: Arc::clone(&project) });
        Some(project)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = path.metadata().ok()?;
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    Some((found.dev(), found.ino(), found.size(), times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_seen_as_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let root: Arc<str> = dir.path().to_str().unwrap().into();
        let write = |text: &str| std::fs::write(dir.path().join(FILE), text).unwrap();
        let mut files = Files::default();
        assert!(files.read(&root).is_none());
        write("[services.a]\nrun = 'x'\n");
        let first = files.read(&root).unwrap();
        assert!(Arc::ptr_eq(&first, &files.read(&root).unwrap()));
        write("[services.a]\nrun = 'another'\n");
        let second = files.read(&root).unwrap();
        assert_ne!(first.services[0].fingerprint, second.services[0].fingerprint);
        write("[services.a]\n");
        assert!(files.read(&root).is_none());
    }
}
