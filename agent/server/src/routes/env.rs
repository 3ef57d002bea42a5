//! `POST /v1/env`: the environment that a service runs with, or would. It is an answer to whoever may
//! read the socket, and stands on no disk.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Response, StatusCode};
use hearth_api::{Code, EnvRequest, Problem};
use hearth_process::facts;
use tokio::task::spawn_blocking;

use super::{Routes, json, parse, query, up};
use crate::capture::{self, Capture};
use crate::command::{Command, Env};
use crate::execute::spawn;
use crate::owner::Environment;
use crate::refuse::Refusal;

pub(super) async fn answer(
    State(routes): State<Routes>,
    body: Bytes,
) -> Result<Response<Body>, Refusal> {
    let EnvRequest { project, service, env } = parse(&body)?;
    let path = project.unwrap_or_default();
    let (project, file) = match up::load(&path) {
        Ok((project, file)) => (project, Ok(file)),
        Err(refusal) => (query::project(&path)?, Err(refusal)),
    };
    let env = capture::variables(env)?;
    let capture = Capture { env, umask: 0, limits: BTreeMap::new() };
    let env = Env { project, file, service, capture };
    let Environment { captured, user, over } =
        routes.port.ask(|reply| Command::Env(env, reply)).await??;
    let user = match user {
        None => None,
        Some(name) => {
            let words = format!("`user = \"{name}\"`");
            let found = spawn_blocking(move || facts::user_by_name(&name)).await;
            let found = found.map_err(|error| Refusal::internal(error.to_string()))?;
            let refuse = |error| Problem::new(Code::BadConfig, format!("{words}: {error}"), "");
            Some(found.map_err(refuse)?)
        }
    };
    let euid = rustix::process::geteuid().as_raw();
    let user = user.filter(|user| user.uid != euid);
    json(StatusCode::OK, &spawn::environment(&captured, user.as_ref(), &over))
}
