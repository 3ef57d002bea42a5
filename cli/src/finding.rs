//! One finding, of `doctor` or an install: what was looked at, how it is, and what to do about it.
//!
//! Kept true here: who is told of something wrong is told what to type next.

use std::borrow::Cow;

use serde::Serialize;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// In order, or of no matter.
    Ok,
    /// Everything works, and something may go otherwise than one thinks, now or later.
    Warning,
    /// Something does not work.
    Fault,
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Of what; stable.
    pub name: Cow<'static, str>,
    /// How it is.
    pub level: Level,
    /// In words; may have several lines.
    pub message: String,
    /// What to do; empty where it is in order.
    pub remedy: String,
}

impl Finding {
    /// In order.
    pub fn ok(name: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { name: name.into(), level: Level::Ok, message: message.into(), remedy: String::new() }
    }

    /// Works, and may surprise.
    pub fn warning(
        name: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warning, remedy: remedy.into(), ..Self::ok(name, message) }
    }

    /// Does not work.
    pub fn fault(
        name: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: Level::Fault, remedy: remedy.into(), ..Self::ok(name, message) }
    }

    /// In order where nothing is in `wrong`; else a warning of all of it. Each is what, and the remedy.
    pub fn all(name: &'static str, wrong: Vec<(String, String)>, else_ok: String) -> Self {
        if wrong.is_empty() {
            return Self::ok(name, else_ok);
        }
        let (messages, remedies): (Vec<_>, Vec<_>) = wrong.into_iter().unzip();
        Self::warning(name, messages.join("\n"), remedies.join("; "))
    }
}

impl Level {
    /// As in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }

    /// Its colour on a terminal.
    pub fn paint(self) -> &'static str {
        match self {
            Self::Ok => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Fault => "\x1b[31m",
        }
    }
}
