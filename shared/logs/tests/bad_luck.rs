//! What others do to a log, and lives without end.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use hearth_logs::{Follow, Limits, Line, Position, Reader, Stream, Writer, note};

const LIMITS: Limits = Limits { max_size: 1 << 20, keep: 3 };

fn say(writer: &mut Writer, text: &str) {
    writer.write(Stream::Stdout, text.as_bytes(), SystemTime::now()).expect("written");
}

fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| std::str::from_utf8(&line.bytes).expect("text")).collect()
}

/// What comes next; a log that stays silent for 20 s has failed.
fn next(follow: &mut Follow) -> Vec<Line> {
    loop {
        let lines = follow.next().expect("followed");
        if !lines.is_empty() {
            return lines;
        }
        let woken = follow.wait(Some(Duration::from_secs(20))).expect("waited");
        assert!(woken, "not woken");
    }
}

fn size(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("listed");
    entries.map(|entry| entry.expect("entry").metadata().expect("size").len()).sum()
}

#[test]
fn ten_thousand_lives_without_a_byte_stay_within_the_limits() {
    const LIVES: u64 = 10_000;
    let home = tempfile::tempdir().expect("a directory");
    let limits = Limits { max_size: 8192, keep: 3 };
    let mut follow = Follow::new(home.path(), Position::START).expect("followed");
    for life in 1..=LIVES {
        drop(Writer::open(home.path(), limits, life).expect("opened"));
        if life % 1000 == 0 {
            assert!(follow.next().expect("followed").is_empty());
            assert!(size(home.path()) <= 3 * 8192, "{} bytes", size(home.path()));
            assert!(std::fs::read_dir(home.path()).expect("listed").count() <= 6);
        }
    }
    let mut writer = Writer::open(home.path(), limits, LIVES + 1).expect("opened");
    say(&mut writer, "at last\n");
    drop(writer);
    let reader = Reader::open(home.path());
    assert_eq!(reader.last_life().expect("read"), Some(LIVES + 1));
    assert_eq!(texts(&reader.last_lines(9).expect("read")), ["at last"]);
    assert_eq!(texts(&reader.last_lines_of(LIVES + 1, 9).expect("read")), ["at last"]);
    assert!(reader.last_lines_of(LIVES, 9).expect("read").is_empty());
    assert!(reader.start_of_life(LIVES).expect("read").is_some());
    assert_eq!(reader.start_of_life(1).expect("read"), None, "long gone");
    assert_eq!(texts(&next(&mut follow)), ["at last"]);
}

#[test]
fn a_crash_loop_that_says_one_line_a_life_keeps_the_newest_in_order() {
    let home = tempfile::tempdir().expect("a directory");
    let limits = Limits { max_size: 4096, keep: 2 };
    for life in 1..=10_000 {
        let mut writer = Writer::open(home.path(), limits, life).expect("opened");
        say(&mut writer, &format!("life {life}\n"));
    }
    assert!(size(home.path()) <= 4 * 4096, "{} bytes", size(home.path()));
    let lines = Reader::open(home.path()).last_lines(usize::MAX).expect("read");
    assert!(lines.len() > 40, "{} lines", lines.len());
    let first = 10_001 - lines.len() as u64;
    for (line, life) in lines.iter().zip(first..) {
        assert_eq!(
            (line.life, line.bytes.as_slice()),
            (Some(life), format!("life {life}").as_bytes())
        );
    }
}

#[test]
fn a_note_ends_what_the_killed_writer_left_open_and_is_a_line_of_its_own() {
    let home = tempfile::tempdir().expect("a directory");
    let mut follow = Follow::of_life(home.path(), 3).expect("followed");
    let mut writer = Writer::open(home.path(), LIMITS, 3).expect("opened");
    say(&mut writer, "whole\nopen");
    writer.write(Stream::Stderr, b"open too", SystemTime::now()).expect("written");
    assert_eq!(texts(&next(&mut follow)), ["whole"]);
    // SIGKILL: it says nothing.
    std::mem::forget(writer);
    note(home.path(), LIMITS, 3, "the shim of life 3 was killed\n").expect("noted");
    note(home.path(), LIMITS, 3, "hearth: twice").expect("noted");
    let mut writer = Writer::open(home.path(), LIMITS, 4).expect("opened");
    say(&mut writer, "next life\n");
    let told = "hearth: the shim of life 3 was killed ";
    let wanted = ["whole", "open", "open too", told, "hearth: twice", "next life"];
    let lines = Reader::open(home.path()).last_lines(9).expect("read");
    assert_eq!(texts(&lines), wanted);
    assert_eq!(texts(&next(&mut follow)), wanted[1..5], "who follows the life sees it too");
    let facts: Vec<_> =
        lines.iter().map(|line| (line.life, line.stream, line.terminated)).collect();
    assert_eq!(facts[1], (Some(3), Some(Stream::Stdout), false));
    assert_eq!(facts[3], (Some(3), Some(Stream::Stderr), true));
    assert_eq!(facts[5].0, Some(4));
    assert!(lines[3].at.is_some());
}

