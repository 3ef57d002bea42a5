//! A service for the benchmarks that says when it runs, and then sleeps.
//!
//! `begins [--to FILE]`: `READY=1` to `NOTIFY_SOCKET`, where there is one; a line to FILE, else to
//! stdout: the nanoseconds of CLOCK_MONOTONIC, which all processes share, and its pid. Other arguments
//! are passed over, since s6 gives some.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::net::UnixDatagram;

use rustix::time::{ClockId, clock_gettime};

fn main() {
    let now = clock_gettime(ClockId::Monotonic);
    let line = format!("{} {}\n", now.tv_sec * 1_000_000_000 + now.tv_nsec, std::process::id());
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET") {
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.send_to(b"READY=1", path).expect("somebody listens");
    }
    let mut arguments = std::env::args_os().skip_while(|argument| argument != "--to");
    match arguments.nth(1) {
        Some(path) => {
            let mut file = OpenOptions::new().write(true).open(path).expect("it can be opened");
            file.write_all(line.as_bytes()).expect("it can be written to");
        }
        None => print!("{line}"),
    }
    loop {
        std::thread::park();
    }
}
