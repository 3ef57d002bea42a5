//! Queries, strictly: a name that is not known is refused, as an unknown field of a body is.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use crate::refuse::Refusal;

/// A name and its value, decoded.
pub(super) type Pair<'q> = (Cow<'q, str>, Cow<'q, str>);

/// The pairs of a query, each with a name of `known`.
pub(super) fn pairs<'q>(query: Option<&'q str>, known: &[&str]) -> Result<Vec<Pair<'q>>, Refusal> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs
        .map(|(name, value)| match known.contains(&&*name) {
            true => Ok((name, value)),
            false => {
                let words = format!(
                    "unknown field `{}`, expected one of {}",
                    name.escape_debug(),
                    known.join(", ")
                );
                Err(Refusal::bad_request(words))
            }
        })
        .collect()
}

/// The one value of `project`, where there is one; the only name that is known.
pub(super) fn project_only(query: Option<&str>) -> Result<Option<Arc<str>>, Refusal> {
    let pairs = pairs(query, &["project"])?;
    match &pairs[..] {
        [] => Ok(None),
        [(_, value)] => project(value).map(Some),
        _ => Err(once("project")),
    }
}

/// The same, and whether `measure=true` stands there.
pub(super) fn project_and_measure(
    query: Option<&str>,
) -> Result<(Option<Arc<str>>, bool), Refusal> {
    let (mut named, mut measured) = (None, None);
    for (name, value) in pairs(query, &["project", "measure"])? {
        let twice = match &*name {
            "project" => named.replace(project(&value)?).is_some(),
            _ => measured.replace(truth(&name, &value)?).is_some(),
        };
        if twice {
            return Err(once(&name));
        }
    }
    Ok((named, measured.unwrap_or(false)))
}

/// Whether `words=true` stands there; the only name that is known.
pub(super) fn words_only(query: Option<&str>) -> Result<bool, Refusal> {
    match &pairs(query, &["words"])?[..] {
        [] => Ok(false),
        [(name, value)] => truth(name, value),
        _ => Err(once("words")),
    }
}

/// A value that is true or false.
pub(super) fn truth(name: &str, value: &str) -> Result<bool, Refusal> {
    value.parse().map_err(|_| {
        let shown = value.escape_debug();
        Refusal::bad_request(format!("`{name}` must be true or false, not `{shown}`"))
    })
}

/// It stands there twice.
pub(super) fn once(name: &str) -> Refusal {
    Refusal::bad_request(format!("`{name}` may stand once"))
}

/// A project's identity: its canonical path. One whose directory is gone keeps the path it had. The
/// empty one is that of services of no project.
pub(super) fn project(text: &str) -> Result<Arc<str>, Refusal> {
    if text.is_empty() {
        return Ok(Arc::from(text));
    }
    if !text.starts_with('/') || text.contains('\0') {
        return Err(Refusal::bad_request("`project` must be an absolute path"));
    }
    let canonical = Path::new(text).canonicalize();
    let canonical = canonical.ok().and_then(|path| path.into_os_string().into_string().ok());
    Ok(canonical.map_or_else(|| Arc::from(text), Arc::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_known_and_relative_projects_are_refused() {
        assert!(project_only(Some("projekt=/a")).is_err());
        assert!(project_only(Some("project=a")).is_err());
        assert!(project_only(Some("project=/a&project=/b")).is_err());
        for query in ["measure=yes", "measure=true&measure=true", "project=/a&project=/b", "x=1"] {
            assert!(project_and_measure(Some(query)).is_err(), "{query}");
        }
        let both = project_and_measure(Some("measure=true&project=%2Fno")).unwrap();
        assert_eq!((both.0.as_deref(), both.1), (Some("/no"), true));
        assert_eq!(project_and_measure(None).unwrap(), (None, false));
        assert_eq!(project_only(None).unwrap(), None);
        assert_eq!(
            (words_only(None).unwrap(), words_only(Some("words=true")).unwrap()),
            (false, true)
        );
        for query in ["words=1", "words=true&words=true", "stay=true", "word=true"] {
            assert!(words_only(Some(query)).is_err(), "{query}");
        }
        assert_eq!(project_only(Some("project=")).unwrap().as_deref(), Some(""));
        let gone = project_only(Some("project=%2Fno%20such%2Fdir")).unwrap();
        assert_eq!(gone.as_deref(), Some("/no such/dir"));
    }
}
