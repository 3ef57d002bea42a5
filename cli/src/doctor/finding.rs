//! One finding: what was looked at, how it is, and what to do about it.
//!
//! Kept true here: who is told of something wrong is told what to type next.

use serde::Serialize;

use crate::args::Context;
use crate::{output, table};

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
    pub name: &'static str,
    /// How it is.
    pub level: Level,
    /// In words; may have several lines.
    pub message: String,
    /// What to do; empty where it is in order.
    pub remedy: String,
}

impl Finding {
    /// In order.
    pub fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, message: message.into(), remedy: String::new() }
    }

    /// Works, and may surprise.
    pub fn warning(
        name: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { name, level: Level::Warning, message: message.into(), remedy: remedy.into() }
    }

    /// Does not work.
    pub fn fault(
        name: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { name, level: Level::Fault, message: message.into(), remedy: remedy.into() }
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
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }

    fn paint(self) -> &'static str {
        match self {
            Self::Ok => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Fault => "\x1b[31m",
        }
    }
}

/// A line each, the remedy below, and the sum. With `-q`: only what is not in order, and no sum.
pub fn told(context: &Context, findings: &[Finding]) -> String {
    let shown = findings.iter().filter(|it| !context.quiet || it.level != Level::Ok);
    let lines: Vec<_> = shown.flat_map(lines).collect();
    let mut text = table::aligned(&lines, output::color(context));
    if !context.quiet {
        text.push_str(&sum(findings));
    }
    text
}

fn lines(finding: &Finding) -> Vec<Vec<(String, &'static str)>> {
    let message = anstream::adapter::strip_str(&finding.message).to_string();
    let empty = || (String::new(), "");
    let mut parts = message.lines();
    let first = parts.next().unwrap_or_default().to_owned();
    let level = (finding.level.word().to_owned(), finding.level.paint());
    let mut lines = vec![vec![level, (finding.name.to_owned(), ""), (first, "")]];
    lines.extend(parts.map(|part| vec![empty(), empty(), (part.to_owned(), "")]));
    if !finding.remedy.is_empty() {
        lines.push(vec![empty(), empty(), (format!("-> {}", finding.remedy), "")]);
    }
    lines
}

fn sum(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let some = |count: usize, one: &str, more: &str| match count {
        0 => format!("no {more}"),
        1 => format!("1 {one}"),
        many => format!("{many} {more}"),
    };
    format!(
        "{}, {}, {} in order\n",
        some(count(Level::Fault), "fault", "faults"),
        some(count(Level::Warning), "warning", "warnings"),
        count(Level::Ok)
    )
}