#[test]
fn a_note_into_a_log_that_is_not_there_or_full_and_of_any_length() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("removed/meanwhile");
    let limits = Limits { max_size: 256, keep: 2 };
    note(&dir, limits, 7, "é".repeat(300).as_str()).expect("noted");
    note(&dir, limits, 7, "and more").expect("noted");
    let lines = Reader::open(&dir).last_lines(9).expect("read");
    assert_eq!(lines.len(), 2);
    assert!(lines[0].bytes.len() > 240 && lines[0].bytes.starts_with(b"hearth: \xc3\xa9"));
    assert_eq!(texts(&lines)[1], "hearth: and more");
    for entry in std::fs::read_dir(&dir).expect("listed") {
        assert!(entry.expect("entry").metadata().expect("size").len() <= 256);
    }
}

#[test]
fn a_directory_made_anew_by_later_lives_is_read_from_its_beginning() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("logs/service");
    let limits = Limits { max_size: 256, keep: u32::MAX };
    let mut writer = Writer::open(&dir, limits, 1).expect("opened");
    for _ in 0..50 {
        say(&mut writer, "of the first life\n");
    }
    drop(writer);
    let mut follow = Follow::new(&dir, Position::START).expect("followed");
    assert_eq!(next(&mut follow).len(), 50);
    let moved = home.path().join("moved");
    for (life, gone) in [(2, true), (3, false)] {
        // Removed, and moved away: numbers begin anew, and pass the one that the reader was in.
        match gone {
            true => std::fs::remove_dir_all(home.path().join("logs")).expect("removed"),
            false => std::fs::rename(home.path().join("logs"), &moved).expect("moved"),
        }
        let mut writer = Writer::open(&dir, limits, life).expect("opened");
        let wanted: Vec<String> = (0..100).map(|n| format!("{n} of life {life}")).collect();
        for line in &wanted {
            say(&mut writer, &format!("{line}\n"));
        }
        assert_eq!(texts(&next(&mut follow)), wanted);
    }
}

#[test]
fn a_writer_notices_that_its_directory_was_moved_away() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("logs/service");
    let mut writer = Writer::open(&dir, LIMITS, 1).expect("opened");
    say(&mut writer, "before\n");
    std::fs::rename(home.path().join("logs"), home.path().join("old")).expect("moved");
    say(&mut writer, "after\n");
    let lines = |dir: &Path| Reader::open(dir).last_lines(9).expect("read");
    assert_eq!(texts(&lines(&dir)), ["after"]);
    assert_eq!(texts(&lines(&home.path().join("old/service"))), ["before"]);
}

/// Lines that were written, whole, each once and in order, though some may be missing: what every
/// reader may count on, whatever retention takes.
fn check(lines: &[Line], last: &mut u64) {
    for line in lines {
        let text = std::str::from_utf8(&line.bytes).expect("text");
        // Its rest was not there yet, or was taken first.
        if (text, line.terminated) == ("line", false) {
            continue;
        }
        let number = text.strip_prefix("line ").and_then(|n| n.parse::<u64>().ok());
        let number = number.unwrap_or_else(|| panic!("torn or made up: {text:?}"));
        assert!(number > *last, "{number} after {last}");
        assert!(line.terminated && line.stream.is_some() && line.life == Some(1), "{line:?}");
        *last = number;
    }
}

#[test]
fn readers_while_rotation_and_retention_take_the_files_from_under_them() {
    const LINES: u64 = 60_000;
    let home = tempfile::tempdir().expect("a directory");
    let limits = Limits { max_size: 600, keep: 2 };
    let mut writer = Writer::open(home.path(), limits, 1).expect("opened");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let read = scope.spawn(|| {
            let reader = Reader::open(home.path());
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                for n in [1, 20, usize::MAX] {
                    check(&reader.last_lines(n).expect("read"), &mut 0);
                }
                let all: Result<Vec<Line>, _> = reader.lines_from(Position::START).collect();
                check(&all.expect("read"), &mut 0);
                let since = SystemTime::now() - Duration::from_millis(1);
                let new: Result<Vec<Line>, _> = reader.lines_since(since).expect("read").collect();
                check(&new.expect("read"), &mut 0);
                rounds += 1;
            }
            rounds
        });
        let followed = scope.spawn(|| {
            let mut follow = Follow::new(home.path(), Position::START).expect("followed");
            let mut last = 0;
            while last < LINES {
                check(&next(&mut follow), &mut last);
            }
        });
        for number in (1..=LINES).step_by(2) {
            let (out, err) = (format!("line {number}\n"), format!("line {}\n", number + 1));
            say(&mut writer, &out[..4]);
            say(&mut writer, &out[4..]);
            writer.write(Stream::Stderr, err.as_bytes(), SystemTime::now()).expect("written");
        }
        followed.join().expect("followed");
        done.store(true, Ordering::Relaxed);
        assert!(read.join().expect("read") > 0);
    });
}
