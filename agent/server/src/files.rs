//! The `hearth.toml` of each project as it is now, for `changed` and for rows of what never ran.
//!
//! Invariant: read again only when the kernel says that it is another one, so a status costs one
//! stat(2) a project.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
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
    stamp: [Option<Stamp>; 2],
    project: Option<Arc<Project>>,
}

/// Device, inode, size, and the times of content and inode in nanoseconds.
type Stamp = (u64, u64, u64, [i64; 4]);

impl Files {
    /// The project as its file says; `None`: the file is gone or broken.
    pub(crate) fn read(&mut self, root: &Arc<str>) -> Option<Arc<Project>> {
        let dir = Path::new(&**root);
        let stamp = [stamp(&dir.join(FILE)), stamp(&dir.join(LOCAL_FILE))];
        if let Some(seen) = self.seen.get(root)
            && seen.stamp == stamp
        {
            return seen.project.clone();
        }
        // A directory that is missing makes a file faulty too, so a broken one is not remembered.
        let project = stamp[0].and_then(|_| hearth_config::load(dir).ok()).map(Arc::new);
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        match &project {
            Some(_) => {
                self.seen.insert(Arc::clone(root), Seen { stamp, project: project.clone() });
            }
            None => drop(self.seen.remove(root)),
        }
        project
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
