//! What the benchmarks have written: `lines BYTES` writes so many bytes to stdout in lines of 100
//! bytes, whole lines at a time, as many as stdio would.

use std::io;

/// Lines in one write.
const LINES: usize = 655;

fn main() -> io::Result<()> {
    let wanted = std::env::args().nth(1).and_then(|text| text.parse::<usize>().ok());
    let mut left = wanted.ok_or(io::ErrorKind::InvalidInput)?;
    let text = (0..LINES).map(|number| format!("{number:099}\n")).collect::<String>().into_bytes();
    while left > 0 {
        let mut block = &text[..text.len().min(left)];
        left -= block.len();
        while !block.is_empty() {
            block = &block[rustix::io::write(rustix::stdio::stdout(), block)?..];
        }
    }
    Ok(())
}
