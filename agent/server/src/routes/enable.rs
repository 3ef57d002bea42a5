//! `POST /v1/enable`: what is up again after a boot, and what is no longer.
//!
//! Kept true here: what an agent would refuse to bring up unasked is refused now, while somebody is
//! there to read it.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Response, StatusCode};
use hearth_api::{Code, EnableRequest, Problem};

use super::{Routes, json, parse, query, up};
use crate::command::{Command, Enable};
use crate::refuse::Refusal;
use crate::unasked;

pub(super) async fn answer(
    State(routes): State<Routes>,
    body: Bytes,
) -> Result<Response<Body>, Refusal> {
    let EnableRequest { project, services: names, enabled } = parse(&body)?;
    if project.is_empty() {
        let words = "services of no project can't be enabled: no file says how to start them";
        let hint = "put them into a hearth.toml; `hearth init` writes one";
        return Err(Problem::new(Code::BadRequest, words, hint).into());
    }
    let enable = match enabled {
        true => {
            let (project, file) = up::load(&project)?;
            unasked::check(&file)?;
            Enable::On { project, file, names }
        }
        false => Enable::Off { project: query::project(&project)?, names },
    };
    let enabled = routes.port.ask(|reply| Command::Enable(enable, reply)).await??;
    json(StatusCode::OK, &enabled)
}
