//! What comes from pipes by splice(2) is what would have come by reading and writing.
#![cfg(target_os = "linux")]

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::time::SystemTime;

use hearth_logs::{Follow, Limits, Line, Position, Reader, Stream, Writer};

/// Numbered lines of 1 to 300 bytes, and how much of them has gone into the pipe.
struct Source {
    stream: Stream,
    text: Vec<u8>,
    at: usize,
    pipe: (PipeReader, PipeWriter),
}

impl Source {
    fn new(stream: Stream) -> Source {
        let line = |n: usize| format!("{n} {}\n", "x".repeat(n * 7 % 300));
        let text = (0..20_000).map(line).collect::<String>().into_bytes();
        Source { stream, text, at: 0, pipe: std::io::pipe().expect("a pipe") }
    }

    /// Moves some on, by splice as far as that will; how many bytes it took.
    fn step(&mut self, writer: &mut Writer, size: usize) -> usize {
        let piece = &self.text[self.at..self.text.len().min(self.at + size)];
        self.at += piece.len();
        self.pipe.1.write_all(piece).expect("written");
        let now = SystemTime::now();
        let taken = writer.splice(self.stream, self.pipe.0.as_fd(), now);
        let mut rest = vec![0; piece.len() - taken];
        self.pipe.0.read_exact(&mut rest).expect("the rest is there");
        writer.write(self.stream, &rest, now).expect("written");
        taken
    }

    fn check(&self, lines: &[Line]) {
        let mut text = Vec::new();
        for line in lines.iter().filter(|line| line.stream == Some(self.stream)) {
            assert!(line.terminated && line.at.is_some());
            text.extend_from_slice(&line.bytes);
            text.push(b'\n');
        }
        assert!(
            text == self.text,
            "{:?}: {} of {} bytes",
            self.stream,
            text.len(),
            self.text.len()
        );
    }
}

#[test]
fn pieces_of_two_streams_across_files_come_out_as_they_went_in() {
    let home = tempfile::tempdir().expect("a directory");
    let limits = Limits { max_size: 300_000, keep: u32::MAX };
    let mut writer = Writer::open(home.path(), limits, 1).expect("opened");
    let mut follow = Follow::new(home.path(), Position::START).expect("followed");
    let mut sources = [Source::new(Stream::Stdout), Source::new(Stream::Stderr)];
    let (mut seed, mut spliced, mut seen) = (1_u64, 0, Vec::new());
    while sources.iter().any(|source| source.at < source.text.len()) {
        for source in &mut sources {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            spliced += source.step(&mut writer, usize::try_from(seed >> 48).expect("16 bits"));
        }
        seen.extend(follow.next().expect("followed"));
    }
    let all = sources.iter().map(|source| source.text.len()).sum::<usize>();
    assert!(spliced > all / 2, "{spliced} of {all} bytes spliced");
    while seen.len() < 40_000 {
        let more = follow.next().expect("followed");
        assert!(!more.is_empty(), "{} lines", seen.len());
        seen.extend(more);
    }
    let lines = Reader::open(home.path()).last_lines(usize::MAX).expect("read");
    assert_eq!(lines, seen);
    sources.iter().for_each(|source| source.check(&lines));
    for entry in std::fs::read_dir(home.path()).expect("listed") {
        assert!(entry.expect("entry").metadata().expect("size").len() <= 300_000);
    }
}
