//! Locked files and their records.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};

use hearth_process::locked::{self, CAPACITY, LockedFile, Record, SIZE, TryError};
use support::Kept;

fn take(path: &Path) -> LockedFile {
    LockedFile::try_exclusive(locked::open(path, true).unwrap()).unwrap()
}

/// A child that holds the lock and nothing else does.
fn held_by_a_child(path: &Path) -> Kept {
    let file = take(path).into_file();
    let mut command = Command::new("sleep");
    Kept(command.arg("1000").stdin(Stdio::from(file)).spawn().unwrap())
}

/// A fork by another test copies our descriptors, and with them our locks, until its exec.
static TURN: Mutex<()> = Mutex::new(());

struct Place {
    directory: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Place {
    fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn directory() -> (Place, PathBuf) {
    let turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.lock");
    let place = Place { directory, _turn: turn };
    (place, path)
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let (_directory, path) = directory();
    let locked = take(&path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(locked::read_path(&path).unwrap(), Record::Empty);
    for payload in [&b"{\"pid\":42}"[..], b"", &[b'x'; CAPACITY], b"short again"] {
        locked.write(payload).unwrap();
        let expected = Record::Valid(payload.to_vec());
        assert_eq!(locked::read_path(&path).unwrap(), expected);
        assert_eq!(locked::read(&locked).unwrap(), expected);
        assert_eq!(fs::metadata(&path).unwrap().len(), SIZE as u64);
    }
    let error = locked.write(&[0; CAPACITY + 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    // The refused one has left the last in place.
    let last = Record::Valid(b"short again".to_vec());
    assert_eq!(locked::read(&locked).unwrap(), last);
}

#[test]
fn a_torn_record_is_told_from_a_whole_one() {
    let (_directory, path) = directory();
    take(&path).write(b"the payload of a record").unwrap();
    let whole = fs::read(&path).unwrap();
    for damaged in [0, 5, 9, 16, 20] {
        let mut bytes = whole.clone();
        bytes[damaged] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(locked::read_path(&path).unwrap(), Record::Torn, "{damaged}");
    }
    for length in [1, 15, 16, 30] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(locked::read_path(&path).unwrap(), Record::Torn, "{length}");
    }
    let mut endless = whole.clone();
    endless[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    fs::write(&path, &endless).unwrap();
    assert_eq!(locked::read_path(&path).unwrap(), Record::Torn);
    fs::write(&path, &whole).unwrap();
    assert!(matches!(locked::read_path(&path).unwrap(), Record::Valid(_)));
}

#[test]
fn a_held_file_is_refused_and_comes_back_with_the_refusal() {
    let (_directory, path) = directory();
    assert!(!locked::is_held(&path).unwrap(), "no file, no holder");
    let locked = take(&path);
    assert!(locked::is_held(&path).unwrap());
    let other = locked::open(&path, false).unwrap();
    let (other, error) = LockedFile::try_exclusive(other).unwrap_err();
    assert!(matches!(error, TryError::Held));
    drop(locked);
    assert!(!locked::is_held(&path).unwrap());
    LockedFile::try_exclusive(other).unwrap();
}

#[test]
fn kill_9_of_the_holder_frees_it_and_wakes_who_waits() {
    let (_directory, path) = directory();
    let mut holder = held_by_a_child(&path);
    assert!(locked::is_held(&path).unwrap());
    let file = locked::open(&path, false).unwrap();
    let waiter = std::thread::spawn(move || LockedFile::exclusive(file));
    holder.kill_and_reap();
    let locked = waiter.join().unwrap().unwrap();
    assert!(locked::is_held(&path).unwrap());
    drop(locked);
    assert!(!locked::is_held(&path).unwrap());
}

#[test]
fn closing_one_copy_of_an_inherited_lock_leaves_it_with_the_other() {
    let (_directory, path) = directory();
    let ours = take(&path);
    let inherited = ours.file().try_clone().unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    let adopted = LockedFile::adopt_inherited(inherited.into());
    let flags = rustix::io::fcntl_getfd(&adopted).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    drop(ours);
    assert!(locked::is_held(&path).unwrap());
    adopted.write(b"still mine").unwrap();
    drop(adopted);
    assert!(!locked::is_held(&path).unwrap());
}

#[test]
fn symlinks_fifos_and_directories_are_refused() {
    let (directory, path) = directory();
    fs::write(directory.path().join("target"), b"precious").unwrap();
    symlink(directory.path().join("target"), &path).unwrap();
    let refused = |error: std::io::Error| error.raw_os_error();
    assert_eq!(refused(locked::open(&path, true).unwrap_err()), Some(libc::ELOOP));
    assert_eq!(refused(locked::read_path(&path).unwrap_err()), Some(libc::ELOOP));
    assert_eq!(refused(locked::is_held(&path).unwrap_err()), Some(libc::ELOOP));

    let fifo = directory.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let error = locked::open(&fifo, true).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    let error = locked::is_held(&fifo).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);

    let error = locked::open(directory.path(), false).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::IsADirectory);
    let missing = directory.path().join("missing");
    let error = locked::open(&missing, false).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(!missing.exists());
}

#[test]
fn a_record_that_is_rewritten_takes_no_more_room() {
    let (_directory, path) = directory();
    let locked = take(&path);
    locked.write(b"x").unwrap();
    locked.file().sync_all().unwrap();
    let before = locked.file().metadata().unwrap();
    locked.write(&[b'y'; CAPACITY]).unwrap();
    locked.file().sync_all().unwrap();
    let after = locked.file().metadata().unwrap();
    assert_eq!((before.blocks(), before.len()), (after.blocks(), after.len()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_record_is_rewritten_on_a_full_disk() {
    if support::root_or_skip("a_record_is_rewritten_on_a_full_disk") {
        let (directory, _) = directory();
        let place = directory.path().to_str().unwrap().to_owned();
        let options = ["--mount", "--propagation", "private"];
        support::in_namespaces(&options, "inner_full_disk", &[(DISK, place)]);
    }
}

#[cfg(target_os = "linux")]
const DISK: &str = "HEARTH_TEST_DISK";

#[cfg(target_os = "linux")]
#[test]
#[ignore = "run by the test above, in a mount namespace with a disk of 64 KiB"]
fn inner_full_disk() {
    let Some(disk) = std::env::var_os(DISK).map(PathBuf::from) else {
        return;
    };
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("small", &disk, "tmpfs", flags, Some(c"size=64k")).unwrap();
    let early = take(&disk.join("early"));
    early.write(b"starting").unwrap();
    let late = take(&disk.join("late"));
    // Larger than the disk: whatever fits is taken.
    let error = fs::write(disk.join("filler"), vec![b'x'; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);

    early.write(&[b'y'; CAPACITY]).unwrap();
    let record = locked::read_path(&disk.join("early")).unwrap();
    assert_eq!(record, Record::Valid(vec![b'y'; CAPACITY]));
    let error = late.write(b"starting").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}
