//! What the benchmarks have written: `lines BYTES` writes so many bytes to stdout in lines of 100
//! bytes, in blocks as stdio does.

use std::io::{self, Write};

const BLOCK: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let wanted = std::env::args().nth(1).and_then(|text| text.parse::<usize>().ok());
    let mut left = wanted.ok_or(io::ErrorKind::InvalidInput)?;
    let mut text = Vec::with_capacity(BLOCK + 100);
    let mut stdout = io::stdout().lock();
    let mut number = 0_u64;
    while left > 0 {
        while text.len() < BLOCK.min(left) {
            writeln!(text, "{number:099}")?;
            number += 1;
        }
        let block = BLOCK.min(left);
        // Through no buffer but this one.
        let written = rustix::io::write(&stdout, &text[..block])?;
        text.drain(..written);
        left -= written;
    }
    stdout.flush()
}
