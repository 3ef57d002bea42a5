//! `/v1/sessions`: who is registered, and registering; `/v1/sessions/ID`: one of them, and its end.
//!
//! Invariant: whose session it is the kernel says, by the connection; a client is asked for words.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{Response, StatusCode};
use hearth_api::{Code, Problem, SessionRequest, SessionRow, Sessions};
use hearth_lifecycle::sessions::{Ask, RegisterError, Session};
use hearth_process::Peer;

use super::{Id, Routes, json, parse, query};
use crate::command::Command;
use crate::refuse::{self, Refusal};

type AtTheOtherEnd = Option<Extension<Arc<Peer>>>;

/// `GET /v1/sessions`, with `mine=true` those that the caller is in.
pub(super) async fn list(
    State(routes): State<Routes>,
    peer: AtTheOtherEnd,
    RawQuery(text): RawQuery,
) -> Result<Response<Body>, Refusal> {
    let sessions = match mine(text.as_deref())? {
        true => routes.sessions.mine(&*known(peer)?),
        false => routes.sessions.list(),
    };
    json(StatusCode::OK, &Sessions { sessions: rows(&routes, sessions).await? })
}

/// `POST /v1/sessions`: 201, or 200 where that process is a session already.
pub(super) async fn register(
    State(routes): State<Routes>,
    peer: AtTheOtherEnd,
    body: Bytes,
) -> Result<Response<Body>, Refusal> {
    // Nothing has to be said.
    let body = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    let SessionRequest { pid, kind, name, cwd } = parse(&body)?;
    let ask = Ask { pid, kind, name, cwd: cwd.map(PathBuf::from) };
    let (session, known) =
        routes.sessions.register(&*known(peer)?, ask).map_err(|error| refused(&error))?;
    let status = if known { StatusCode::OK } else { StatusCode::CREATED };
    json(status, &row(&routes, session).await?)
}

/// `GET /v1/sessions/ID`.
pub(super) async fn one(
    State(routes): State<Routes>,
    Id(id): Id,
) -> Result<Response<Body>, Refusal> {
    let session = routes.sessions.get(&id).ok_or_else(|| refuse::no_such_session(&id))?;
    json(StatusCode::OK, &row(&routes, session).await?)
}

/// `DELETE /v1/sessions/ID`: answered by what it was, when its leases are given back.
pub(super) async fn end(
    State(routes): State<Routes>,
    Id(id): Id,
) -> Result<Response<Body>, Refusal> {
    let missing = || refuse::no_such_session(&id);
    let session = routes.sessions.get(&id).ok_or_else(missing)?;
    let row = row(&routes, session).await?;
    routes.sessions.end(&id).ok_or_else(missing)?;
    // Whatever it is asked, the owner hears first of what has ended.
    routes.port.ask(Command::Pulse).await?;
    json(StatusCode::OK, &row)
}

async fn rows(routes: &Routes, sessions: Vec<Session>) -> Result<Vec<SessionRow>, Refusal> {
    routes.port.ask(|reply| Command::Sessions(sessions, reply)).await
}

async fn row(routes: &Routes, session: Session) -> Result<SessionRow, Refusal> {
    let mut rows = rows(routes, vec![session]).await?;
    rows.pop().ok_or_else(|| Refusal::internal("a session was lost on its way"))
}

fn mine(text: Option<&str>) -> Result<bool, Refusal> {
    match &query::pairs(text, &["mine"])?[..] {
        [] => Ok(false),
        [(name, value)] => query::truth(name, value),
        _ => Err(query::once("mine")),
    }
}

fn known(peer: AtTheOtherEnd) -> Result<Arc<Peer>, Refusal> {
    let missing = || Refusal::internal("the kernel does not tell who is at the other end");
    peer.map(|Extension(peer)| peer).ok_or_else(missing)
}

fn refused(error: &RegisterError) -> Refusal {
    let (code, hint) = match error {
        RegisterError::Bad(_) => (Code::BadRequest, ""),
        RegisterError::Forbidden(_) => (
            Code::Forbidden,
            "a process registers itself, or one that it was started by (a shell, an editor)",
        ),
        RegisterError::Gone(_) => (Code::Forbidden, "a session lives as long as its process"),
    };
    Problem::new(code, error.to_string(), hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mine_is_true_or_false_and_stands_once() {
        assert!(!mine(None).unwrap() && mine(Some("mine=true")).unwrap());
        for text in ["mine=1", "mine", "mine=true&mine=true", "yours=true"] {
            assert!(mine(Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn who_may_not_is_403_and_what_is_no_pid_is_400() {
        let status = |error| refused(&error).0.status;
        assert_eq!(status(RegisterError::Bad(String::new())), 400);
        assert_eq!(status(RegisterError::Forbidden(String::new())), 403);
        assert_eq!(status(RegisterError::Gone(String::new())), 403);
    }
}
