//! The refusal of one text, wherever it came from: a value of the file or an argument of a verb.
//! It carries what was expected, because a refusal without it sends people to the manual.

/// A text that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; expected {expected}")]
pub struct Invalid {
    /// What is wrong, naming the text.
    pub message: String,
    /// What would have been right, with examples; reads on after "expected".
    pub expected: String,
}

impl Invalid {
    pub(crate) fn new(message: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { message: message.into(), expected: expected.into() }
    }
}

/// A text of the file, or of a command line, in backticks, cut where it is long, with control
/// characters spelt out: what stands in a file must not steer the terminal that shows its faults.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut out = String::from("`");
    for (n, c) in text.chars().enumerate() {
        if n == LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out.push('`');
    out
}

/// The one of `known` that `text` was probably meant to be, by edit distance. At most a third of
/// the letters may be wrong: a far-fetched guess is worse than none.
pub fn nearest<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let length = text.chars().count();
    let furthest = (length / 3).clamp(1, 4);
    known
        .into_iter()
        // Cheap, and no name that is so much longer or shorter can be near.
        .filter(|name| name.chars().count().abs_diff(length) <= furthest)
        .map(|name| (strsim::damerau_levenshtein(text, name), name))
        .filter(|(distance, _)| *distance <= furthest)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `; did you mean `x`?` where there is a near one, else nothing; to stand at a message's end.
pub(crate) fn did_you_mean<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    match nearest(text, known) {
        Some(name) => format!("; did you mean {}?", quoted(name)),
        None => String::new(),
    }
}
