//! Following while somebody writes, removes, or has not begun.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use hearth_logs::{Follow, Limits, Line, Position, Reader, Stream, Writer};

const LIMITS: Limits = Limits { max_size: 1 << 20, keep: 3 };

/// Everything that comes until `done` says so; a log that stays silent for 20 s has failed.
fn until(follow: &mut Follow, mut done: impl FnMut(&[Line]) -> bool) -> Vec<Line> {
    let mut seen = Vec::new();
    loop {
        let lines = follow.next().expect("followed");
        let more = !lines.is_empty();
        seen.extend(lines);
        if done(&seen) {
            return seen;
        }
        if !more {
            let woken = follow.wait(Some(Duration::from_secs(20))).expect("waited");
            assert!(woken, "not woken; seen {} lines", seen.len());
        }
    }
}

fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| std::str::from_utf8(&line.bytes).expect("text")).collect()
}

fn write(writer: &mut Writer, text: &str) {
    writer.write(Stream::Stdout, text.as_bytes(), SystemTime::now()).expect("written");
}

#[test]
fn across_rotations_and_lives_while_a_thread_writes_in_odd_pieces() {
    const LINES: usize = 20_000;
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("service");
    let mut follow = Follow::new(&dir, Position::START).expect("followed");
    let thread = std::thread::spawn({
        let dir = dir.clone();
        move || {
            let limits = Limits { max_size: 20_000, keep: u32::MAX };
            let mut number = 0;
            for life in 1..=4 {
                let mut writer = Writer::open(&dir, limits, life).expect("opened");
                for _ in 0..LINES / 4 {
                    let (out, err) = (format!("out {number}\n"), format!("err {number}\n"));
                    let (out, err) = (out.as_bytes(), err.as_bytes());
                    let now = SystemTime::now();
                    // Each stream's line in the middle of the other's.
                    writer.write(Stream::Stdout, &out[..3], now).expect("written");
                    writer.write(Stream::Stderr, &err[..2], now).expect("written");
                    writer.write(Stream::Stdout, &out[3..], now).expect("written");
                    writer.write(Stream::Stderr, &err[2..], now).expect("written");
                    number += 1;
                }
                assert_eq!(writer.lost(), 0);
            }
        }
    });
    let lines = until(&mut follow, |seen| seen.len() >= 2 * LINES);
    thread.join().expect("written");
    assert!(follow.next().expect("followed").is_empty(), "nothing more");
    assert!(!follow.wait(Some(Duration::ZERO)).expect("waited"), "nothing wakes in vain");
    let mut next: HashMap<&str, usize> = HashMap::new();
    for text in texts(&lines) {
        let (stream, number) = text.split_once(' ').expect("whole");
        let expected = next.entry(stream).or_default();
        assert_eq!(number, expected.to_string(), "{stream}");
        *expected += 1;
    }
    assert!(lines.iter().all(|line| line.terminated && line.at.is_some() && line.stream.is_some()));
    assert!(std::fs::read_dir(&dir).expect("listed").count() > 20, "it did rotate");
}

#[test]
fn a_slow_follower_keeps_the_file_that_retention_removes() {
    let home = tempfile::tempdir().expect("a directory");
    let limits = Limits { max_size: 1000, keep: 2 };
    let mut writer = Writer::open(home.path(), limits, 1).expect("opened");
    write(&mut writer, "first\n");
    let mut follow = Follow::new(home.path(), Position::START).expect("followed");
    assert_eq!(texts(&follow.next().expect("followed")), ["first"]);
    write(&mut writer, "second\n");
    for number in 0..200 {
        write(&mut writer, &format!("line {number}\n"));
    }
    let lines = until(&mut follow, |seen| texts(seen).last() == Some(&"line 199"));
    assert_eq!(texts(&lines)[0], "second");
}

#[test]
fn a_log_that_is_yet_to_come() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("logs/project/service");
    let mut follow = Follow::of_life(&dir, 7).expect("followed");
    assert!(follow.next().expect("followed").is_empty());
    let thread = std::thread::spawn(move || {
        let mut writer = Writer::open(&dir, LIMITS, 6).expect("opened");
        write(&mut writer, "of the life before\n");
        drop(writer);
        let mut writer = Writer::open(&dir, LIMITS, 7).expect("opened");
        write(&mut writer, "ready");
        write(&mut writer, " now\n");
        write(&mut writer, "cut off");
    });
    // The last comes when the life's writer is dropped.
    let lines = until(&mut follow, |seen| seen.len() == 2);
    thread.join().expect("written");
    assert_eq!(texts(&lines), ["ready now", "cut off"]);
    assert_eq!((lines[0].terminated, lines[1].terminated), (true, false));
}

#[test]
fn a_removed_directory_is_made_again_and_followed() {
    let home = tempfile::tempdir().expect("a directory");
    let logs = home.path().join("logs");
    let dir = logs.join("project/service");
    let mut writer = Writer::open(&dir, LIMITS, 1).expect("opened");
    let mut follow = Follow::new(&dir, Position::START).expect("followed");
    write(&mut writer, "before\n");
    assert_eq!(texts(&until(&mut follow, |seen| !seen.is_empty())), ["before"]);
    for round in ["once", "twice"] {
        std::fs::remove_dir_all(&logs).expect("removed");
        assert!(follow.next().expect("followed").is_empty());
        write(&mut writer, &format!("{round}\n"));
        assert_eq!(texts(&until(&mut follow, |seen| !seen.is_empty())), [round]);
    }
    drop(writer);
    // And with a next life, whose numbers begin anew.
    std::fs::remove_dir_all(&logs).expect("removed");
    let mut writer = Writer::open(&dir, LIMITS, 2).expect("opened");
    write(&mut writer, "next life\n");
    assert_eq!(texts(&until(&mut follow, |seen| !seen.is_empty())), ["next life"]);
}

