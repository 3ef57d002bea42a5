//! Random writes, lives, kills and rotations, held against a naive list of lines.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use hearth_logs::{Extent, Follow, Limits, Line, Position, Reader, Stream, Writer};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    Write(Stream, Vec<u8>),
    /// The service ends and is started again.
    NextLife,
    /// The same, but its shim had no time to say so.
    KilledThenNextLife,
    /// As that, and a record was cut off in the middle.
    TornIndexThenNextLife,
    /// Whoever follows looks.
    Look,
}

fn chunk() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => Just(b'\n'), 1 => Just(0xff), 1 => Just(0), 12 => b'a'..=b'z'];
    prop_oneof![
        6 => prop::collection::vec(byte, 0..40),
        2 => prop::collection::vec(b'a'..=b'c', 0..700),
        1 => Just(b"a whole line\nand another\n".repeat(30)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
    prop_oneof![
        20 => (stream, chunk()).prop_map(|(stream, bytes)| Op::Write(stream, bytes)),
        2 => Just(Op::NextLife),
        1 => Just(Op::KilledThenNextLife),
        1 => Just(Op::TornIndexThenNextLife),
        5 => Just(Op::Look),
    ]
}

/// What of a line the naive list knows: life, stream, bytes, whether it is whole, and its second.
type Plain = (u64, Stream, Vec<u8>, bool, u64);

#[derive(Default)]
struct Naive {
    life: u64,
    /// The newest second so far: a clock that steps back is waited for.
    now: u64,
    done: Vec<Plain>,
    /// In the order in which they began; the second is that of the last byte.
    open: Vec<(Stream, Vec<u8>, u64)>,
}

impl Naive {
    fn write(&mut self, stream: Stream, bytes: &[u8], second: u64) {
        if !bytes.is_empty() {
            self.now = self.now.max(second);
        }
        for &byte in bytes {
            let at = self.open.iter().position(|(other, ..)| *other == stream);
            if byte == b'\n' {
                let line = at.map_or(Vec::new(), |at| self.open.remove(at).1);
                self.done.push((self.life, stream, line, true, self.now));
            } else if let Some(at) = at {
                self.open[at].1.push(byte);
                self.open[at].2 = self.now;
            } else {
                self.open.push((stream, vec![byte], self.now));
            }
        }
    }

    fn next_life(&mut self) {
        self.done = self.all();
        self.open.clear();
        self.life += 1;
    }

    fn all(&self) -> Vec<Plain> {
        let open = self.open.iter();
        let open = open.map(|(stream, line, at)| (self.life, *stream, line.clone(), false, *at));
        self.done.iter().cloned().chain(open).collect()
    }
}

fn plain(line: Line) -> Plain {
    let (life, stream) = (line.life.expect("indexed"), line.stream.expect("indexed"));
    let at = line.at.expect("indexed").duration_since(SystemTime::UNIX_EPOCH).expect("after");
    (life, stream, line.bytes, line.terminated, at.as_secs())
}

fn second(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn plains(lines: Vec<Line>) -> Vec<Plain> {
    lines.into_iter().map(plain).collect()
}

fn look(follow: &mut Follow, seen: &mut Vec<Plain>) {
    loop {
        let lines = follow.next().expect("followed");
        if lines.is_empty() {
            return;
        }
        seen.extend(plains(lines));
    }
}

fn tear_index(dir: &std::path::Path) {
    let entries = std::fs::read_dir(dir).expect("listed").map(|entry| entry.expect("entry").path());
    let newest = entries.filter(|path| path.extension().is_some_and(|e| e == "idx")).max();
    let file = std::fs::File::options().append(true).open(newest.expect("an index"));
    std::io::Write::write_all(&mut file.expect("opened"), &[0xee; 7]).expect("torn");
}

fn run(ops: &[Op], limits: Limits, follow_last: usize, follow_since: u64) {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("made/by/the/writer");
    let mut follow = Follow::new(&dir, Position::START).expect("followed");
    let mut seen = Vec::new();
    let mut naive = Naive { life: 1, ..Naive::default() };
    let mut writer = Writer::open(&dir, limits, 1).expect("opened");
    let mut late: Option<(Follow, Vec<Plain>, usize)> = None;
    let mut since: Option<(Follow, Vec<Plain>)> = None;
    for (at, op) in ops.iter().enumerate() {
        // A clock that goes on by 7 s, and back by an hour now and then.
        let now = 4000 + at as u64 * 7 - if at % 9 > 5 { 3600 } else { 0 };
        match op {
            Op::Write(stream, bytes) => {
                writer.write(*stream, bytes, second(now)).expect("written");
                naive.write(*stream, bytes, now);
            }
            Op::NextLife | Op::KilledThenNextLife | Op::TornIndexThenNextLife => {
                match op {
                    Op::KilledThenNextLife => std::mem::forget(writer),
                    Op::TornIndexThenNextLife => {
                        std::mem::forget(writer);
                        tear_index(&dir);
                    }
                    Op::NextLife | Op::Write(..) | Op::Look => drop(writer),
                }
                naive.next_life();
                writer = Writer::open(&dir, limits, naive.life).expect("opened");
            }
            Op::Look => {
                look(&mut follow, &mut seen);
                assert_eq!(seen, naive.done, "followed");
                if late.is_none() {
                    let late_follow = Follow::last(&dir, follow_last).expect("followed");
                    late = Some((late_follow, Vec::new(), naive.done.len()));
                    let extent = Extent { since: Some(second(follow_since)), last: None };
                    since = Some((Follow::after(&dir, extent).expect("followed"), Vec::new()));
                }
            }
        }
        if let Some((follow, seen, _)) = &mut late {
            look(follow, seen);
        }
        if let Some((follow, seen)) = &mut since {
            look(follow, seen);
        }
    }
    check(&dir, &naive);
    if let Some((_, seen)) = since {
        let mut expected = naive.done.clone();
        expected.retain(|line| line.4 >= follow_since);
        assert_eq!(seen, expected, "followed since {follow_since}");
    }
    if let Some((_, seen, before)) = late {
        let expected = &naive.done[before.saturating_sub(follow_last)..];
        assert_eq!(seen, expected, "followed from the last {follow_last}");
    }
    drop(writer);
    look(&mut follow, &mut seen);
    assert_eq!(seen, naive.all(), "followed to the end of the last life");
}

fn check(dir: &std::path::Path, naive: &Naive) {
    let (reader, all) = (Reader::open(dir), naive.all());
    let lines: Result<Vec<Line>, _> = reader.lines_from(Position::START).collect();
    let lines = lines.expect("read");
    assert!(
        lines.iter().filter(|line| line.terminated).is_sorted_by_key(|line| line.at),
        "times never go back"
    );
    assert_eq!(plains(lines), all, "forward");
    for n in [0, 1, 2, 5, all.len(), all.len() + 9] {
        let last = plains(reader.last_lines(n).expect("read"));
        assert_eq!(last, all[all.len().saturating_sub(n)..], "the last {n}");
    }
    let times: BTreeSet<u64> = all.iter().flat_map(|line| [line.4, line.4 + 1]).collect();
    let some = times.len() / 3 + 1;
    for since in times.into_iter().step_by(some) {
        let mut expected = all.clone();
        expected.retain(|line| line.4 >= since);
        for last in [None, Some(3)] {
            let lines = reader.read(Extent { since: Some(second(since)), last }).expect("read");
            let lines = plains(lines.map(|line| line.expect("read")).collect());
            let from = expected.len() - last.unwrap_or(usize::MAX).min(expected.len());
            assert_eq!(lines, expected[from..], "since {since}, last {last:?}");
        }
    }
    assert_eq!(reader.last_life().expect("read"), Some(naive.life));
    for life in 1..=naive.life {
        let of_life = |line: &Plain| line.0 == life;
        let expected: Vec<Plain> = all.iter().filter(|line| of_life(line)).cloned().collect();
        let start = reader.start_of_life(life).expect("read").expect("has begun");
        let lines = reader.lines_from(start).map(|line| plain(line.expect("read")));
        let mut lines: Vec<Plain> = lines.collect();
        assert!(lines.iter().all(|line| line.0 >= life), "nothing older than life {life}");
        lines.retain(of_life);
        assert_eq!(lines, expected, "from the start of life {life}");
        let last = plains(reader.last_lines_of(life, 3).expect("read"));
        assert_eq!(last, expected[expected.len().saturating_sub(3)..], "last of life {life}");
    }
    assert_eq!(reader.start_of_life(naive.life + 1).expect("read"), None);
    assert_eq!(reader.lines_from(reader.end().expect("read")).count(), 0, "nothing after the end");
}

proptest! {
    #[test]
    fn every_line_once_and_in_order(
        ops in prop::collection::vec(op(), 0..60),
        max_size in 256_u64..3000,
        follow_last in 0_usize..6,
        follow_since in 3900_u64..4500,
    ) {
        run(&ops, Limits { max_size, keep: u32::MAX }, follow_last, follow_since);
    }

    #[test]
    fn retention_takes_the_oldest_and_tears_nothing(
        ops in prop::collection::vec(op(), 0..60),
        keep in 0_u32..4,
    ) {
        let home = tempfile::tempdir().expect("a directory");
        let limits = Limits { max_size: 512, keep };
        let mut naive = Naive { life: 1, ..Naive::default() };
        let mut writer = Writer::open(home.path(), limits, 1).expect("opened");
        for op in &ops {
            match op {
                Op::Write(stream, bytes) => {
                    writer.write(*stream, bytes, SystemTime::UNIX_EPOCH).expect("written");
                    naive.write(*stream, bytes, 0);
                }
                Op::NextLife | Op::KilledThenNextLife | Op::TornIndexThenNextLife => {
                    drop(writer);
                    naive.next_life();
                    writer = Writer::open(home.path(), limits, naive.life).expect("opened");
                }
                Op::Look => {}
            }
        }
        let mut files = 0;
        for entry in std::fs::read_dir(home.path()).expect("listed") {
            let size = entry.expect("entry").metadata().expect("size").len();
            prop_assert!(size <= 512, "a file of {size} bytes");
            files += 1;
        }
        prop_assert!(files <= 2 * keep.max(1), "{files} files");
        // What is shown are lines that were written, whole, in their order, up to the last.
        let all = naive.all();
        let mut written = all.iter();
        let lines = Reader::open(home.path()).last_lines(usize::MAX).expect("read");
        for line in plains(lines) {
            prop_assert!(written.any(|other| *other == line), "made up: {line:?}");
        }
    }
}
