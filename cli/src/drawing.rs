//! A wait as lines on a terminal: what stands in them, cut to its width, chosen to its height.
//!
//! Kept true here: no line is wider than the terminal and there are never more than fit above the
//! cursor, whatever is in a message, so that going up as many lines as were drawn comes back to the
//! first. It is a function of the story, the time and the terminal alone.

use std::time::Instant;

use hearth_api::State;

use crate::story::{Goal, Node, Story, is_at_rest};

/// Longest name that has a column of its own; longer ones push the rest of their line aside.
const NAME: usize = 24;
/// With less room than this for words the time is left out.
const WORDS: usize = 16;

/// What is drawn upon.
#[derive(Clone, Copy, Debug)]
pub struct Canvas {
    /// Columns.
    pub width: usize,
    /// Rows, that of the cursor included.
    pub height: usize,
    /// Whether colours are allowed.
    pub color: bool,
    /// What stands in front of what is under way.
    pub mark: char,
}

/// One line, and how many columns it takes.
#[derive(Debug, PartialEq, Eq)]
pub struct Drawn {
    /// With its colours, without its end.
    pub text: String,
    /// Without them.
    pub width: usize,
}

/// All lines of a story: in the order of the file where they fit, else what is under way first, and
/// how many more there are.
pub fn lines(story: &Story, goal: Goal, canvas: Canvas, now: Instant) -> Vec<Drawn> {
    // What `down` finds down is no part of it.
    let told = |node: &&Node| node.moved || goal == Goal::Ready || !is_at_rest(node.state);
    let told: Vec<&Node> = story.nodes.iter().filter(told).collect();
    let room = canvas.height.saturating_sub(1).max(1);
    let longest = told.iter().map(|node| columns(&node.name)).max().unwrap_or(0);
    let pad = longest.min(NAME);
    let line = |node: &Node| line(story, node, pad, canvas, now);
    if told.len() <= room {
        return told.into_iter().map(line).collect();
    }
    let mut ranked = told;
    ranked.sort_by_key(|node| rank(node.state));
    let rest = ranked.split_off(room - 1);
    let mut lines: Vec<Drawn> = ranked.into_iter().map(line).collect();
    lines.push(plain(cut(&more(&rest), canvas.width)));
    lines
}

/// Under way first, then what has gone wrong, then what has come to it.
fn rank(state: State) -> u8 {
    match state {
        State::Starting | State::Unhealthy | State::Backoff | State::Stopping | State::Unknown => 0,
        State::Waiting => 1,
        State::Failed => 2,
        State::Ready | State::Done | State::Down => 3,
    }
}

/// `  and 950 more: 940 ready, 10 waiting`.
fn more(rest: &[&Node]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for node in rest {
        let word = node.state.in_word();
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    let counts: Vec<_> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    format!("  and {} more: {}", rest.len(), counts.join(", "))
}

fn line(story: &Story, node: &Node, pad: usize, canvas: Canvas, now: Instant) -> Drawn {
    let resting = is_at_rest(node.state);
    let mark = if resting { ' ' } else { canvas.mark };
    let head = format!("{mark} {:<pad$}  ", node.name);
    let mut tail = match resting {
        true => String::new(),
        false => format!("  {:.1} s", now.saturating_duration_since(node.since).as_secs_f64()),
    };
    let taken = columns(&head) + columns(&tail);
    if taken + WORDS > canvas.width {
        tail.clear();
    }
    let room = canvas.width.saturating_sub(columns(&head) + columns(&tail));
    let words = cut(&story.words(node), room);
    let text = cut(&format!("{head}{words}{tail}"), canvas.width);
    let drawn = plain(text);
    let word = node.state.in_word();
    if !canvas.color || !words.starts_with(word) || drawn.width < columns(&head) + word.len() {
        return drawn;
    }
    let (before, after) = (head.len(), head.len() + word.len());
    let text = drawn.text;
    let text = format!(
        "{}{}{}\x1b[0m{}",
        &text[..before],
        paint(node.state),
        &text[before..after],
        &text[after..]
    );
    Drawn { text, width: drawn.width }
}

fn plain(text: String) -> Drawn {
    Drawn { width: columns(&text), text }
}

/// The first of it, and that there was more.
fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let dots = 3.min(width);
    let mut left = width - dots;
    let fits = |c: &char| {
        let fits = column(*c) <= left;
        left = left.saturating_sub(column(*c));
        fits
    };
    let kept: String = text.chars().take_while(fits).collect();
    format!("{kept}{}", &"..."[..dots])
}

/// Columns that a text takes on a terminal.
fn columns(text: &str) -> usize {
    text.chars().map(column).sum()
}

