//! Readiness by a file: there, not there, and there again, told by the kernel.
//!
//! Invariant: subscribe, then look. What is watched is the nearest directory above the file that
//! exists, and again each time that something there may have brought the next one nearer; so it makes
//! no difference whether the directories come first, the file is renamed into place, or all of it is
//! removed and made again. Looking is done aside and bounded: a path may lead to a dead server.
//!
//! Known gaps: a directory further up that is renamed, or a link in the path that is made to point
//! elsewhere, is not told; what that did is seen when the next thing happens.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use hearth_config::{Probe, Test};
use hearth_core::Verdict;
use hearth_process::watch::{Change, ChangeKind, DirWatch};
use tokio::time::{sleep, timeout};

use super::fd::Watched;
use super::probe::Answers;
use super::{aside, probe};

/// How often it is looked for where nothing can be watched: the user's inotify instances (128, if
/// nobody has raised that) are used up, a directory may not be read, or the file is a link, whose
/// target comes and goes elsewhere. Nothing wakes us then, and a file has no other way to tell.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Directories that come into being while we look are followed so often, before the watch that there
/// is has to do.
const DOWN: usize = 64;

/// Tells at once whether the file is there, and then each time that this has changed; for ever.
pub(crate) async fn watch(test: &Test, answers: &Answers) {
    let Probe::File(path) = &test.probe else { return };
    let mut known: Option<bool> = None;
    loop {
        let from = path.clone();
        let mut looking = pin!(aside::look(move || look(&from)));
        let found = match timeout(test.timeout, &mut looking).await {
            Ok(found) => found,
            Err(_) => {
                known = None;
                let words = format!("{}: {}", path.display(), probe::no_answer(test.timeout));
                answers.tell(probe::in_its_words(test, Verdict::Fail(words))).await;
                // It goes on aside, and not a second time.
                looking.await
            }
        };
        let Ok(found) = found else { return };
        if known.replace(found.there) != Some(found.there) {
            answers.tell(probe::in_its_words(test, words(path, found.there))).await;
        }
        let mut watched = found.watched();
        loop {
            let changes = match &mut watched {
                Some((watch, _)) => watch.changes().await,
                None => {
                    sleep(LOOK_AGAIN).await;
                    break;
                }
            };
            match (changes, &watched) {
                (Ok(changes), Some((_, name))) if !changes.iter().any(|c| matters(c, name)) => {}
                (Ok(_), _) => break,
                // Not to be spun on.
                (Err(_), _) => {
                    sleep(LOOK_AGAIN).await;
                    break;
                }
            }
        }
    }
}

fn words(path: &Path, there: bool) -> Verdict {
    let path = path.display();
    match there {
        true => Verdict::Pass(format!("{path} exists")),
        false => Verdict::Fail(format!("{path} does not exist")),
    }
}

/// Whether a change in the watched directory may be about the next step towards the file.
fn matters(change: &Change, name: &Path) -> bool {
    match change.kind {
        ChangeKind::Created | ChangeKind::MovedIn | ChangeKind::MovedOut | ChangeKind::Deleted => {
            change.name.as_ref().is_none_or(|changed| Path::new(changed) == name)
        }
        ChangeKind::DirectoryGone | ChangeKind::Overflow | ChangeKind::Unspecified => true,
        ChangeKind::Modified | ChangeKind::Attributes => false,
    }
}

/// How it was, with a watch that tells what happened since.
struct Found {
    there: bool,
    /// And the name in it that leads to the file.
    watch: Option<(DirWatch, PathBuf)>,
}

impl Found {
    fn watched(self) -> Option<(Watched, PathBuf)> {
        let (watch, name) = self.watch?;
        Some((Watched::new(watch).ok()?, name))
    }
}

fn look(path: &Path) -> Found {
    let mut watch = None;
    for _ in 0..DOWN {
        watch = nearest(path);
        let Some((_, dir, name)) = &watch else { break };
        // Made while we subscribed above it: watch that.
        let next = dir.join(name);
        if next == path || !next.is_dir() {
            break;
        }
    }
    let is_link = path.symlink_metadata().is_ok_and(|found| found.is_symlink());
    let watch = watch.filter(|_| !is_link);
    Found { there: path.exists(), watch: watch.map(|(watch, _, name)| (watch, name)) }
}

/// A watch on the nearest directory above `path` that exists, that directory, and the name in it.
fn nearest(path: &Path) -> Option<(DirWatch, PathBuf, PathBuf)> {
    let mut below = path;
    loop {
        let dir = below.parent()?;
        match DirWatch::names(dir) {
            Ok(watch) => return Some((watch, dir.to_owned(), below.file_name()?.into())),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => below = dir,
                // Not to be watched, which is another matter than not there.
                _ => return None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::Told;
    use super::*;
    use hearth_core::ServiceId;
    use std::fs;
    use tokio::sync::mpsc;

    fn watched(path: &Path) -> mpsc::Receiver<Told> {
        let test = Test::new(Probe::File(path.to_owned()));
        let (tell, told) = mpsc::channel(8);
        let id = ServiceId::new("/p", "s");
        let answers = Answers { id, life: 1, test: 0, tell };
        tokio::spawn(async move { watch(&test, &answers).await });
        told
    }

    async fn next(told: &mut mpsc::Receiver<Told>) -> Option<bool> {
        match told.recv().await? {
            Told::Probed { verdict, .. } => Some(matches!(verdict, Verdict::Pass(_))),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn it_comes_with_its_directories_goes_and_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c/file");
        let mut told = watched(&path);
        assert_eq!(next(&mut told).await, Some(false));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(next(&mut told).await, Some(true));
        fs::remove_file(&path).unwrap();
        assert_eq!(next(&mut told).await, Some(false));
        // By renaming.
        fs::write(dir.path().join("new"), "").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(next(&mut told).await, Some(true));
        // With its directory, and back.
        fs::rename(dir.path().join("a/b/c"), dir.path().join("away")).unwrap();
        assert_eq!(next(&mut told).await, Some(false));
        fs::rename(dir.path().join("away"), dir.path().join("a/b/c")).unwrap();
        assert_eq!(next(&mut told).await, Some(true));
        fs::remove_dir_all(dir.path().join("a")).unwrap();
        assert_eq!(next(&mut told).await, Some(false));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(next(&mut told).await, Some(true));
    }

    #[tokio::test]
    async fn replaced_in_one_step_it_was_never_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "1").unwrap();
        let mut told = watched(&path);
        assert_eq!(next(&mut told).await, Some(true));
        for _ in 0..100 {
            fs::write(dir.path().join("new"), "2").unwrap();
            fs::rename(dir.path().join("new"), &path).unwrap();
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(next(&mut told).await, Some(false));
    }

    #[tokio::test]
    async fn a_link_is_there_when_its_target_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("target"), &path).unwrap();
        let mut told = watched(&path);
        assert_eq!(next(&mut told).await, Some(false));
        fs::write(dir.path().join("target"), "").unwrap();
        assert_eq!(next(&mut told).await, Some(true));
    }
}
