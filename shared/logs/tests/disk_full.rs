//! A disk that is really full, or read-only: a tmpfs of 64 KiB in a mount namespace of the test's own
//! thread.
#![cfg(target_os = "linux")]

use std::os::fd::AsFd;
use std::path::Path;
use std::time::SystemTime;

use hearth_logs::{Follow, Limits, Line, Position, Reader, Stream, Writer};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change,
    mount_remount, unmount,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

const LIMITS: Limits = Limits { max_size: 1 << 20, keep: 3 };

fn private_tmpfs(dir: &Path) -> rustix::io::Result<()> {
    // SAFETY: only this thread's view of mounts and its working directory are set apart; it keeps
    // its descriptors and its memory.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("tmpfs", dir, "tmpfs", MountFlags::empty(), c"size=64k")
}

/// Runs `test` with a directory on a disk of 64 KiB. The mount goes with the thread.
fn on_a_small_disk(test: impl FnOnce(&Path) + Send) {
    let dir = tempfile::tempdir().expect("a directory");
    let run = || match private_tmpfs(dir.path()) {
        Ok(()) => test(dir.path()),
        Err(errno) => {
            assert!(std::env::var_os("CI").is_none(), "no tmpfs of its own: {errno}");
            eprintln!("SKIPPED: a full disk needs a mount namespace: {errno}");
        }
    };
    std::thread::scope(|scope| scope.spawn(run).join().expect("tested"));
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
}

/// Fills what is left.
fn ballast(path: &Path) {
    let mut file = std::fs::File::create(path).expect("created");
    for size in [4096, 1] {
        while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
    }
}

#[test]
fn output_is_dropped_counted_and_told_where_it_is_missing() {
    on_a_small_disk(|disk| {
        let dir = disk.join("log");
        let mut writer = Writer::open(&dir, LIMITS, 1).expect("opened");
        let write = |writer: &mut Writer, stream, text: &str| {
            writer.write(stream, text.as_bytes(), SystemTime::now()).expect("no error");
            text.len() as u64
        };
        let mut written = write(&mut writer, Stream::Stderr, "open on the other ");
        ballast(&disk.join("ballast"));
        let line = "x".repeat(999) + "\n";
        let mut follow = Follow::new(&dir, Position::START).expect("followed");
        let mut followed = Vec::new();
        while writer.lost() == 0 {
            followed.extend(follow.next().expect("followed"));
            written += write(&mut writer, Stream::Stdout, &line);
        }
        written += write(&mut writer, Stream::Stdout, &line);
        let lost = writer.lost();
        std::fs::remove_file(disk.join("ballast")).expect("removed");
        written += write(&mut writer, Stream::Stdout, "after\n");
        written += write(&mut writer, Stream::Stderr, "side\n");
        assert_eq!(writer.lost(), lost, "nothing more is lost");

        let lines = Reader::open(&dir).last_lines(usize::MAX).expect("read");
        followed.extend(follow.next().expect("followed"));
        assert_eq!(followed, lines, "who follows sees the same");
        let told = format!("hearth: {lost} bytes lost: disk full");
        let all = texts(&lines);
        assert_eq!(all[all.len() - 3..], [told.clone(), "after".to_owned(), "side".to_owned()]);
        assert_eq!(all.iter().filter(|text| **text == told).count(), 1, "told once");
        let kept: u64 =
            lines.iter().map(|line| line.bytes.len() as u64 + u64::from(line.terminated)).sum();
        assert_eq!(kept - told.len() as u64 - 1 + lost, written, "every byte kept or counted");
    });
}

#[test]
fn what_a_full_disk_does_not_take_from_a_pipe_is_left_there_to_be_counted() {
    on_a_small_disk(|disk| {
        let dir = disk.join("log");
        let mut writer = Writer::open(&dir, LIMITS, 1).expect("opened");
        let (mut reader, mut pipe) = std::io::pipe().expect("a pipe");
        let line = "p".repeat(99) + "\n";
        let mut written = 0;
        while writer.lost() == 0 {
            let text = line.repeat(200);
            std::io::Write::write_all(&mut pipe, text.as_bytes()).expect("written");
            written += text.len();
            let taken = writer.splice(Stream::Stdout, reader.as_fd(), SystemTime::now());
            let mut rest = vec![0; text.len() - taken];
            std::io::Read::read_exact(&mut reader, &mut rest).expect("the rest is there");
            writer.write(Stream::Stdout, &rest, SystemTime::now()).expect("no error");
        }
        let lost = usize::try_from(writer.lost()).expect("few");
        let lines = Reader::open(&dir).last_lines(usize::MAX).expect("read");
        let kept = lines.iter().map(|line| line.bytes.len() + usize::from(line.terminated));
        assert_eq!(kept.sum::<usize>() + lost, written, "every byte kept or counted");
        assert!(lines.len() > 200, "{} lines", lines.len());
    });
}

