//! What a wait shows meanwhile, on stderr: a line a service on a terminal, plain lines elsewhere,
//! nothing with `-q` and `--json`. Never a byte on stdout, which belongs to the answer.
//!
//! Drawn by hand and not by indicatif: that brings the C library's mathematics along (it smooths
//! rates), which the dynamic linker then loads for every verb, for a tenth of a warm verb's system
//! calls. A drawing is one write, and clears what is below it, so that the terminal's own `^C` does
//! not stay.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use hearth_api::State;

use crate::args::Context;
use crate::output;

/// How often a terminal is drawn again while nothing happens: the elapsed time moves.
const TICK: Duration = Duration::from_millis(100);

const SPINNER: [char; 4] = ['|', '/', '-', '\\'];

/// Where a wait is shown.
pub enum Progress {
    /// Nowhere.
    Silent,
    /// A plain line a change.
    Plain,
    /// On a terminal, a line a service.
    Drawn(Drawn),
}

/// Lines on a terminal: those of services that have come to rest stand, those of the others are
/// drawn again and again below them.
#[derive(Default)]
pub struct Drawn {
    active: Vec<Active>,
    /// Lines below which the cursor stands.
    height: u16,
    ticks: usize,
}

struct Active {
    name: String,
    words: String,
    since: Instant,
}

impl Progress {
    /// By what stderr is and what was asked for.
    pub fn new(context: &Context) -> Self {
        // With `--json` the same is told on stdout, and stderr is for the one line of an error.
        if context.quiet || context.json {
            return Progress::Silent;
        }
        if !std::io::stderr().is_terminal() {
            return Progress::Plain;
        }
        Progress::Drawn(Drawn::default())
    }

    /// A service was in this state when the wait began: told where it is on its way.
    pub fn found(&mut self, name: &str, state: State) {
        if !is_at_rest(state) {
            self.step(name, state, "");
        }
    }

    /// A service has come to this state.
    pub fn step(&mut self, name: &str, state: State, message: &str) {
        let words = if message.is_empty() || message == in_word(state) {
            in_word(state).to_owned()
        } else {
            format!("{}: {message}", in_word(state))
        };
        match self {
            Progress::Silent => {}
            Progress::Plain => output::tell(&format!("{name}: {words}")),
            Progress::Drawn(drawn) => drawn.step(name, state, words),
        }
    }

    /// When to be drawn again although nothing happens.
    pub fn tick_after(&self) -> Option<Duration> {
        match self {
            Progress::Drawn(_) => Some(TICK),
            Progress::Silent | Progress::Plain => None,
        }
    }

    /// Draws again.
    pub fn tick(&mut self) {
        if let Progress::Drawn(drawn) = self {
            drawn.ticks += 1;
            drawn.draw("");
        }
    }

    /// The wait is over: what is drawn stays as it is, and the words come under it.
    pub fn end(&mut self, words: &str) {
        if let Progress::Drawn(drawn) = self {
            drawn.rest();
        }
        match self {
            Progress::Silent => {}
            Progress::Plain | Progress::Drawn(_) if words.is_empty() => {}
            Progress::Plain | Progress::Drawn(_) => output::tell(&format!("hearth: {words}")),
        }
    }
}

impl Drawn {
    fn step(&mut self, name: &str, state: State, words: String) {
        let at = self.active.iter().position(|active| active.name == name);
        if is_at_rest(state) {
            let since = at.map(|at| self.active.remove(at).since);
            self.draw(&line(' ', name, &words, since.unwrap_or_else(Instant::now)));
            return;
        }
        match at {
            Some(at) => self.active[at].words = words,
            None => {
                self.active.push(Active { name: name.to_owned(), words, since: Instant::now() })
            }
        }
        self.draw("");
    }

    /// Draws what is active, below `above`, which stands from now on.
    fn draw(&mut self, above: &str) {
        // Cursor up, clear to the end of the screen, no wrapping (ECMA-48 CUU, ED; DECAWM).
        let mut out = match self.height {
            0 => String::from("\r\x1b[J\x1b[?7l"),
            height => format!("\x1b[{height}A\r\x1b[J\x1b[?7l"),
        };
        out.push_str(above);
        let room =
            rustix::termios::tcgetwinsize(rustix::stdio::stderr()).map_or(24, |size| size.ws_row);
        let room = usize::from(room.saturating_sub(2)).max(1);
        let spinner = SPINNER[self.ticks % SPINNER.len()];
        for active in self.active.iter().take(room) {
            out.push_str(&line(spinner, &active.name, &active.words, active.since));
        }
        let shown = self.active.len().min(room);
        self.height = shown as u16;
        if self.active.len() > shown {
            let _ = writeln!(out, "  and {} more", self.active.len() - shown);
            self.height += 1;
        }
        out.push_str("\x1b[?7h");
        let _ = std::io::stderr().write_all(out.as_bytes());
    }

    /// What is active stays on the terminal as it is.
    fn rest(&mut self) {
        self.draw("");
        self.active.clear();
        self.height = 0;
    }
}

fn line(mark: char, name: &str, words: &str, since: Instant) -> String {
    let words = anstream::adapter::strip_str(words.lines().next().unwrap_or_default()).to_string();
    format!("{mark} {name}: {words} ({:.1} s)\n", since.elapsed().as_secs_f64())
}

/// Whether nothing is waited for in this state.
fn is_at_rest(state: State) -> bool {
    match state {
        State::Ready | State::Done | State::Down | State::Failed => true,
        State::Waiting
        | State::Starting
        | State::Unhealthy
        | State::Backoff
        | State::Stopping
        | State::Unknown => false,
    }
}

/// A state as it stands everywhere.
pub fn in_word(state: State) -> &'static str {
    match state {
        State::Down => "down",
        State::Waiting => "waiting",
        State::Starting => "starting",
        State::Ready => "ready",
        State::Unhealthy => "unhealthy",
        State::Backoff => "backoff",
        State::Stopping => "stopping",
        State::Done => "done",
        State::Failed => "failed",
        State::Unknown => "unknown",
    }
}
