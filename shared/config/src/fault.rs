//! A fault with its place, and how it is drawn:
//!
//! ```text
//! error: unknown key `prot`; did you mean `port`?
//!   --> hearth.toml:3:1
//!    |
//!  3 | prot = 8080
//!    | ^^^^
//!    = expected: one of ...
//! ```
//!
//! Invariant: a drawn fault is plain text. Control characters of the file are shown as U+FFFD, so
//! a planted file can't steer the terminal. Tabs stay, and stand before the caret too, so that it
//! is under its text whatever the terminal's tab width. Columns count characters, from 1.
//!
//! Own code, of a hundred lines, and not a crate: miette and annotate-snippets bring unicode
//! tables, wrapping, colours and themes, all of which would be switched off here, and the form is
//! part of what hearth promises.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Most characters of a line that are shown.
const WIDEST: usize = 120;
/// How many of them before the span, where the line is longer.
const BEFORE: usize = 40;

/// One thing that is wrong with a file, and where. Serialised without the text of the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file, as it was named to the parser.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong; one line.
    pub message: String,
    /// What would have been right; reads on after "expected:".
    pub expected: Option<String>,
    #[serde(skip)]
    excerpt: Excerpt,
}

/// The part of the line that is shown, and where in it the caret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    text: String,
    /// Characters of `text` before the span.
    before: usize,
    /// Characters under the caret, at least 1.
    width: usize,
}

impl Fault {
    /// A fault of `text`, which is `file`'s, at the bytes `span`. A span that ends on another line
    /// is marked on its first; one outside of the text, at the text's end.
    pub fn new(
        text: &str,
        file: &Path,
        span: Range<usize>,
        message: impl Into<String>,
        expected: Option<String>,
    ) -> Self {
        let mut lines = LineCount::of(text);
        Self::counted(&mut lines, file, span, message.into(), expected)
    }

    /// The same for many faults of one text, in its order, which is gone through once for all.
    pub(crate) fn counted(
        lines: &mut LineCount<'_>,
        file: &Path,
        span: Range<usize>,
        message: String,
        expected: Option<String>,
    ) -> Self {
        let text = lines.text;
        let start = text.floor_char_boundary(span.start);
        let end = text.floor_char_boundary(span.end.max(start));
        let number = lines.line_of(start);
        let from = lines.column_of(start);
        let row = &text[lines.row.clone()];
        let before = start.min(lines.row.end) - lines.row.start;
        let end = end.min(lines.row.end).max(lines.row.start + before) - lines.row.start;
        Self {
            file: file.to_owned(),
            line: number,
            column: from + 1,
            message,
            expected,
            excerpt: Excerpt::new(row, before..end, from),
        }
    }
}

impl Fault {
    /// The same with the line's secrets out of sight: of an env file only names may be shown, for
    /// faults end up in logs.
    pub(crate) fn without_values(mut self) -> Self {
        let text = &self.excerpt.text;
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ' ');
        let shown = match text.split_once('=') {
            Some((before, _)) if before.chars().all(name) => before.chars().count() + 1,
            Some(_) | None => 0,
        };
        let hide = |(n, c)| if n < shown || c == '\t' { c } else { '*' };
        self.excerpt.text = text.chars().enumerate().map(hide).collect();
        self
    }
}

/// Counts lines and columns of a text up to places that come in its order; one out of order is
/// counted from the start again. A line is walked through once for all its faults, for a file may
/// be one line with ten thousand of them.
pub(crate) struct LineCount<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    /// The line that was asked for last, without its end.
    row: Range<usize>,
    /// A place in it, and how many characters stand before that.
    column: (usize, usize),
}

impl<'t> LineCount<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        let mut lines = Self { text, at: 0, line: 1, row: 0..0, column: (0, 0) };
        lines.enter(0);
        lines
    }

    /// The line, from 1, that holds the byte `at`.
    pub(crate) fn line_of(&mut self, at: usize) -> usize {
        if at < self.at {
            (self.at, self.line) = (0, 1);
        }
        self.line += self.text[self.at..at].bytes().filter(|byte| *byte == b'\n').count();
        self.at = at;
        if !(self.row.start..=self.row.end).contains(&at) {
            self.enter(at);
        }
        self.line
    }

    fn enter(&mut self, at: usize) {
        let start = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        let row = self.text[start..].split('\n').next().unwrap_or_default();
        let row = row.strip_suffix('\r').unwrap_or(row);
        self.row = start..start + row.len();
        self.column = (start, 0);
    }

    /// Characters before the byte `at` of the line that was asked for last.
    fn column_of(&mut self, at: usize) -> usize {
        let at = at.min(self.row.end);
        if at < self.column.0 {
            self.column = (self.row.start, 0);
        }
        let (from, before) = self.column;
        self.column = (at, before + self.text[from..at].chars().count());
        self.column.1
    }
}

