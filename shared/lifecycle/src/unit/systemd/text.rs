//! The grammar of unit files, as far as it is needed to know what one carries (systemd.syntax(7)).

use std::path::Path;

/// One assignment: section, key, value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
}

/// All assignments, in order. A line that is none is left out, as systemd does.
pub(super) fn entries(text: &str) -> Vec<Entry> {
    let (mut section, mut entries) = (String::new(), Vec::new());
    for line in logical_lines(text) {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            entries.push(Entry { section: section.clone(), key, value });
        }
    }
    entries
}

/// Lines that end in a backslash go on with the next one, comments in between left out.
fn logical_lines(text: &str) -> Vec<String> {
    let (mut lines, mut open): (Vec<String>, bool) = (Vec::new(), false);
    for line in text.lines() {
        let start = line.trim_start();
        if start.starts_with('#') || start.starts_with(';') {
            continue;
        }
        let (part, goes_on) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| open) {
            Some(last) => {
                last.push(' ');
                last.push_str(part);
            }
            None => lines.push(part.to_owned()),
        }
        open = goes_on;
    }
    lines
}

/// The words of a value: split at white space, quotes and escapes taken away; `None` where a quote
/// is not closed or an escape means nothing, for which systemd drops the line.
pub(super) fn words(value: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<Vec<u8>>, None);
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', _) => escape(&mut rest, word.get_or_insert_default())?,
            (_, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (_, None) if c.is_ascii_whitespace() => words.extend(word.take()),
            (_, Some(_) | None) => {
                let word = word.get_or_insert_default();
                word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    if quote.is_some() {
        return None;
    }
    words.extend(word);
    words.into_iter().map(|word| String::from_utf8(word).ok()).collect()
}

/// One escape, behind its backslash, as in C.
fn escape(rest: &mut std::str::Chars<'_>, word: &mut Vec<u8>) -> Option<()> {
    let plain = match rest.next()? {
        'a' => b'\x07',
        'b' => b'\x08',
        'f' => b'\x0c',
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => b'\x0b',
        's' => b' ',
        same @ ('\\' | '"' | '\'') => u8::try_from(same).ok()?,
        'x' => u8::try_from(number(rest, 2, 16, None)?).ok()?,
        digit @ '0'..='3' => u8::try_from(number(rest, 2, 8, digit.to_digit(8))?).ok()?,
        'u' => return push(word, number(rest, 4, 16, None)?),
        'U' => return push(word, number(rest, 8, 16, None)?),
        _ => return None,
    };
    word.push(plain);
    Some(())
}

fn push(word: &mut Vec<u8>, number: u32) -> Option<()> {
    let c = char::from_u32(number)?;
    word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

fn number(
    rest: &mut std::str::Chars<'_>,
    digits: usize,
    base: u32,
    begun: Option<u32>,
) -> Option<u32> {
    let mut number = begun.unwrap_or(0);
    for _ in 0..digits {
        number = number.checked_mul(base)?.checked_add(rest.next()?.to_digit(base)?)?;
    }
    Some(number)
}

/// With `%%` and `%h` replaced; any other specifier (systemd.unit(5)) stays as it is.
pub(super) fn specifiers(word: &str, home: &Path) -> String {
    let (mut out, mut rest) = (String::with_capacity(word.len()), word.chars());
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('%') => out.push('%'),
            Some('h') => out.push_str(&home.to_string_lossy()),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_have_their_section_and_go_over_lines() {
        let text =
            "# no\n[Service]\nA = 1\n\n; no\nB=x \\\n  # between\n  y\nnonsense\n[X-Pair]\nA=2\n";
        let entry = |section: &str, key: &str, value: &str| Entry {
            section: section.into(),
            key: key.into(),
            value: value.into(),
        };
        let found = entries(text);
        let value = found[1].value.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(value, "x y");
        assert_eq!(
            (&found[0], &found[2]),
            (&entry("Service", "A", "1"), &entry("X-Pair", "A", "2"))
        );
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn words_are_quoted_and_escaped_as_systemd_does() {
        let words = |value| words(value).map(|words| words.join("|"));
        assert_eq!(words("a  b").unwrap(), "a|b");
        assert_eq!(words(r#""A=1 2" 'B=3 "4"' C=5"#).unwrap(), r#"A=1 2|B=3 "4"|C=5"#);
        assert_eq!(words(r#"a\x20b \101 \u00e9 "q\"q" \s"#).unwrap(), "a b|A|é|q\"q| ");
        assert_eq!(words(r#"A="b c""#).unwrap(), "A=b c");
        assert_eq!(words("\"\"").unwrap(), "");
        assert_eq!((words("\"open"), words(r"\q"), words(r"\xzz")), (None, None, None));
    }

    #[test]
    fn only_what_is_written_by_us_is_expanded() {
        assert_eq!(specifiers("%h/a%%b/%t%", Path::new("/home/u")), "/home/u/a%b/%t%");
    }
}