#[test]
fn a_disk_that_is_full_from_the_start_keeps_no_service_from_starting() {
    on_a_small_disk(|disk| {
        ballast(&disk.join("ballast"));
        // No inode and no page is left for a directory's worth of log.
        let dir = disk.join("log");
        let mut writer = Writer::open(&dir, LIMITS, 4).expect("opened");
        writer.write(Stream::Stdout, b"lost\n", SystemTime::now()).expect("no error");
        assert_eq!(writer.lost(), 5);
        std::fs::remove_file(disk.join("ballast")).expect("removed");
        writer.write(Stream::Stdout, b"kept\n", SystemTime::now()).expect("no error");
        let reader = Reader::open(&dir);
        let lines = reader.last_lines_of(4, 9).expect("read");
        assert_eq!(texts(&lines), ["hearth: 5 bytes lost: disk full", "kept"]);
    });
}

#[test]
fn a_rotation_that_finds_no_room_loses_nothing_that_was_there() {
    on_a_small_disk(|disk| {
        let dir = disk.join("log");
        let limits = Limits { max_size: 4096, keep: 3 };
        let mut writer = Writer::open(&dir, limits, 1).expect("opened");
        let line = "y".repeat(99) + "\n";
        for _ in 0..40 {
            writer.write(Stream::Stdout, line.as_bytes(), SystemTime::now()).expect("no error");
        }
        ballast(&disk.join("ballast"));
        for _ in 0..10 {
            writer.write(Stream::Stdout, line.as_bytes(), SystemTime::now()).expect("no error");
        }
        let lost = writer.lost();
        assert!(lost > 0, "the disk is full");
        std::fs::remove_file(disk.join("ballast")).expect("removed");
        writer.write(Stream::Stdout, b"after\n", SystemTime::now()).expect("no error");
        let all = texts(&Reader::open(&dir).last_lines(usize::MAX).expect("read"));
        let kept = all.iter().filter(|text| text.len() == 99).count() as u64;
        assert_eq!(kept * 100 + lost, 5000, "every line kept or counted");
        assert_eq!(all.last().map(String::as_str), Some("after"));
    });
}

/// Makes what is below a directory read-only for this thread; what is open for writing stays so.
fn read_only(dir: &Path) {
    mount_bind(dir, dir).expect("bound");
    mount_remount(dir, MountFlags::BIND | MountFlags::RDONLY, c"").expect("read-only");
}

fn writable(dir: &Path) {
    unmount(dir, UnmountFlags::DETACH).expect("unmounted");
}

#[test]
fn a_directory_made_read_only_costs_what_does_not_fit_and_that_is_told() {
    on_a_small_disk(|disk| {
        let dir = disk.join("logs/service");
        let limits = Limits { max_size: 1000, keep: 9 };
        let mut writer = Writer::open(&dir, limits, 1).expect("opened");
        let line = "z".repeat(99) + "\n";
        let mut write = || {
            writer.write(Stream::Stdout, line.as_bytes(), SystemTime::now()).expect("no error");
            writer.lost()
        };
        let mut follow = Follow::new(&dir, Position::START).expect("followed");
        read_only(&disk.join("logs"));
        // The file that is open is written to its end; there can be no next one.
        let lost = std::iter::repeat_with(&mut write).take(25).last().expect("written");
        assert_eq!(lost, 1500, "ten lines fit");
        writable(&disk.join("logs"));
        assert_eq!(write(), 1500, "nothing more is lost");
        let told = "hearth: 1500 bytes lost: file system read-only";
        let all = texts(&Reader::open(&dir).last_lines(usize::MAX).expect("read"));
        assert_eq!(all.len(), 12);
        assert_eq!((all[10].as_str(), all[11].len()), (told, 99));
        assert_eq!(texts(&follow.next().expect("followed")), all, "who follows sees the same");
    });
}

#[test]
fn a_directory_that_is_read_only_from_the_start_keeps_no_life_from_starting() {
    on_a_small_disk(|disk| {
        let logs = disk.join("logs");
        for first in [true, false] {
            // Without a log of the service's yet, and with one.
            let dir = logs.join(if first { "new" } else { "known" });
            drop(Writer::open(logs.join("known"), LIMITS, 1).expect("opened"));
            read_only(&logs);
            let mut writer = Writer::open(&dir, LIMITS, 2).expect("opened");
            writer.write(Stream::Stdout, b"lost\n", SystemTime::now()).expect("no error");
            assert_eq!(writer.lost(), 5);
            writable(&logs);
            writer.write(Stream::Stdout, b"kept\n", SystemTime::now()).expect("no error");
            let lines = Reader::open(&dir).last_lines_of(2, 9).expect("read");
            assert_eq!(texts(&lines), ["hearth: 5 bytes lost: file system read-only", "kept"]);
        }
    });
}
