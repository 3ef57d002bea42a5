//! Which of two versions is older.

/// By the three numbers of each; what can't be read is not older.
///
/// ```
/// assert!(hearth_lifecycle::is_older("0.9.0", "0.10.0"));
/// assert!(!hearth_lifecycle::is_older("unknown", "0.1.0"));
/// ```
pub fn is_older(one: &str, other: &str) -> bool {
    if one == other {
        return false;
    }
    let numbers = |text: &str| {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        core.split('.').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>()
    };
    match (numbers(one), numbers(other)) {
        (Some(one), Some(other)) => one < other,
        (_, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(is_older("0.9.0", "0.10.0"));
        assert!(!is_older("0.10.0", "0.9.0"));
        assert!(!is_older("0.1.0", "0.1.0"));
        assert!(!is_older("unknown", "0.1.0"));
    }
}
