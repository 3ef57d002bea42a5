//! Text to project: the `toml` crate's tree with spans, then `read`, with the faults of both.
//!
//! Syntax faults and others are told together where that can be done honestly. A tree that was
//! recovered from broken text can say what nobody wrote, so it is not used. Instead the broken
//! lines are blanked and the rest is parsed anew; if it is whole then, and no table's header was
//! among the blanked, its faults are real and are told too. What depends on something being absent
//! (no `run`, no such service) is left out then: it may stand in a blanked line.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, Error};

use crate::fault::{Fault, Faults, LineCount};
use crate::project::Project;
use crate::read::{self, Found};

/// Validates the text of a `hearth.toml`. `file` is only named in faults, `root` is what relative
/// directories start from; each `dir` is looked up.
///
/// Errors: every fault of the text, in its order.
pub fn parse(text: &str, file: &Path, root: &Path) -> Result<Project, Faults> {
    let (tree, broken) = DeTable::parse_recoverable(text);
    let mut found = Found::default();
    let services = if broken.is_empty() {
        read::project(text, tree.get_ref(), root, &mut found)
    } else {
        syntax(text, root, &broken, &mut found);
        Vec::new()
    };
    let mut raw = found.into_faults();
    if raw.is_empty() {
        return Ok(Project {
            root: root.to_owned(),
            file: file.to_owned(),
            sources: vec![file.to_owned()],
            auto: false,
            services,
            groups: Vec::new(),
        });
    }
    raw.sort_by_key(|fault| fault.span.start);
    let mut lines = LineCount::of(text);
    let faults = raw
        .into_iter()
        .map(|raw| Fault::counted(&mut lines, file, raw.span, raw.message, raw.expected))
        .collect();
    Err(Faults(faults))
}

fn syntax(text: &str, root: &Path, broken: &[Error], found: &mut Found) {
    let mut lines: Vec<Range<usize>> = Vec::new();
    for error in broken {
        let span = error.span().unwrap_or(text.len()..text.len());
        let line = line_around(text, span.start);
        // The first fault of a line is the cause, the others mostly its echo.
        if lines.contains(&line) {
            continue;
        }
        lines.push(line);
        match error.message().split_once(", expected ") {
            // The crate's words for a value that is missing or has no quotes.
            Some((what, "literal string")) => {
                found.fault(span, what, "a value; a text stands in quotes: \"cargo run\"");
            }
            Some((what, expected)) => found.fault(span, what, expected),
            None => found.bare(span, error.message()),
        }
    }
    if lines.iter().any(|line| text[line.clone()].trim_start().starts_with('[')) {
        return;
    }
    let rest = blanked(text, &lines);
    if let Ok(tree) = DeTable::parse(&rest) {
        let tree: Spanned<DeTable<'_>> = tree;
        found.partial();
        read::project(&rest, tree.get_ref(), root, found);
    }
}

/// The line that holds the byte `at`, without its end.
fn line_around(text: &str, at: usize) -> Range<usize> {
    let at = text.floor_char_boundary(at);
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    start..end
}

/// `text` with blanks in place of the bytes of `lines`, so that all other spans stay right.
fn blanked(text: &str, lines: &[Range<usize>]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = lines.to_vec();
    lines.sort_by_key(|line| line.start);
    let mut from = 0;
    for line in lines {
        out += &text[from..line.start];
        out += &" ".repeat(line.len());
        from = line.end;
    }
    out + &text[from..]
}