impl Excerpt {
    /// The bytes `span` of a line, before which `from` characters stand.
    fn new(line: &str, span: Range<usize>, from: usize) -> Self {
        let is_long = line.chars().nth(WIDEST).is_some();
        let back = line[..span.start].char_indices().rev().map(|(at, _)| at);
        let (cut, before) = match back.take(BEFORE).last() {
            Some(cut) if is_long && from > BEFORE => (cut, BEFORE),
            Some(_) | None => (0, from),
        };
        let text: String = line[cut..]
            .chars()
            .take(WIDEST)
            .map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
            .collect();
        let room = text.chars().count().saturating_sub(before);
        let width = line[span].chars().take(WIDEST).count();
        Self { before, width: width.min(room).max(1), text }
    }

    /// What stands before the caret: blanks, but the line's own tabs.
    fn pad(&self) -> String {
        let pad = self.text.chars().take(self.before);
        pad.map(|c| if c == '\t' { '\t' } else { ' ' }).collect()
    }
}

impl fmt::Display for Fault {
    /// As the module shows it, without a line end at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len() + 1);
        let file: String = (self.file.display().to_string().chars())
            .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
            .collect();
        writeln!(f, "error: {}", self.message)?;
        writeln!(f, "{gutter}--> {file}:{}:{}", self.line, self.column)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, " {number} | {}", self.excerpt.text)?;
        write!(f, "{gutter} | {}{}", self.excerpt.pad(), "^".repeat(self.excerpt.width))?;
        if let Some(expected) = &self.expected {
            write!(f, "\n{gutter} = expected: {expected}")?;
        }
        Ok(())
    }
}

/// Draws one fault of any text, for files that are read elsewhere; `span` in bytes.
pub fn render(
    text: &str,
    file: &Path,
    span: Range<usize>,
    message: &str,
    expected: Option<&str>,
) -> String {
    Fault::new(text, file, span, message, expected.map(str::to_owned)).to_string()
}

/// All faults of a file, in its order; never empty. Displayed one after another with an empty
/// line between, serialised as a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Faults(pub(crate) Vec<Fault>);

impl Faults {
    /// The faults, in the order of the file.
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    /// The faults themselves.
    pub fn into_vec(self) -> Vec<Fault> {
        self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(text: &str, span: Range<usize>) -> String {
        render(text, Path::new("f"), span, "m", None)
    }

    #[test]
    fn the_caret_stands_under_its_text_after_tabs_and_wide_bytes() {
        assert_eq!(
            draw("a\n\tdé = bad # x\n", 9..12),
            "error: m\n  --> f:2:7\n   |\n 2 | \tdé = bad # x\n   | \t     ^^^"
        );
    }

    #[test]
    fn places_at_and_beyond_the_end_are_shown() {
        assert!(draw("a = \r\n", 4..4).ends_with("1:5\n   |\n 1 | a = \n   |     ^"));
        assert!(draw("a\n", 2..2).ends_with("2:1\n   |\n 2 | \n   | ^"));
        assert!(draw("", 0..9).ends_with("1:1\n   |\n 1 | \n   | ^"));
        assert!(draw("ab", 7..9).ends_with("1:3\n   |\n 1 | ab\n   |   ^"));
        assert!(draw("ab\ncd", 1..5).ends_with("1:2\n   |\n 1 | ab\n   |  ^"));
    }

    #[test]
    fn long_lines_are_cut_around_the_span_and_controls_are_defused() {
        let text = format!("{}\u{1b}[31mX{}", "a".repeat(500), "b".repeat(500));
        let drawn = draw(&text, 505..506);
        let lines: Vec<&str> = drawn.lines().collect();
        assert!(lines[3].len() < 200 && !drawn.contains('\u{1b}'), "{drawn}");
        let caret = lines[4].find('^').expect("a caret");
        assert_eq!(lines[3].chars().nth(caret), Some('X'));
    }
}
