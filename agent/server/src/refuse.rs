//! A refusal as an HTTP reply: `application/problem+json` (RFC 9457).
//!
//! Invariant: every refusal of a route goes through here, so that code, status and form can't
//! disagree.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use hearth_api::{Code, Problem};
use hearth_config::{Faults, LoadError};
use serde_json::json;

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Box<Problem>);

impl Refusal {
    /// A request that can't be understood.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Problem::new(Code::BadRequest, detail, "").into()
    }

    /// A fault of the agent's own.
    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Problem::new(Code::Internal, detail, "`hearth daemon logs` may tell more").into()
    }

    /// A request that came while the agent's state was being put away.
    pub(crate) fn stopping() -> Self {
        Problem::new(Code::Stopping, "the agent is shutting down", "try again in a moment").into()
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Missing { path } => {
                let words = format!("there is no {}", path.display());
                Problem::new(Code::NotFound, words, "`hearth init` writes one").into()
            }
            LoadError::Unreadable { .. } => {
                Problem::new(Code::BadConfig, error.to_string(), "").into()
            }
            LoadError::Faulty(faults) => faulty(&faults).into(),
        }
    }
}

fn faulty(faults: &Faults) -> Problem {
    Problem::new(
        Code::BadConfig,
        faults.to_string(),
        "nothing was changed; mend the file and try again",
    )
    .with_details(json!({ "faults": faults }))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut reply = Response::new(Body::from(body));
        *reply.status_mut() =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = HeaderValue::from_static("application/problem+json");
        reply.headers_mut().insert(header::CONTENT_TYPE, kind);
        reply
    }
}

/// The one of `known` that was probably meant: a third of the letters may be wrong, no more.
pub(crate) fn nearest<'k>(text: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let furthest = (text.chars().count() / 3).clamp(1, 4);
    known
        .map(|name| (distance(text, name), name))
        .filter(|(distance, _)| *distance <= furthest)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Letters to insert, drop or exchange to get from one to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let exchanged = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

/// Where services are looked for, in words. Empty: those of no project; `None`: everywhere.
pub(crate) fn place(project: Option<&str>) -> &str {
    match project {
        None => "any project that runs",
        Some("") => "no project: among what `hearth run` started outside of one",
        Some(path) => path,
    }
}

/// What a client has sent, fit to be repeated to it.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// 404 for a session that has ended, or never was.
pub(crate) fn no_such_session(id: &str) -> Refusal {
    let words = format!("there is no session `{}`: it has ended, or never was", shown(id));
    Problem::new(Code::NotFound, words, "`hearth sessions` shows those that live").into()
}

/// So many names stand in a hint; `details` has all.
const SHOWN: usize = 20;

/// 404 for a name that is no service there.
pub(crate) fn no_such_service(name: &str, place: &str, known: &[&str]) -> Refusal {
    let shown = shown(name);
    let listed = match known.len() {
        count if count > SHOWN => {
            format!("{} and {} more", known[..SHOWN].join(", "), count - SHOWN)
        }
        _ => known.join(", "),
    };
    let hint = match (nearest(name, known.iter().copied()), known) {
        (Some(near), _) => format!("did you mean `{near}`? there are: {listed}"),
        (None, []) => "there are no services".to_owned(),
        (None, _) => format!("there are: {listed}"),
    };
    let words = format!("there is no service `{shown}` in {place}");
    Problem::new(Code::NotFound, words, hint).with_details(json!({ "known": known })).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_guessed_and_a_far_fetched_name_is_not() {
        let known = ["db", "worker", "api"];
        assert_eq!(nearest("wroker", known.into_iter()), Some("worker"));
        assert_eq!(nearest("apii", known.into_iter()), Some("api"));
        assert_eq!(nearest("frontend", known.into_iter()), None);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn a_faulty_file_is_422_with_its_faults_and_their_drawing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("hearth.toml"), "[services.a]\nrun = 3\nbad = 1\n").unwrap();
        let Refusal(problem) = hearth_config::load(dir.path()).unwrap_err().into();
        assert_eq!((problem.status, problem.code), (422, Code::BadConfig));
        assert!(problem.detail.contains('^'), "{}", problem.detail);
        assert_eq!(problem.details["faults"].as_array().unwrap().len(), 2);
        assert!(problem.details["faults"][0]["line"].is_u64());
    }
}
