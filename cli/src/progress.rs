//! What a wait shows meanwhile, on stderr: a line a service on a terminal, plain lines elsewhere,
//! nothing with `-q` and `--json`. Never a byte on stdout, which belongs to the answer.
//!
//! Drawn by hand and not by indicatif: that brings the C library's mathematics along (it smooths
//! rates), which the dynamic linker then loads for every verb, for a tenth of a warm verb's system
//! calls. A drawing is one write, and clears what is below it, so that the terminal's own `^C` does
//! not stay. The terminal is asked for its size at each: one that was made narrower has folded the
//! lines that stand on it, which is counted; those that do not fold lose a line above instead.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use crate::args::Context;
use crate::drawing::{self, Canvas};
use crate::output;
use crate::story::{Goal, Story, is_at_rest};

/// How often a terminal is drawn again while nothing happens: the elapsed time moves.
const TICK: Duration = Duration::from_millis(100);
/// How close drawings follow one another: a thousand services come to life in less.
const CLOSEST: Duration = Duration::from_millis(30);

const SPINNER: [char; 4] = ['|', '/', '-', '\\'];

/// Where a wait is shown.
pub enum Progress {
    /// Nowhere.
    Silent,
    /// A plain line a change.
    Plain,
    /// On a terminal, a line a service.
    Drawn(Screen),
}

/// What stands on the terminal.
#[derive(Debug, Default)]
pub struct Screen {
    goal: Option<Goal>,
    color: bool,
    /// Columns of each line that is drawn; the cursor stands below the last.
    widths: Vec<usize>,
    /// Something was told: until then there is nothing to draw.
    begun: bool,
    /// It is to be drawn again.
    stale: bool,
    last: Option<Instant>,
    ticks: usize,
}

impl Progress {
    /// By what stderr is and what was asked for.
    pub fn new(context: &Context, goal: Goal) -> Self {
        // With `--json` the same is told on stdout, and stderr is for the one line of an error.
        if context.quiet || context.json {
            return Progress::Silent;
        }
        if !std::io::stderr().is_terminal() {
            return Progress::Plain;
        }
        let color = output::color_of_stderr(context);
        Progress::Drawn(Screen { goal: Some(goal), color, ..Screen::default() })
    }

    /// How things were when the wait began: told is who is on its way.
    pub fn begin(&mut self, story: &Story) {
        for at in 0..story.nodes.len() {
            if !is_at_rest(story.nodes[at].state) {
                self.step(story, at);
            }
        }
    }

    /// The service at this place has come to another state.
    pub fn step(&mut self, story: &Story, at: usize) {
        match self {
            Progress::Silent => {}
            Progress::Plain => {
                let node = &story.nodes[at];
                output::tell(&format!("{}: {}", node.name, story.told(node)));
            }
            Progress::Drawn(screen) => {
                (screen.begun, screen.stale) = (true, true);
                if screen.last.is_none_or(|last| last.elapsed() >= CLOSEST) {
                    screen.draw(story);
                }
            }
        }
    }

    /// When to be drawn again although nothing happens.
    pub fn tick_after(&self) -> Option<Duration> {
        match self {
            Progress::Drawn(screen) if screen.stale => Some(CLOSEST),
            Progress::Drawn(_) => Some(TICK),
            Progress::Silent | Progress::Plain => None,
        }
    }

    /// Draws again.
    pub fn tick(&mut self, story: &Story) {
        if let Progress::Drawn(screen) = self {
            screen.ticks += 1;
            screen.draw(story);
        }
    }

    /// Whether it shows what tests say while a state stays.
    pub fn shows_words(&self) -> bool {
        match self {
            Progress::Drawn(_) => true,
            Progress::Silent | Progress::Plain => false,
        }
    }

    /// Takes the drawing off the terminal, for what others write to it; the next tick draws it
    /// again, below that.
    pub fn clear(&mut self) {
        if let Progress::Drawn(screen) = self
            && !screen.widths.is_empty()
        {
            // The first line by itself: see `draw`.
            let up = screen.up(size().width);
            let _ = std::io::stderr().write_all(format!("{up}\x1b[K\n\x1b[J\x1b[1A").as_bytes());
            screen.widths.clear();
            screen.stale = true;
        }
    }

    /// The wait is over: what is drawn stays as it is, and the words come under it.
    pub fn end(&mut self, story: &Story, words: &str) {
        if let Progress::Drawn(screen) = self {
            screen.draw(story);
            screen.widths.clear();
            screen.begun = false;
        }
        if !words.is_empty() {
            self.say(words);
        }
    }

    /// A line of hearth's own, below what is drawn.
    pub fn say(&mut self, words: &str) {
        self.clear();
        match self {
            Progress::Silent => {}
            Progress::Plain => output::tell(&format!("hearth: {words}")),
            // Over the terminal's own `^C`.
            Progress::Drawn(_) => output::tell(&format!("\r\x1b[Khearth: {words}")),
        }
    }
}

impl Screen {
    fn draw(&mut self, story: &Story) {
        let Some(goal) = self.goal.filter(|_| self.begun) else { return };
        let size = size();
        let canvas =
            Canvas { color: self.color, mark: SPINNER[self.ticks % SPINNER.len()], ..size };
        let lines = drawing::lines(story, goal, canvas, Instant::now());
        // No wrapping meanwhile (DECAWM): a character may take more columns than are counted. Cleared
        // is line by line and below the last: where a drawing begins at the top of the screen, a
        // terminal that is told to clear from there on keeps each one in its history (tmux, kitty).
        let mut out = self.up(size.width);
        out.push_str("\x1b[?7l");
        for line in &lines {
            let _ = writeln!(out, "\x1b[K{}", line.text);
        }
        out.push_str("\x1b[J\x1b[?7h");
        self.widths = lines.into_iter().map(|line| line.width).collect();
        (self.stale, self.last) = (false, Some(Instant::now()));
        let _ = std::io::stderr().write_all(out.as_bytes());
    }

    /// Back to the first of the lines that stand there (ECMA-48 CUU).
    fn up(&self, width: usize) -> String {
        let rows = |columns: &usize| columns.div_ceil(width.max(1)).max(1);
        match self.widths.iter().map(rows).sum::<usize>() {
            0 => String::from("\r"),
            height => format!("\x1b[{height}A\r"),
        }
    }
}

/// The terminal as it is now; where it does not tell, as they once all were.
fn size() -> Canvas {
    let (width, height) = match rustix::termios::tcgetwinsize(rustix::stdio::stderr()) {
        Ok(size) => (usize::from(size.ws_col), usize::from(size.ws_row)),
        Err(_) => (0, 0),
    };
    let or = |figure: usize, other: usize| if figure == 0 { other } else { figure };
    Canvas { width: or(width, 80), height: or(height, 24), color: false, mark: ' ' }
}
