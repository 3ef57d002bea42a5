//! The `.env` format: lines of `NAME=value`.
//!
//! Invariant: what a file says depends on the file alone. dotenvy, which most use, puts variables
//! of the *reading* process into it, so that the CLI and the agent would read two different files
//! out of one; it takes `$FOO_BAR` for `$FOO` and knows no line numbers. Formats differ between
//! programs where they are clever, so this one is the part that they agree on:
//!
//! No message holds a value, for many are secrets. What it reads:
//!
//! - `NAME=value`, `export NAME=value`, blanks around `=` allowed; empty lines and `# ...`.
//! - Without quotes: up to the end of the line or ` #`, without blanks at the end.
//! - `'...'`: as it is. `"..."`: `\n`, `\r`, `\t`, `\"`, `\\`, `\$` mean what they do elsewhere.
//!   Both may go over several lines.
//! - `${NAME}`, but in `'...'`, is what a line above said. A name that none said is a fault, and not
//!   an empty text; any other `$` is itself.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::invalid::quoted;

/// A line that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) expected: &'static str,
}

const CLOSING: &str = "the closing quote";
const LINE: &str = "`NAME=value`, or a comment after `#`";

/// Reads a file over what others said before it.
///
/// Errors: every line that can't be read; names from it are missing then.
pub(crate) fn read(text: &str, env: &mut BTreeMap<String, String>) -> Result<(), Vec<Malformed>> {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut lines = Lines { text, at: start };
    let mut malformed = Vec::new();
    while lines.at < text.len() {
        match lines.assignment(env) {
            Ok(Some((name, value))) => {
                env.insert(name.to_owned(), value);
            }
            Ok(None) => {}
            Err(fault) => {
                let open = fault.expected == CLOSING;
                malformed.push(fault);
                if open {
                    // What follows belongs to it, or not: nobody can tell.
                    break;
                }
                lines.skip_line();
            }
        }
    }
    if malformed.is_empty() { Ok(()) } else { Err(malformed) }
}

struct Lines<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lines<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// What is left of the line, without its end.
    fn line(&self) -> &'t str {
        let line = self.rest().split('\n').next().unwrap_or_default();
        line.strip_suffix('\r').unwrap_or(line)
    }

    fn skip_line(&mut self) {
        self.at = self.rest().find('\n').map_or(self.text.len(), |end| self.at + end + 1);
    }

    fn skip_blanks(&mut self) {
        let line = self.line();
        self.at += line.len() - line.trim_start_matches([' ', '\t']).len();
    }

    fn malformed(&self, message: impl Into<String>, expected: &'static str) -> Malformed {
        let end = self.at + self.line().trim_end().len().max(1);
        Malformed { span: self.at..end, message: message.into(), expected }
    }

    /// The next line, or lines.
    fn assignment(
        &mut self,
        env: &BTreeMap<String, String>,
    ) -> Result<Option<(&'t str, String)>, Malformed> {
        self.skip_blanks();
        if self.line().is_empty() || self.line().starts_with('#') {
            self.skip_line();
            return Ok(None);
        }
        let mut name = self.name()?;
        self.skip_blanks();
        if name == "export" && !self.line().starts_with('=') {
            name = self.name()?;
            self.skip_blanks();
        }
        if !self.line().starts_with('=') {
            return Err(self.malformed("no `=` after the name", LINE));
        }
        self.at += 1;
        self.skip_blanks();
        let value = match self.line().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted_value(quote, env)?,
            _ => self.bare_value(env)?,
        };
        self.skip_line();
        Ok(Some((name, value)))
    }

    fn name(&mut self) -> Result<&'t str, Malformed> {
        let line = self.line();
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let length = line.find(|c| !word(c)).unwrap_or(line.len());
        let name = &line[..length];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.malformed("no name of a variable", LINE));
        }
        self.at += length;
        Ok(name)
    }

    fn bare_value(&mut self, env: &BTreeMap<String, String>) -> Result<String, Malformed> {
        let line = self.line();
        let comment = line
            .match_indices('#')
            .map(|(at, _)| at)
            .find(|at| *at == 0 || line[..*at].ends_with([' ', '\t']));
        let end = self.at + line[..comment.unwrap_or(line.len())].trim_end().len();
        let mut value = String::new();
        while self.at < end {
            self.put_next(&mut value, env)?;
        }
        Ok(value)
    }

    /// From the quote to its fellow, and nothing but a comment after it.
    fn quoted_value(
        &mut self,
        quote: char,
        env: &BTreeMap<String, String>,
    ) -> Result<String, Malformed> {
        let open =
            self.malformed(format!("{} without its end", quoted(&quote.to_string())), CLOSING);
        self.at += 1;
        let mut value = String::new();
        loop {
            let escaped = (quote == '"').then_some(self.rest()).and_then(escape);
            match (self.rest().chars().next(), escaped) {
                (None, _) => return Err(open),
                (Some(c), _) if c == quote => break,
                (_, Some(c)) => {
                    value.push(c);
                    self.at += 2;
                }
                (Some(c), None) if quote == '\'' => {
                    value.push(c);
                    self.at += c.len_utf8();
                }
                (Some(_), None) => self.put_next(&mut value, env)?,
            }
        }
        self.at += 1;
        self.skip_blanks();
        if !self.line().is_empty() && !self.line().starts_with('#') {
            return Err(self.malformed("text after the closing quote", "the end of the line"));
        }
        Ok(value)
    }

    /// One character, or what `${NAME}` stands for.
    fn put_next(
        &mut self,
        value: &mut String,
        env: &BTreeMap<String, String>,
    ) -> Result<(), Malformed> {
        const NAMED: &str = "the name of a variable of a line above; to keep a `$`, single quotes";
        let Some(inner) = self.rest().strip_prefix("${") else {
            let next = self.rest().chars().next();
            value.extend(next);
            self.at += next.map_or(0, char::len_utf8);
            return Ok(());
        };
        let inner = inner.split('\n').next().unwrap_or_default();
        let Some((name, _)) = inner.split_once('}') else {
            return Err(self.malformed("`${` without `}`", NAMED));
        };
        let Some(said) = env.get(name) else {
            let length = "${}".len() + name.len();
            return Err(Malformed {
                span: self.at..self.at + length,
                message: format!("{} is not set above", quoted(&format!("${{{name}}}"))),
                expected: NAMED,
            });
        };
        *value += said;
        self.at += "${}".len() + name.len();
        Ok(())
    }
}

