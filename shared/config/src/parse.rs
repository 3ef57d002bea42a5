//! Text to project: the `toml` crate's tree with spans, then `merge`, then `read`, with the faults of
//! all.
//!
//! Syntax faults and others are told together where that can be done honestly. A tree that was
//! recovered from broken text can say what nobody wrote, so it is not used. Instead the broken
//! lines are blanked and the rest is parsed anew; if it is whole then, and no table's header was
//! among the blanked, its faults are real and are told too. What depends on something being absent
//! (no `run`, no such service) is left out then: it may stand in a blanked line.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, Error};

use crate::fault::{Fault, Faults};
use crate::invalid::quoted;
use crate::merge::{Source, Texts, merge};
use crate::project::Project;
use crate::read::{self, Found};

/// Validates the text of a `hearth.toml`. `file` is only named in faults, `root` is what relative
/// paths start from; each `dir` is looked up, each `env_file` read. No other file is merged over it.
///
/// Errors: every fault of the text, in its order, then those of the env files.
pub fn parse(text: &str, file: &Path, root: &Path) -> Result<Project, Faults> {
    all(&Texts { base: Source { text, file }, local: None }, None, root)
}

/// The same for two files. `unreadable`: a file that should be merged over this one and can't be.
pub(crate) fn all(
    texts: &Texts<'_>,
    unreadable: Option<Fault>,
    root: &Path,
) -> Result<Project, Faults> {
    let mut found = Found::default();
    if let Some(fault) = unreadable {
        found.partial();
        found.elsewhere(fault);
    }
    let (mut rest, mut local_rest) = (String::new(), String::new());
    let base = tree(texts.base.text, 0, &mut rest, &mut found);
    let local = texts.local.and_then(|local| {
        let over = tree(local.text, texts.offset(), &mut local_rest, &mut found);
        if over.is_none() {
            found.partial();
        }
        over
    });
    let mut project = Project {
        root: root.to_owned(),
        file: texts.base.file.to_owned(),
        sources: vec![texts.base.file.to_owned()],
        auto: false,
        services: Vec::new(),
        groups: Vec::new(),
    };
    if let Some(mut base) = base {
        if let Some(local) = local {
            merge(&mut base, local, texts.offset());
        }
        read::project(&base, &mut texts.places(), &mut project, &mut found);
    }
    let (mut raw, elsewhere) = found.into_faults();
    if raw.is_empty() && elsewhere.is_empty() {
        return Ok(project);
    }
    raw.sort_by_key(|fault| fault.span.start);
    let mut places = texts.places();
    let own = raw.into_iter().map(|raw| places.fault(raw.span, raw.message, raw.expected));
    Err(Faults(own.chain(elsewhere).collect()))
}

/// The tree of one text. `None`: too much of it is broken. `rest` is room for what is whole of it.
fn tree<'t>(
    text: &'t str,
    offset: usize,
    rest: &'t mut String,
    found: &mut Found,
) -> Option<DeTable<'t>> {
    let (tree, broken) = DeTable::parse_recoverable(text);
    if broken.is_empty() {
        return Some(tree.into_inner());
    }
    found.partial();
    *rest = syntax(text, offset, &broken, found)?;
    DeTable::parse(rest).ok().map(toml::Spanned::into_inner)
}

/// Notes what is broken; the text without it, unless that would mean something else.
fn syntax(text: &str, offset: usize, broken: &[Error], found: &mut Found) -> Option<String> {
    let mut lines: Vec<Range<usize>> = Vec::new();
    for error in broken {
        let span = error.span().unwrap_or(text.len()..text.len());
        let line = line_around(text, span.start);
        // The first fault of a line is the cause, the others mostly its echo.
        if lines.contains(&line) {
            continue;
        }
        lines.push(line);
        let place = span.start + offset..span.end + offset;
        match error.message().split_once(", expected ") {
            // The crate's words for a value that is missing or has no quotes.
            Some((what, "literal string")) => {
                found.fault(place, what, "a value; a text stands in quotes: \"cargo run\"");
            }
            Some((what, expected)) => found.fault(place, what, expected),
            None if error.message() == "duplicate key" => {
                let key = text.get(span).unwrap_or_default();
                let message = format!("{} stands here twice", quoted(key));
                found.fault(place, message, "each key and each table once");
            }
            None => found.bare(place, error.message()),
        }
    }
    let header = |line: &Range<usize>| text[line.clone()].trim_start().starts_with('[');
    (!lines.iter().any(header)).then(|| blanked(text, &lines))
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
