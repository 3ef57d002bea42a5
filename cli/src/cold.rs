//! What the home tells without an agent.
//!
//! Kept true here: nothing is invented. A shim holds its record locked for as long as it lives, so
//! a service without a held record is down; of one that has it nobody but an agent can tell more,
//! and it is unknown.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use hearth_api::{Kind, ServiceRow, State, shim_id};
use hearth_config::Project;
use hearth_lifecycle::{Home, Ready};
use hearth_process::locked;

use crate::args::Context;
use crate::output;

/// The names by which a shim's record tells whose it is.
#[derive(serde::Deserialize)]
struct Record {
    project: String,
    service: String,
}

/// Whether a shim of this home lives: then there is something that an agent has to look after.
pub fn any_shim(context: &Context) -> bool {
    any_shim_in(&context.home)
}

/// The same without a verb.
pub fn any_shim_in(home: &Home) -> bool {
    records(home).iter().any(|path| is_held(path))
}

/// Whether something is wanted that may have no shim now (it waits, or is in a pause): the next agent
/// would start it. What can't be read counts as nothing, for then no agent will know of it either.
pub fn any_wanted(context: &Context) -> bool {
    #[derive(serde::Deserialize)]
    struct Whole {
        services: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        state: Wanted,
    }
    #[derive(serde::Deserialize)]
    struct Wanted {
        want: hearth_api::Want,
    }
    let Ok(bytes) = std::fs::read(context.home.dir().join("state.json")) else { return false };
    let whole: Option<Whole> = serde_json::from_slice(&bytes).ok();
    let mut entries = whole.into_iter().flat_map(|whole| whole.services);
    entries.any(|entry| entry.state.want == hearth_api::Want::Up)
}

/// How many shims of this home live.
pub fn shims(context: &Context) -> usize {
    records(&context.home).iter().filter(|path| is_held(path)).count()
}

/// One row a service of the file.
pub fn rows(context: &Context, id: &str, project: &Project) -> Vec<ServiceRow> {
    let row = |service: &hearth_config::Service| {
        let kind = match service.kind {
            hearth_config::Kind::Service => Kind::Service,
            hearth_config::Kind::Oneshot => Kind::Oneshot,
            hearth_config::Kind::Check => Kind::Check,
        };
        let held =
            is_held(&shims_dir(&context.home).join(format!("{}.rec", shim_id(id, &service.name))));
        let state = if held { State::Unknown } else { State::Down };
        ServiceRow { ports: service.ports.clone(), ..bare(id, &service.name, kind, state) }
    };
    project.services.iter().map(row).collect()
}

/// One row a shim that lives, whatever its project.
pub fn rows_of_home(context: &Context) -> Vec<ServiceRow> {
    let row = |path: &PathBuf| {
        let locked::Record::Valid(bytes) = locked::read_path(path).ok()? else { return None };
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        Some(bare(&record.project, &record.service, Kind::Service, State::Unknown))
    };
    let mut rows: Vec<_> =
        records(&context.home).iter().filter(|path| is_held(path)).filter_map(row).collect();
    rows.sort_by(|a, b| (&a.project, &a.name).cmp(&(&b.project, &b.name)));
    rows
}

/// A row of which nothing more is known. The empty project is none.
pub fn bare(project: &str, name: &str, kind: Kind, state: State) -> ServiceRow {
    ServiceRow {
        project: Some(project.to_owned()).filter(|project| !project.is_empty()),
        name: name.to_owned(),
        kind,
        want: None,
        state,
        pid: None,
        since: None,
        restarts: None,
        exit: None,
        health: None,
        ports: Vec::new(),
        cpu_percent: None,
        memory_bytes: None,
        changed: None,
        boot: None,
        held_by: Vec::new(),
    }
}

fn shims_dir(home: &Home) -> PathBuf {
    home.dir().join("shims")
}

/// The records of all shims of a home, living and dead.
pub fn records(home: &Home) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(shims_dir(home)) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension() == Some(OsStr::new("rec"))).collect()
}

/// A record that cannot be looked at counts as held: saying `down` would be inventing.
pub fn is_held(path: &Path) -> bool {
    locked::is_held(path).unwrap_or(true)
}

/// One line on stderr: why this comes from the home.
pub fn tell(context: &Context, ready: &Ready) {
    if !context.quiet {
        let reason = ready.reason.as_deref().unwrap_or("no agent");
        let reason = reason.lines().next().unwrap_or_default();
        let hint = ready.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        output::tell(&format!(
            "hearth: told from the home alone, agent {}: {reason}{hint}",
            ready.state.as_str()
        ));
    }
}
