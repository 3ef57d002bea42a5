//! A table whose keys are asked for one by one. What nobody has asked for when it is finished is
//! unknown, so the list of known keys and the code that reads them can't drift apart.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Found;
use crate::invalid::{did_you_mean, quoted};

/// A value with the key under which it stands; elements of a list have the list's key.
pub(crate) struct Field<'t, 'i> {
    pub(crate) key: &'t str,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: &'t Spanned<DeValue<'i>>,
}

impl<'t, 'i> Field<'t, 'i> {
    /// Where the value stands.
    pub(crate) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// An element of this value, which is a list.
    pub(crate) fn element(&self, value: &'t Spanned<DeValue<'i>>) -> Self {
        Self { key: self.key, key_span: self.key_span.clone(), value }
    }

    /// The value is not of the right kind.
    pub(crate) fn wrong_type(&self, expected: &str, found: &mut Found) {
        let what = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        // The span of a table that headers or dotted keys have made is not where the key is read.
        let span = match self.value.get_ref() {
            DeValue::Table(_) | DeValue::Array(_) if self.span().start < self.key_span.start => {
                self.key_span.clone()
            }
            _ => self.span(),
        };
        found.fault(span, format!("wrong type for {}: {what}", quoted(self.key)), expected);
    }
}

/// The keys of one table.
pub(crate) struct Fields<'t, 'i> {
    table: &'t DeTable<'i>,
    place: &'static str,
    asked: Vec<&'static str>,
}

impl<'t, 'i> Fields<'t, 'i> {
    /// `place` follows on "unknown key `x`", such as " of `stop`"; empty at the top.
    pub(crate) fn of(table: &'t DeTable<'i>, place: &'static str) -> Self {
        Self { table, place, asked: Vec::new() }
    }

    /// The value of a key.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<Field<'t, 'i>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.look_up(key)
    }

    fn look_up(&self, key: &str) -> Option<Field<'t, 'i>> {
        let (name, value) = self.table.get_key_value(key)?;
        Some(Field { key: name.get_ref(), key_span: name.span(), value })
    }

    /// All keys have been asked for; any other is unknown.
    pub(crate) fn finish(self, found: &mut Found) {
        for (name, value) in self.table {
            let key: &str = name.get_ref();
            if self.asked.contains(&key) {
                continue;
            }
            let known = || self.asked.iter().copied();
            let message =
                format!("unknown key {}{}{}", quoted(key), self.place, did_you_mean(key, known()));
            let forgot_services = self.place.is_empty()
                && value.get_ref().as_table().is_some_and(|table| table.contains_key("run"));
            let expected = if forgot_services {
                format!("a service stands under `[services.{key}]`")
            } else {
                format!("one of {}", self.asked.join(", "))
            };
            found.fault(name.span(), message, expected);
        }
    }
}