#[test]
fn a_line_that_stays_open_while_the_other_stream_talks_is_whole_in_the_end() {
    let home = tempfile::tempdir().expect("a directory");
    let limits = Limits { max_size: 5000, keep: u32::MAX };
    let mut writer = Writer::open(home.path(), limits, 1).expect("opened");
    write(&mut writer, "Loading");
    for number in 0..5000 {
        let line = format!("warning {number}\n");
        writer.write(Stream::Stderr, line.as_bytes(), SystemTime::now()).expect("written");
    }
    let mut follow = Follow::last(home.path(), 1).expect("followed");
    assert_eq!(texts(&follow.next().expect("followed")), ["warning 4999"]);
    let reader = Reader::open(home.path());
    assert_eq!(texts(&reader.last_lines(2).expect("read")), ["warning 4999", "Loading"]);
    write(&mut writer, "... done\n");
    assert_eq!(texts(&follow.next().expect("followed")), ["Loading... done"]);
    assert_eq!(texts(&reader.last_lines(1).expect("read")), ["Loading... done"]);
}

#[test]
fn a_log_file_emptied_by_somebody_costs_only_what_was_in_it() {
    let home = tempfile::tempdir().expect("a directory");
    let mut writer = Writer::open(home.path(), LIMITS, 1).expect("opened");
    write(&mut writer, "old\n");
    let file = home.path().join("000000000001.log");
    std::fs::File::create(file).expect("emptied");
    write(&mut writer, "new\n");
    let lines = Reader::open(home.path()).last_lines(9).expect("read");
    assert_eq!(texts(&lines), ["new"]);
}

#[test]
fn bytes_without_an_index_are_lines_of_an_unknown_time() {
    let home = tempfile::tempdir().expect("a directory");
    let mut writer = Writer::open(home.path(), LIMITS, 1).expect("opened");
    write(&mut writer, "one\n");
    drop(writer);
    let append = |text: &str| {
        let file = std::fs::File::options().append(true).open(home.path().join("000000000001.log"));
        std::io::Write::write_all(&mut file.expect("opened"), text.as_bytes()).expect("written");
    };
    append("not indexed\n");
    let mut writer = Writer::open(home.path(), LIMITS, 2).expect("opened");
    write(&mut writer, "two\n");
    let reader = Reader::open(home.path());
    let lines = reader.last_lines(9).expect("read");
    assert_eq!(texts(&lines), ["one", "not indexed", "two"]);
    let known: Vec<bool> = lines.iter().map(|line| line.at.is_some()).collect();
    assert_eq!(known, [true, false, true]);
    std::fs::remove_file(home.path().join("000000000001.idx")).expect("removed");
    let lines = reader.last_lines(2).expect("read");
    assert_eq!(texts(&lines), ["not indexed", "two"]);
    assert!(lines.iter().all(|line| line.at.is_none() && line.life.is_none()));
}

#[test]
fn an_endless_line_comes_in_pieces() {
    let home = tempfile::tempdir().expect("a directory");
    let limits = Limits { max_size: 700_000, keep: u32::MAX };
    let mut writer = Writer::open(home.path(), limits, 1).expect("opened");
    let mut follow = Follow::new(home.path(), Position::START).expect("followed");
    let long = "x".repeat(2 * hearth_logs::MAX_LINE);
    for piece in long.as_bytes().chunks(60_000) {
        writer.write(Stream::Stdout, piece, SystemTime::now()).expect("written");
    }
    write(&mut writer, "end\nnext\n");
    let sizes = |lines: &[Line]| {
        let sizes = lines.iter().map(|line| (line.bytes.len(), line.terminated));
        sizes.collect::<Vec<_>>()
    };
    let max = hearth_logs::MAX_LINE;
    let expected = [(max, false), (max, false), (3, true), (4, true)];
    assert_eq!(sizes(&until(&mut follow, |seen| seen.len() == 4)), expected);
    let reader = Reader::open(home.path());
    assert_eq!(sizes(&reader.last_lines(3).expect("read")), expected[1..]);
}

#[test]
fn since_a_time_across_files() {
    let home = tempfile::tempdir().expect("a directory");
    let limits = Limits { max_size: 256, keep: u32::MAX };
    let mut writer = Writer::open(home.path(), limits, 1).expect("opened");
    let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    for second in 1..=100_u64 {
        let line = format!("line {second}\n");
        writer.write(Stream::Stdout, line.as_bytes(), time(second)).expect("written");
    }
    let reader = Reader::open(home.path());
    for second in 1..=101 {
        let lines = reader.lines_since(time(second)).expect("read");
        let lines: Vec<Line> = lines.collect::<Result<_, _>>().expect("read");
        assert_eq!(lines.len() as u64, 101 - second, "since {second}");
    }
}
