//! `POST /v1/leases`: these are brought up, and stay for as long as the lease lasts. Answered at once:
//! who wants to know when they are ready waits for that. `DELETE /v1/leases/ID`: it is over.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use hearth_api::{Code, LeaseReply, LeaseRequest, Problem};

use super::{Id, Routes, json, parse, up};
use crate::capture::Taken;
use crate::command::{Command, LeaseAsk};
use crate::refuse::{self, Refusal};

pub(super) async fn take(
    State(routes): State<Routes>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Refusal> {
    let LeaseRequest { session, project, services: names, env, umask, limits } = parse(&body)?;
    let session = routes.session(Some(session))?.ok_or_else(Refusal::stopping)?;
    let (project, file) = up::load(&project)?;
    let taken = Taken::of(env, umask, limits)?;
    let request = up::request_id(&headers)?;
    let ask = Box::new(LeaseAsk { session, project, file, names, taken, request });
    let id = routes.port.ask(|reply| Command::Lease(ask, reply)).await??;
    json(StatusCode::CREATED, &LeaseReply { id: id.to_string() })
}

pub(super) async fn give_back(
    State(routes): State<Routes>,
    Id(id): Id,
) -> Result<Response<Body>, Refusal> {
    let lease: Arc<str> = id.as_str().into();
    match routes.port.ask(|reply| Command::GiveBack(lease, reply)).await? {
        true => json(StatusCode::OK, &LeaseReply { id }),
        false => {
            let words = format!("there is no lease `{}`", refuse::shown(&id));
            let hint = "it was given back, or its session has ended; `hearth sessions` shows all";
            Err(Problem::new(Code::NotFound, words, hint).into())
        }
    }
}
