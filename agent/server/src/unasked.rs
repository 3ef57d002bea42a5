//! Reading a project that nobody has asked for just now: at an agent's start after a boot.
//!
//! Invariant: a planted file runs no code. The rules are those of a verb (`check_ownership`), and those
//! for what no verb was typed for (`check_way`): whoever could exchange a directory on the way to a file
//! for a moment would choose what is run. What may hang (a dead file server, a directory of users) does
//! so in a thread, and holds nobody up for longer than [`WITHIN`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hearth_api::{Code, Problem};
use hearth_config::{FILE, LoadError, Ownership, Project};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use crate::refuse::Refusal;

/// A verb may be waiting for the agent that reads.
const WITHIN: Duration = Duration::from_secs(2);

/// What was read, or why not, in one line for people.
pub(crate) type Read = Result<Arc<Project>, String>;

/// Whether the files may be believed although nobody has named them. Errors: `forbidden`.
pub(crate) fn check(project: &Project) -> Result<(), Refusal> {
    may_be_believed(project).map_err(|why| {
        let hint = "an agent starts nothing by itself that others may have written; `-C` does not \
                    change that";
        Problem::new(Code::Forbidden, why.to_string(), hint).into()
    })
}

fn may_be_believed(project: &Project) -> Result<(), Ownership> {
    let me = rustix::process::geteuid().as_raw();
    hearth_config::check_ownership(&project.root, me)?;
    project.sources.iter().try_for_each(|path| hearth_config::check_way(path, me))
}

/// All of these, side by side. Who has not answered in time is told so.
pub(crate) async fn read_all(projects: impl Iterator<Item = Arc<str>>) -> BTreeMap<Arc<str>, Read> {
    let mut reading = JoinSet::new();
    let mut all: BTreeMap<Arc<str>, Read> = BTreeMap::new();
    for project in projects {
        let words = format!("{project}/{FILE} could not be read within {} s", WITHIN.as_secs());
        all.insert(Arc::clone(&project), Err(words));
        reading.spawn(async move {
            let dir = Arc::clone(&project);
            let read = spawn_blocking(move || read(Path::new(&*dir))).await;
            (project, read.unwrap_or_else(|error| Err(error.to_string())))
        });
    }
    let until = Instant::now() + WITHIN;
    while let Ok(Some(read)) = timeout_at(until, reading.join_next()).await {
        if let Ok((project, read)) = read {
            all.insert(project, read);
        }
    }
    all
}

fn read(dir: &Path) -> Read {
    let project = hearth_config::load(dir).map_err(|error| match error {
        LoadError::Missing { .. } | LoadError::Unreadable { .. } => error.to_string(),
        LoadError::Faulty(faults) => {
            let first = faults.as_slice().first();
            let place = |fault: &hearth_config::Fault| {
                format!("{}:{}: {}", fault.file.display(), fault.line, fault.message)
            };
            let first = first.map(place).unwrap_or_default();
            format!("{first} (`hearth config check` there shows all)")
        }
    })?;
    if project.root != dir {
        return Err(format!("{} leads to {} now", dir.display(), project.root.display()));
    }
    may_be_believed(&project).map_err(|why| why.to_string())?;
    Ok(Arc::new(project))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn read_one(dir: &Path) -> Read {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let project: Arc<str> = dir.to_str().unwrap().into();
        runtime.block_on(read_all([project.clone()].into_iter())).remove(&project).unwrap()
    }

    #[test]
    fn what_cant_be_believed_or_read_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let file = root.join(FILE);
        let refused = |part: &str| {
            let why = read_one(&root).unwrap_err();
            assert!(why.contains(part) && !why.contains('\n'), "{why}");
        };
        refused("there is no ");
        std::fs::write(&file, "[services.a]\nrun = 3\n").unwrap();
        refused("hearth.toml:2: ");
        std::fs::write(&file, "[services.a]\nrun = 'x'\n").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
        refused("can be written by everybody");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(read_one(&root).unwrap().services.len(), 1);
        let link = root.join("link");
        symlink(&root, &link).unwrap();
        assert!(read_one(&link).unwrap_err().contains("leads to"));
    }
}
