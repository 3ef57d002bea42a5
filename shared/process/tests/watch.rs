//! Changes in a directory.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::path::Path;

use hearth_process::watch::{Change, ChangeKind, DirWatch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

fn readable(watch: &DirWatch) -> bool {
    let mut fds = [PollFd::new(watch, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
}

/// What was told about each name, `.` for the directory.
fn told(watch: &DirWatch) -> Vec<(String, ChangeKind)> {
    let name = |change: &Change| match &change.name {
        Some(name) => name.to_str().unwrap().to_owned(),
        None => ".".to_owned(),
    };
    let changes = watch.drain().unwrap();
    changes.iter().map(|change| (name(change), change.kind)).collect()
}

fn expect(watch: &DirWatch, expected: &[(&str, ChangeKind)]) {
    assert_eq!(readable(watch), !expected.is_empty());
    let expected: Vec<_> = expected.iter().map(|(name, kind)| (name.to_string(), *kind)).collect();
    assert_eq!(told(watch), expected);
    assert!(!readable(watch), "drained");
}

#[test]
fn names_and_contents_are_told_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("before"), b"").unwrap();
    let watch = DirWatch::new(directory.path()).unwrap();
    expect(&watch, &[]);
    let mut file = fs::File::create(at("a")).unwrap();
    expect(&watch, &[("a", ChangeKind::Created)]);
    file.write_all(b"x").unwrap();
    expect(&watch, &[("a", ChangeKind::Modified)]);
    fs::rename(at("a"), at("b")).unwrap();
    expect(&watch, &[("a", ChangeKind::MovedOut), ("b", ChangeKind::MovedIn)]);
    fs::set_permissions(at("b"), fs::metadata(at("before")).unwrap().permissions()).unwrap();
    expect(&watch, &[("b", ChangeKind::Attributes)]);
    fs::remove_file(at("before")).unwrap();
    expect(&watch, &[("before", ChangeKind::Deleted)]);
    watch.also(&file).unwrap();
    file.write_all(b"y").unwrap();
    expect(&watch, &[("b", ChangeKind::Modified)]);
}

#[test]
fn a_watch_on_names_is_not_woken_by_writes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.log");
    let mut log = fs::File::create(&path).unwrap();
    let watch = DirWatch::names(directory.path()).unwrap();
    log.write_all(b"a line\n").unwrap();
    fs::set_permissions(&path, log.metadata().unwrap().permissions()).unwrap();
    expect(&watch, &[]);
    fs::remove_file(&path).unwrap();
    expect(&watch, &[("agent.log", ChangeKind::Deleted)]);
}

#[test]
fn the_end_of_the_directory_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("d");
    fs::create_dir(&directory).unwrap();
    let watch = DirWatch::names(&directory).unwrap();
    fs::remove_dir(&directory).unwrap();
    assert!(told(&watch).contains(&(".".to_owned(), ChangeKind::DirectoryGone)));
}

#[test]
fn what_is_no_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let kind = |path: &Path| DirWatch::new(path).unwrap_err().kind();
    assert_eq!(kind(&directory.path().join("none")), std::io::ErrorKind::NotFound);
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    assert_eq!(kind(&file), std::io::ErrorKind::NotADirectory);
}
