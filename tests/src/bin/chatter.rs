//! A service for tests that keeps books on itself: what it has written, and that there is one of it.
//!
//! `chatter NAME DIR [OPTION...]`: takes `DIR/NAME.lock` (a second copy notes itself in
//! `DIR/violations`), writes numbered lines, and notes in `DIR/NAME.PID-START.run` how many of them
//! the kernel has taken. So a test can tell of every line whether it has to be in the log.
//!
//! `--quiet`: the first line alone; `--die-after N`: ends with code 3 after so many lines;
//! `--ignore-term`: SIGTERM does nothing; `--fork`: has a child in a session of its own, which takes
//! `DIR/NAME.child.lock` likewise; `--burst N`: so many lines at once, then a pause.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::time::Duration;

use hearth_process::ProcessId;

/// Between two bursts.
const PAUSE: Duration = Duration::from_millis(5);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let number = |option: &str| {
        let at = arguments.iter().position(|argument| argument == option)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let [_, name, dir, ..] = arguments.as_slice() else {
        eprintln!("usage: chatter NAME DIR [OPTION...]");
        exit(2);
    };
    let dir = PathBuf::from(dir);
    let _lock = only_one(&dir, name);
    if has("--child") {
        loop {
            std::thread::park();
        }
    }
    if has("--ignore-term") {
        // SAFETY: an ignored signal runs no code.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    }
    let run = run_name(name);
    let books = File::create(dir.join(format!("{run}.run"))).expect("the books can be opened");
    say(&mut io::stdout(), &format!("begin {run}\n"));
    if has("--fork") {
        fork(&arguments[0], name, &dir);
    }
    if has("--quiet") {
        loop {
            std::thread::park();
        }
    }
    talk(&books, number("--burst").unwrap_or(1), number("--die-after"));
    exit(3);
}

/// Unique, and known to whoever sees the process.
fn run_name(name: &str) -> String {
    let start = ProcessId::current().start.map_or(0, |start| start.as_raw());
    format!("{name}.{}-{start}", std::process::id())
}

/// Holds the lock of this name, or tells that there are two.
fn only_one(dir: &Path, name: &str) -> File {
    let path = dir.join(format!("{name}.lock"));
    let lock = OpenOptions::new().create(true).append(true).open(path).expect("a lock");
    if lock.try_lock().is_err() {
        let noted = OpenOptions::new().create(true).append(true).open(dir.join("violations"));
        let line = format!("a second {name}: {}\n", std::process::id());
        noted.and_then(|mut file| file.write_all(line.as_bytes())).expect("it can be noted");
        exit(99);
    }
    lock
}

fn fork(program: &str, name: &str, dir: &Path) {
    let mut command = Command::new(program);
    command.arg(format!("{name}.child")).arg(dir).arg("--child");
    // SAFETY: one system call between fork and exec.
    unsafe { command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?)) };
    // Whose end nobody here waits for: it is to end with the tree.
    let child = command.spawn().expect("a child");
    std::mem::forget(child);
}

/// Numbered lines on both outputs, each noted once the kernel has it.
fn talk(books: &File, burst: u64, last: Option<u64>) {
    let mut errors = 0u64;
    for n in 1u64.. {
        say(&mut io::stdout(), &format!("o {n}\n"));
        books.write_all_at(&n.to_le_bytes(), 0).expect("the books can be kept");
        if n % 7 == 0 {
            errors += 1;
            say(&mut io::stderr(), &format!("e {errors}\n"));
            books.write_all_at(&errors.to_le_bytes(), 8).expect("the books can be kept");
        }
        if last == Some(n) {
            return;
        }
        if n % burst == 0 {
            std::thread::sleep(PAUSE);
        }
    }
}

/// One line in one write: it is taken as a whole or not at all (pipe(7)).
fn say(to: &mut impl Write, line: &str) {
    if to.write_all(line.as_bytes()).and_then(|()| to.flush()).is_err() {
        // Nobody reads any more: the shim was killed.
        exit(4);
    }
}
