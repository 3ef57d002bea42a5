//! All findings, for people.

use crate::args::Context;
use crate::finding::{Finding, Level};
use crate::{output, table};

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
    let mut lines = vec![vec![level, (finding.name.to_string(), ""), (first, "")]];
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