/// Columns that a character takes: two of the blocks that are wide in all terminals (UAX #11, W and
/// F), none of marks that stand upon the one before. By blocks: what is counted wrong is cut too
/// early or too late, and the line does not wrap for it.
fn column(character: char) -> usize {
    match u32::from(character) {
        0x0300..=0x036f | 0x200b..=0x200f | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff01..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// How a state is coloured: an SGR sequence (ECMA-48, 8.3.117).
pub fn paint(state: State) -> &'static str {
    match state {
        State::Ready | State::Done => "\x1b[32m",
        State::Waiting | State::Starting | State::Backoff | State::Stopping => "\x1b[33m",
        State::Unhealthy | State::Failed => "\x1b[31m",
        State::Down | State::Unknown => "\x1b[2m",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sheet::Sheet;

    const FILE: &str = "[services.db]\nrun = 'x'\n[services.migrate]\nrun = 'x'\nneeds = ['db']\n\
                        [services.web]\nrun = 'x'\nneeds = ['db', 'migrate']\n";

    fn canvas(width: usize, height: usize) -> Canvas {
        Canvas { width, height, color: false, mark: '-' }
    }

    fn story(states: &[(&str, State, &str)]) -> Story {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("hearth.toml"), FILE).unwrap();
        let file = hearth_config::load(directory.path()).unwrap();
        let mut story = Story::new(Sheet::of(&file));
        for (name, state, message) in states {
            story.step(None, (*name).to_owned(), *state, message);
        }
        story
    }

    fn drawn(story: &Story, canvas: Canvas) -> Vec<String> {
        // Stopped where it began, so that the time is known.
        let since = story.nodes.iter().map(|node| node.since).max().unwrap();
        let lines = lines(story, Goal::Ready, canvas, since + Duration::from_millis(1260));
        for line in &lines {
            assert_eq!(line.width, columns(&line.text), "no colours here");
            assert!(line.width <= canvas.width, "{line:?}");
        }
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn each_service_has_a_line_that_says_whom_it_waits_for_and_why() {
        let story = story(&[
            ("db", State::Starting, "127.0.0.1:5432: connection refused"),
            ("migrate", State::Backoff, "exited with code 1"),
            ("web", State::Waiting, "waits for db (starting)"),
        ]);
        assert_eq!(
            drawn(&story, canvas(110, 24)),
            [
                "- db       starting: 127.0.0.1:5432: connection refused  1.3 s",
                "- migrate  backoff: exited with code 1  1.3 s",
                "- web      waiting for db (starting: 127.0.0.1:5432: connection refused), migrate \
                 (backoff: exited w...  1.3 s",
            ]
        );
    }

    #[test]
    fn what_has_come_stands_without_a_time_and_a_chain_names_the_next_link_alone() {
        let mut story = story(&[
            ("db", State::Ready, "ready"),
            ("migrate", State::Waiting, ""),
            ("web", State::Waiting, ""),
        ]);
        assert_eq!(
            drawn(&story, canvas(60, 24)),
            [
                "  db       ready",
                "- migrate  waiting  1.3 s",
                "- web      waiting for migrate (waiting)  1.3 s"
            ]
        );
        story.step(None, "migrate".into(), State::Failed, "exited with code 1");
        assert_eq!(drawn(&story, canvas(60, 24))[1], "  migrate  failed: exited with code 1");
    }

    #[test]
    fn a_message_is_cut_to_the_width_and_can_not_move_the_cursor() {
        let message = "\x1b[2Jcleared\tand é日本 rung\x07, and so on, and on\nand another line";
        let story = story(&[("db", State::Starting, message)]);
        assert_eq!(drawn(&story, canvas(40, 24)), ["- db  starting: cleared and é...  1.3 s"]);
        for width in 0..60 {
            drawn(&story, canvas(width, 24));
        }
    }

    #[test]
    fn wide_characters_take_two_columns_and_leave_the_time_where_it_is() {
        let message = "漢字".repeat(30);
        let story = story(&[("db", State::Starting, &message)]);
        let line = &drawn(&story, canvas(60, 24))[0];
        assert!(line.ends_with("...  1.3 s") && line.contains("漢字漢"), "{line}");
        assert!((59..=60).contains(&columns(line)), "{line}");
        assert_eq!((columns("e\u{301}a"), columns("한x")), (2, 3));
    }

    #[test]
    fn of_more_than_fit_those_under_way_come_first_and_the_others_are_counted() {
        let mut names: Vec<(String, State)> = (0..50)
            .map(|n| (format!("s{n}"), if n < 40 { State::Ready } else { State::Waiting }))
            .collect();
        names[49].1 = State::Starting;
        let mut story = Story::default();
        for (name, state) in names {
            story.step(None, name, state, "");
        }
        assert_eq!(
            drawn(&story, canvas(40, 5)),
            [
                "- s49  starting  1.3 s",
                "- s40  waiting  1.3 s",
                "- s41  waiting  1.3 s",
                "  and 47 more: 7 waiting, 40 ready",
            ]
        );
        assert_eq!(drawn(&story, canvas(40, 1)), ["  and 50 more: 1 starting, 9 waiting,..."]);
    }

    #[test]
    fn colours_take_no_columns() {
        let story = story(&[("db", State::Ready, "200 OK")]);
        let canvas = Canvas { color: true, ..canvas(40, 24) };
        let lines = lines(&story, Goal::Ready, canvas, Instant::now());
        assert_eq!(lines, [Drawn { text: "  db  \x1b[32mready\x1b[0m: 200 OK".into(), width: 19 }]);
    }
}
