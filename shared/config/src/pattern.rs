//! Regular expressions of the file. They are compiled once here to find faults, and again by who
//! matches with them; both go through [`compile`], so that a pattern that was accepted can't fail
//! later, and none can eat the memory of the agent.

use regex::bytes::{Regex, RegexBuilder};

use crate::invalid::{Invalid, quoted};

/// Most bytes that one compiled pattern may take.
pub const SIZE_LIMIT: usize = 1 << 20;

/// Compiles a pattern of the `regex` crate for matching bytes: what a service writes need not be
/// UTF-8. Matching takes time linear in the text, whatever the pattern.
///
/// Errors: the syntax is wrong, or the compiled form is larger than [`SIZE_LIMIT`].
pub fn compile(pattern: &str) -> Result<Regex, Invalid> {
    RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).dfa_size_limit(SIZE_LIMIT).build().map_err(
        |error| {
            let why = match error {
                // The crate draws the pattern with a caret over several lines; the last one tells.
                regex::Error::Syntax(drawn) => {
                    let last = drawn.lines().last().unwrap_or_default();
                    last.strip_prefix("error: ").unwrap_or(last).to_owned()
                }
                regex::Error::CompiledTooBig(_) => {
                    format!("it compiles to more than {SIZE_LIMIT} bytes")
                }
                other => other.to_string(),
            };
            Invalid::new(
                format!("bad regex {}: {why}", quoted(pattern)),
                "a regular expression as the `regex` crate has it; single quotes spare the doubled \
                 backslashes: 'port \\d+'",
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_bytes_are_matched() {
        let ready = compile(r"(?i)listening on \S+:\d+").expect("a good pattern");
        assert!(ready.is_match(b"\xff Listening on localhost:80"));
    }

    #[test]
    fn bad_and_huge_patterns_are_refused() {
        let refusal = compile("(ready").expect_err("not closed");
        assert_eq!(refusal.message, "bad regex `(ready`: unclosed group");
        let refusal = compile(r"(\w{100}){100}{100}").expect_err("a bomb");
        assert!(refusal.message.contains("more than 1048576 bytes"), "{refusal}");
    }
}
