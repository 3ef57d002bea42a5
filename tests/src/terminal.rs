//! A terminal of a test's own: what a person would see of a verb, line by line.
//!
//! Invariant: a pseudo-terminal (pty(7)) that is the controlling one of the verb, so that it finds a
//! terminal, and Ctrl-C is typed and not sent. What stands on the screen is worked out from the few
//! sequences that hearth writes; one that it should not write fails the test.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::FdFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::verb::PATIENCE;

/// A verb on a terminal.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    screen: Screen,
}

impl Terminal {
    /// Starts a command on a terminal of so many columns and rows. The command is given away: it holds
    /// the verb's end of the terminal open.
    pub fn start(mut command: Command, width: u16, height: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        // At once: a fork of another test's would keep the terminal from being closed.
        #[cfg(target_os = "linux")]
        let flags = flags | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a terminal can be had");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let name = Path::new(OsStr::from_bytes(name.to_bytes()));
        rustix::io::fcntl_setfd(&master, FdFlags::CLOEXEC).expect("it is open");
        tcsetwinsize(&master, size(width, height)).expect("it has a size");
        let flags = OFlags::NOCTTY.bits().cast_signed();
        let slave = OpenOptions::new().read(true).write(true).custom_flags(flags).open(name);
        let slave = OwnedFd::from(slave.expect("its other end"));
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
        // SAFETY: setsid(2) and ioctl(2) are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                Ok(rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?)
            });
        }
        let child = command.spawn().expect("hearth runs");
        let screen = Screen::new(width.into(), height.into());
        Self { master: File::from(master), child, screen }
    }

    /// The same for a program that draws as it likes: only [`Terminal::written`] tells of it.
    pub fn of_shell(command: Command, width: u16, height: u16) -> Self {
        let mut terminal = Self::start(command, width, height);
        terminal.screen.unread = true;
        terminal
    }

    /// Takes the terminal away, as who closes its window does, and waits for the end of what was started
    /// on it.
    pub fn close(mut self) {
        // Its end of the terminal is the only one here.
        let nothing = File::open("/dev/null").expect("it is there");
        drop(std::mem::replace(&mut self.master, nothing));
        self.child.wait().expect("it can be waited for");
    }

    /// Types Ctrl-C.
    pub fn interrupt(&mut self) {
        self.types("\x03");
    }

    /// Types this.
    pub fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("it can be typed on");
    }

    /// The process that was started on it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Another size. What stands on it is cut, as xterm does.
    pub fn resize(&mut self, width: u16, height: u16) {
        tcsetwinsize(&self.master, size(width, height)).expect("it has a size");
        self.screen.width = width.into();
    }

    /// What stands on it: its lines, without what is empty at their ends.
    pub fn text(&self) -> String {
        self.screen.text()
    }

    /// All that was written to it, colours and all.
    pub fn written(&self) -> &str {
        &self.screen.written
    }

    /// Reads until what stands on it is what `is_it` wants.
    #[track_caller]
    pub fn until(&mut self, is_it: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if is_it(&text) {
                return text;
            }
            assert!(self.more(deadline), "it never came to it:\n{text}");
        }
    }

    /// Reads until all that was written is what `is_it` wants.
    #[track_caller]
    pub fn until_written(&mut self, is_it: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_it(self.written()) {
            assert!(self.more(deadline), "it never came to it:\n{}", self.written());
        }
    }

    /// Waits for the end: all that was written.
    #[track_caller]
    pub fn finish_written(mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        while self.more(deadline) {}
        self.child.wait().expect("it can be waited for");
        self.written().to_owned()
    }

    /// Waits for the verb's end: its exit code, and what stands on the terminal.
    #[track_caller]
    pub fn finish(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        while self.more(deadline) {}
        let status = self.child.wait().expect("it can be waited for");
        (status.code(), self.text())
    }

    #[track_caller]
    fn more(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a short time");
        let ready = poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&left));
        if ready == Ok(0) {
            let _ = self.child.kill();
            let text = if self.screen.unread { self.written().to_owned() } else { self.text() };
            panic!("it hangs:\n{text}");
        }
        let mut bytes = [0; 8192];
        // EIO: nobody has the other end any more.
        let got = self.master.read(&mut bytes).unwrap_or(0);
        self.screen.take(&bytes[..got]);
        got > 0
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn size(width: u16, height: u16) -> Winsize {
    Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 }
}

/// What stands where; rows above the top are kept.
#[derive(Debug)]
struct Screen {
    rows: Vec<Vec<char>>,
    /// The cursor, in rows since the beginning.
    row: usize,
    column: usize,
    width: usize,
    height: usize,
    wraps: bool,
    /// What is written is kept and not understood.
    unread: bool,
    written: String,
    /// Bytes of a sequence or a character that has not ended.
    rest: Vec<u8>,
}

impl Screen {
    fn new(width: usize, height: usize) -> Self {
        let (rows, written, rest) = (vec![Vec::new()], String::new(), Vec::new());
        Self { rows, row: 0, column: 0, width, height, wraps: true, unread: false, written, rest }
    }

    fn text(&self) -> String {
        let rows = self.rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned());
        rows.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(_) => self.rest.len(),
            Err(error) => error.valid_up_to(),
        };
        let mut text = String::from_utf8_lossy(&self.rest[..whole]).into_owned();
        if self.unread {
            self.rest.drain(..whole);
            self.written.push_str(&text);
            return;
        }
        // A sequence that has not ended waits for its end.
        if let Some(escape) = text.rfind('\x1b')
            && !text[escape + 1..].contains(|c: char| c.is_ascii_alphabetic())
        {
            text.truncate(escape);
        }
        self.rest.drain(..text.len());
        self.written.push_str(&text);
        let mut left = text.as_str();
        while let Some(character) = left.chars().next() {
            left = &left[character.len_utf8()..];
            if character == '\x1b' {
                let end = left.find(|c: char| c.is_ascii_alphabetic()).expect("it has ended");
                self.obey(&left[..=end]);
                left = &left[end + 1..];
            } else {
                self.put(character);
            }
        }
    }

    fn put(&mut self, character: char) {
        match character {
            '\r' => self.column = 0,
            '\n' => self.down(),
            _ => {
                if self.column >= self.width {
                    if !self.wraps {
                        self.column = self.width - 1;
                    } else {
                        self.column = 0;
                        self.down();
                    }
                }
                let row = &mut self.rows[self.row];
                row.resize(row.len().max(self.column + 1), ' ');
                row[self.column] = character;
                self.column += 1;
            }
        }
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.rows.len() {
            self.rows.push(Vec::new());
        }
    }

    fn obey(&mut self, sequence: &str) {
        match sequence {
            "[J" => {
                let top = self.rows.len().saturating_sub(self.height);
                let stands = self.rows[self.row..].iter().any(|row| !row.is_empty());
                let at_top = self.row == top && self.column == 0;
                assert!(!(at_top && stands), "a terminal puts what is cleared so into its history");
                self.rows[self.row].truncate(self.column);
                self.rows.truncate(self.row + 1);
            }
            "[K" => self.rows[self.row].truncate(self.column),
            "[?7l" => self.wraps = false,
            "[?7h" => self.wraps = true,
            colour if colour.ends_with('m') => {}
            up if up.ends_with('A') => {
                let rows: usize = up[1..up.len() - 1].parse().expect("a number of rows");
                // What has left the screen is out of reach.
                let top = self.rows.len().saturating_sub(self.height);
                self.row = self.row.saturating_sub(rows).max(top);
            }
            other => panic!("hearth wrote a sequence that it should not: {other:?}"),
        }
    }
}
