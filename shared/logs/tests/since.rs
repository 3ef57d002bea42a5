//! What is since a time: a clock that steps, bytes without an index, a log of many files.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hearth_logs::{Extent, Follow, Limits, Line, Reader, Stream, Writer};

const LIMITS: Limits = Limits { max_size: 1 << 20, keep: 3 };

fn second(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn say(writer: &mut Writer, text: &str, at: u64) {
    writer.write(Stream::Stdout, text.as_bytes(), second(at)).expect("written");
}

fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| std::str::from_utf8(&line.bytes).expect("text")).collect()
}

/// What is read and what is followed, which must be the same, joined.
fn since(dir: &Path, at: u64) -> String {
    let extent = Extent { since: Some(second(at)), last: None };
    let lines = Reader::open(dir).read(extent).expect("read");
    let lines: Vec<Line> = lines.map(|line| line.expect("read")).collect();
    let mut follow = Follow::after(dir, extent).expect("followed");
    assert_eq!(follow.next().expect("followed"), lines, "followed since {at}");
    texts(&lines).join(" ")
}

#[test]
fn a_clock_set_back_by_an_hour_and_forth_hides_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let mut writer = Writer::open(home.path(), LIMITS, 1).expect("opened");
    say(&mut writer, "a\n", 10_000);
    say(&mut writer, "b\n", 10_010);
    // An hour back: the log's time stands still.
    say(&mut writer, "c\n", 6_420);
    drop(writer);
    // Nor does a new life know better.
    let mut writer = Writer::open(home.path(), LIMITS, 2).expect("opened");
    say(&mut writer, "d\n", 6_430);
    // And forth again.
    say(&mut writer, "e\n", 10_050);
    assert_eq!(since(home.path(), 0), "a b c d e");
    assert_eq!(since(home.path(), 6_425), "a b c d e", "more than asked for, never less");
    assert_eq!(since(home.path(), 10_005), "b c d e");
    assert_eq!(since(home.path(), 10_010), "b c d e");
    assert_eq!(since(home.path(), 10_011), "e");
    assert_eq!(since(home.path(), 10_051), "");
}

#[test]
fn bytes_without_an_index_are_since_unless_what_stands_behind_them_is_older() {
    let home = tempfile::tempdir().expect("a directory");
    let append = |text: &str| {
        let file = std::fs::File::options().append(true).open(home.path().join("000000000001.log"));
        file.expect("opened").write_all(text.as_bytes()).expect("written");
    };
    let mut writer = Writer::open(home.path(), LIMITS, 1).expect("opened");
    say(&mut writer, "a\n", 100);
    drop(writer);
    append("unknown1\nunknown2\n");
    assert_eq!(since(home.path(), 100), "a unknown1 unknown2");
    assert_eq!(since(home.path(), 101), "unknown1 unknown2", "nothing says that they are older");
    let mut writer = Writer::open(home.path(), LIMITS, 2).expect("opened");
    say(&mut writer, "b\n", 200);
    // The life began at 100, as far as its index tells, and what is unknown stands before that.
    assert_eq!(since(home.path(), 101), "b");
    say(&mut writer, "c", 300);
    say(&mut writer, "d\n", 400);
    assert_eq!(since(home.path(), 201), "cd", "a line is as old as its last bytes, and whole");
    std::fs::remove_file(home.path().join("000000000001.idx")).expect("removed");
    assert_eq!(since(home.path(), 999), "a unknown1 unknown2 b cd", "nothing is known at all");
}

#[test]
fn the_last_of_those_since_and_what_comes_after() {
    let home = tempfile::tempdir().expect("a directory");
    let limits = Limits { max_size: 300, keep: u32::MAX };
    let mut writer = Writer::open(home.path(), limits, 1).expect("opened");
    for at in 1..=100 {
        say(&mut writer, &format!("line {at}\n"), at);
    }
    let ask = |at, last| Extent { since: Some(second(at)), last: Some(last) };
    let read = |extent| {
        let lines = Reader::open(home.path()).read(extent).expect("read");
        lines.map(|line| line.expect("read")).collect::<Vec<_>>()
    };
    assert_eq!(texts(&read(ask(99, 5))), ["line 99", "line 100"]);
    assert_eq!(texts(&read(ask(50, 2))), ["line 99", "line 100"]);
    let mut follow = Follow::after(home.path(), ask(99, 5)).expect("followed");
    let mut later = Follow::after(home.path(), ask(102, 5)).expect("followed");
    assert_eq!(texts(&follow.next().expect("followed")), ["line 99", "line 100"]);
    assert!(later.next().expect("followed").is_empty());
    for at in 101..=102 {
        say(&mut writer, &format!("line {at}\n"), at);
    }
    assert_eq!(texts(&follow.next().expect("followed")), ["line 101", "line 102"]);
    assert_eq!(texts(&later.next().expect("followed")), ["line 102"], "a time yet to come");
}

#[test]
fn a_log_that_is_not_there_has_nothing_since_ever() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("no/such");
    let extent = Extent { since: Some(second(5)), last: None };
    assert_eq!(Reader::open(&dir).read(extent).expect("read").count(), 0);
    let mut follow = Follow::after(&dir, extent).expect("followed");
    let mut writer = Writer::open(&dir, LIMITS, 1).expect("opened");
    say(&mut writer, "old\n", 4);
    say(&mut writer, "new\n", 5);
    assert_eq!(texts(&follow.next().expect("followed")), ["new"]);
}
