//! `hearth.local.toml` over `hearth.toml`: tables key by key, everything else replaced.
//!
//! Invariant: every value of the merged tree still knows the file in which it stands. The two texts
//! count as one, the second after the first, so that one number is a place in either; see
//! [`Texts::place`].

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use crate::fault::{Fault, LineCount};

/// A text and the file whose it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'t> {
    pub(crate) text: &'t str,
    pub(crate) file: &'t Path,
}

/// The file, and the one that is merged over it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Texts<'t> {
    pub(crate) base: Source<'t>,
    pub(crate) local: Option<Source<'t>>,
}

impl<'t> Texts<'t> {
    /// Where the second text begins. One more than the first is long: a fault may stand at its end.
    pub(crate) fn offset(&self) -> usize {
        self.base.text.len() + 1
    }

    pub(crate) fn places(&self) -> Places<'t> {
        let local = self.local.map(|local| (LineCount::of(local.text), local.file));
        let base = (LineCount::of(self.base.text), self.base.file);
        Places { offset: self.offset(), base, local }
    }
}

/// Turns places of a merged tree into lines; quick where they come in order.
pub(crate) struct Places<'t> {
    offset: usize,
    base: (LineCount<'t>, &'t Path),
    local: Option<(LineCount<'t>, &'t Path)>,
}

impl<'t> Places<'t> {
    fn side(&mut self, at: usize) -> (&mut LineCount<'t>, &'t Path, usize) {
        match &mut self.local {
            Some((lines, file)) if at >= self.offset => (lines, file, self.offset),
            Some(_) | None => (&mut self.base.0, self.base.1, 0),
        }
    }

    /// The line, from 1, of its own file.
    pub(crate) fn line_of(&mut self, at: usize) -> usize {
        let (lines, _, offset) = self.side(at);
        lines.line_of(at - offset)
    }

    pub(crate) fn fault(
        &mut self,
        span: Range<usize>,
        message: String,
        expected: Option<String>,
    ) -> Fault {
        let (lines, file, offset) = self.side(span.start);
        let span = span.start - offset..span.end.max(span.start) - offset;
        Fault::counted(lines, file, span, message, expected)
    }
}

/// Puts `over` on `table`; its places are moved by `offset`.
pub(crate) fn merge<'i>(table: &mut DeTable<'i>, over: DeTable<'i>, offset: usize) {
    for (key, value) in over {
        let name: &str = key.get_ref();
        let other_test = name == "ready"
            && table.get(name).is_some_and(|below| names_another_test(below, &value));
        let both_tables = table.get(name).is_some_and(|below| below.get_ref().is_table())
            && value.get_ref().is_table();
        if !both_tables || other_test {
            table.remove(name);
            table.insert(moved_key(key, offset), moved(value, offset));
        } else if let Some(DeValue::Table(below)) = table.get_mut(name).map(Spanned::get_mut)
            && let DeValue::Table(over) = value.into_inner()
        {
            merge(below, over, offset);
        }
    }
}

/// A test of another kind replaces one; beside each other they could not stand.
fn names_another_test(below: &Spanned<DeValue<'_>>, over: &Spanned<DeValue<'_>>) -> bool {
    let (DeValue::Table(below), DeValue::Table(over)) = (below.get_ref(), over.get_ref()) else {
        return false;
    };
    let kinds = crate::read::TESTS;
    kinds.iter().any(|kind| over.contains_key(*kind) && !below.contains_key(*kind))
}

fn moved_key<'i>(key: Spanned<DeString<'i>>, offset: usize) -> Spanned<DeString<'i>> {
    let span = key.span();
    Spanned::new(span.start + offset..span.end + offset, key.into_inner())
}

fn moved<'i>(value: Spanned<DeValue<'i>>, offset: usize) -> Spanned<DeValue<'i>> {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(
            table
                .into_iter()
                .map(|(key, value)| (moved_key(key, offset), moved(value, offset)))
                .collect(),
        ),
        DeValue::Array(elements) => {
            let mut array = DeArray::new();
            for element in elements {
                array.push(moved(element, offset));
            }
            DeValue::Array(array)
        }
        plain @ (DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)) => plain,
    };
    Spanned::new(span.start + offset..span.end + offset, value)
}
