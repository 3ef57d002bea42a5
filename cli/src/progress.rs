//! What a wait shows meanwhile, on stderr: a line a service on a terminal, plain lines elsewhere,
//! nothing with `-q` and `--json`. Never a byte on stdout, which belongs to the answer.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use hearth_api::State;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::args::Context;
use crate::output;

/// How often a terminal is drawn again while nothing happens: the elapsed time moves.
const TICK: Duration = Duration::from_millis(120);

/// Where a wait is shown.
pub enum Progress {
    /// Nowhere.
    Silent,
    /// A plain line a change.
    Plain,
    /// On a terminal, a line a service.
    Drawn(Box<Drawn>),
}

/// Lines on a terminal.
pub struct Drawn {
    all: MultiProgress,
    lines: BTreeMap<String, ProgressBar>,
    running: ProgressStyle,
    ended: ProgressStyle,
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
        let style = |template| {
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_spinner())
        };
        Progress::Drawn(Box::new(Drawn {
            all: MultiProgress::new(),
            lines: BTreeMap::new(),
            running: style("{spinner} {prefix}: {msg} ({elapsed})"),
            ended: style("  {prefix}: {msg} ({elapsed})"),
        }))
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
    pub fn tick(&self) {
        if let Progress::Drawn(drawn) = self {
            drawn.lines.values().filter(|line| !line.is_finished()).for_each(ProgressBar::tick);
        }
    }

    /// The wait is over: what is drawn stays as it is, and the words come under it.
    pub fn end(&mut self, words: &str) {
        if let Progress::Drawn(drawn) = self {
            drawn.lines.values().filter(|line| !line.is_finished()).for_each(ProgressBar::abandon);
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
        let line = self.lines.entry(name.to_owned()).or_insert_with(|| {
            let line = self.all.add(ProgressBar::new_spinner().with_style(self.running.clone()));
            line.set_prefix(name.to_owned());
            line
        });
        match state {
            State::Ready | State::Done | State::Down | State::Failed => {
                line.set_style(self.ended.clone());
                line.abandon_with_message(words);
            }
            State::Waiting
            | State::Starting
            | State::Unhealthy
            | State::Backoff
            | State::Stopping
            | State::Unknown => {
                line.set_style(self.running.clone());
                line.set_message(words);
                line.tick();
            }
        }
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
