//! Readers of single values. Each notes its own fault, which says what was found and what was
//! expected, and returns `None`.

use std::time::Duration;

use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::{Field, Found};
use crate::invalid::{Invalid, did_you_mean, quoted};
use crate::project::Run;
use crate::{duration, pattern, size};

const COMMAND: &str = Run::EXPECTED;

pub(crate) fn table<'t, 'i>(field: &Field<'t, 'i>, found: &mut Found) -> Option<&'t DeTable<'i>> {
    let table = field.value.get_ref().as_table();
    if table.is_none() {
        field.wrong_type("a table", found);
    }
    table
}

pub(crate) fn list<'t, 'i>(
    field: &Field<'t, 'i>,
    expected: &str,
    found: &mut Found,
) -> Option<&'t DeArray<'i>> {
    let list = field.value.get_ref().as_array();
    if list.is_none() {
        field.wrong_type(expected, found);
    }
    list
}

/// The elements of a list, or the value itself where it is none.
pub(crate) fn one_or_list<'t, 'i>(field: &Field<'t, 'i>) -> Vec<Field<'t, 'i>> {
    match field.value.get_ref().as_array() {
        Some(list) => list.iter().map(|value| field.element(value)).collect(),
        None => vec![field.element(field.value)],
    }
}

pub(crate) fn boolean(field: &Field<'_, '_>, found: &mut Found) -> Option<bool> {
    let value = field.value.get_ref().as_bool();
    if value.is_none() {
        field.wrong_type("true or false", found);
    }
    value
}

/// A string without NUL: none can be handed to the system.
pub(crate) fn string<'t>(
    field: &Field<'t, '_>,
    expected: &str,
    found: &mut Found,
) -> Option<&'t str> {
    let Some(text) = field.value.get_ref().as_str() else {
        field.wrong_type(expected, found);
        return None;
    };
    if text.contains('\0') {
        found.fault(field.span(), format!("{} holds a NUL", quoted(field.key)), expected);
        return None;
    }
    Some(text)
}

/// The number itself, where 128 bits hold it.
pub(crate) fn integer(integer: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A count, at least 1.
pub(crate) fn count(field: &Field<'_, '_>, found: &mut Found) -> Option<u32> {
    number(field, 1, "an integer, at least 1", found)
}

/// A limit, which 0 lifts.
pub(crate) fn limit(field: &Field<'_, '_>, found: &mut Found) -> Option<u32> {
    number(field, 0, "an integer, 0 for no limit", found)
}

fn number(
    field: &Field<'_, '_>,
    least: u32,
    expected: &'static str,
    found: &mut Found,
) -> Option<u32> {
    let DeValue::Integer(number) = field.value.get_ref() else {
        field.wrong_type(expected, found);
        return None;
    };
    let count = integer(number).and_then(|n| u32::try_from(n).ok()).filter(|n| *n >= least);
    if count.is_none() {
        let message = format!("{} is out of range: `{number}`", quoted(field.key));
        found.fault(field.span(), message, expected);
    }
    count
}

pub(crate) fn duration(field: &Field<'_, '_>, found: &mut Found) -> Option<Duration> {
    let text = string(field, "a duration in quotes: \"500ms\", \"2s\", \"1m30s\"", found)?;
    found.check(field.span(), duration::parse(text))
}

/// A duration that must not be 0, because something would be done without pause or end at once.
pub(crate) fn positive(field: &Field<'_, '_>, found: &mut Found) -> Option<Duration> {
    let duration = duration(field, found)?;
    if duration.is_zero() {
        let message = format!("{} must be more than 0", quoted(field.key));
        found.fault(field.span(), message, "a duration from `1ms`");
        return None;
    }
    Some(duration)
}

pub(crate) fn size(field: &Field<'_, '_>, found: &mut Found) -> Option<u64> {
    let text = string(field, "a size in quotes: \"10MB\", \"64KiB\"", found)?;
    found.check(field.span(), size::parse(text))
}

pub(crate) fn pattern(field: &Field<'_, '_>, found: &mut Found) -> Option<String> {
    let text = string(field, "a regular expression in quotes", found)?;
    found.check(field.span(), pattern::compile(text)).map(|_| text.to_owned())
}

/// One word of a few.
pub(crate) fn one_of<T: Copy>(
    field: &Field<'_, '_>,
    words: &[(&'static str, T)],
    found: &mut Found,
) -> Option<T> {
    let names: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let expected = names.join(" or ");
    let text = string(field, &expected, found)?;
    let value = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if value.is_none() {
        let guess = did_you_mean(text, words.iter().map(|(word, _)| *word));
        let message = format!("bad value {} for {}{guess}", quoted(text), quoted(field.key));
        found.fault(field.span(), message, expected);
    }
    value
}

/// `run`, and the command of an `exec` test.
pub(crate) fn command(field: &Field<'_, '_>, found: &mut Found) -> Option<Run> {
    let empty = || Invalid::new(format!("{} is empty", quoted(field.key)), COMMAND);
    match field.value.get_ref() {
        DeValue::String(_) => {
            let line = string(field, COMMAND, found)?;
            let run = if line.trim().is_empty() { Err(empty()) } else { Ok(line.to_owned()) };
            found.check(field.span(), run).map(Run::Shell)
        }
        DeValue::Array(elements) => {
            let words: Vec<Option<&str>> = elements
                .iter()
                .map(|word| string(&field.element(word), "a list of strings", found))
                .collect();
            let words: Vec<String> = words
                .into_iter()
                .collect::<Option<Vec<&str>>>()?
                .into_iter()
                .map(Into::into)
                .collect();
            let run = if words.first().is_none_or(|program| program.is_empty()) {
                Err(empty())
            } else {
                Ok(Run::List(words))
            };
            found.check(field.span(), run)
        }
        _ => {
            field.wrong_type(COMMAND, found);
            None
        }
    }
}