/// What a backslash and its follower mean; both are one byte.
fn escape(rest: &str) -> Option<char> {
    match rest.strip_prefix('\\')?.chars().next()? {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        c @ ('"' | '\\' | '$') => Some(c),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<(String, String)> {
        let mut env = BTreeMap::new();
        read(text, &mut env).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
        env.into_iter().collect()
    }

    #[track_caller]
    fn one(text: &str, value: &str) {
        assert_eq!(said(text), [("A".to_owned(), value.to_owned())], "{text}");
    }

    #[test]
    fn lines_as_people_write_them() {
        for text in [
            "A=x",
            "A=x\n",
            "\u{feff}A=x\r\n",
            "export A=x",
            " \tA = x \t",
            "# c\n\nA=x # c",
            "A=\nA=x",
        ] {
            one(text, "x");
        }
        for (text, value) in [
            ("A=", ""),
            ("A= # c", ""),
            ("A=#c", ""),
            ("A=x#c", "x#c"),
            ("A=x y  z", "x y  z"),
            ("A=it's", "it's"),
            ("A=a=b", "a=b"),
            ("A=$5$B", "$5$B"),
            (r"A=a\nb", r"a\nb"),
            ("A='a # \\n $ ${B} \"'", "a # \\n $ ${B} \""),
            ("A=é", "é"),
        ] {
            one(text, value);
        }
        one(r#"A="a\n\"\\\$\x" # c"#, "a\n\"\\$\\x");
        one("A=\"a\nb\r\nc\"\n", "a\nb\r\nc");
        one("A='a\nb'", "a\nb");
        assert_eq!(said("export=1\nA.b-c=2").len(), 2);
    }

    #[test]
    fn a_name_stands_for_what_a_line_above_said() {
        let text = "A=1\nB_C=\"x${A}\"\nD=${B_C}y\nE='${A}'\nF=\\${A}";
        let values: Vec<String> = said(text).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["1", "x1", "x1y", "${A}", "\\1"]);
    }

    #[test]
    fn what_is_no_line_is_told_with_its_place() {
        for (text, at, why) in [
            ("A", 1, "no `=` after the name"),
            ("=x", 0, "no name"),
            ("1A=x", 0, "no name"),
            ("export", 6, "no name of a variable"),
            ("export A", 8, "no `=` after the name"),
            ("A B=x", 2, "no `=` after the name"),
            ("A=\"x", 2, "without its end"),
            ("A='x\nB=1", 2, "without its end"),
            ("A=\"x\" y", 6, "text after the closing quote"),
            ("A=${B}", 2, "`${B}` is not set above"),
            ("A=x${B", 3, "`${` without `}`"),
        ] {
            let faults = read(text, &mut BTreeMap::new()).expect_err(text);
            assert_eq!(faults[0].span.start, at, "{text}: {faults:?}");
            assert!(faults[0].message.contains(why), "{text}: {faults:?}");
        }
        let mut env = BTreeMap::new();
        assert_eq!(read("?\nA=1\n!\n", &mut env).expect_err("two").len(), 2);
        assert_eq!(env.len(), 1);
    }
}
