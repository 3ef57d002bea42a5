//! Which project a verb is about, and whether its file may be believed.
//!
//! Kept true here: a file that somebody else could have planted runs no code. The project is the
//! nearest directory upward with a `hearth.toml`, else the nearest one whose services run; file and
//! directory must be the caller's or root's. Who names the directory with `-C` trusts it, and that
//! directory alone.

use std::path::{Path, PathBuf};

use hearth_api::{Code, ServiceRow};
use hearth_config::Project;

use crate::args::Context;
use crate::output;
use crate::refuse::Refusal;

/// A directory with a `hearth.toml`, found and trusted.
#[derive(Clone, Debug)]
pub struct Place {
    /// Canonical.
    pub directory: PathBuf,
    /// The same as it stands on the wire: the project's identity.
    pub id: String,
}

/// The nearest directory upward with a file. `None`: there is none.
///
/// Errors: `forbidden`, and `usage` for a path that JSON cannot carry.
pub fn find(context: &Context) -> Result<Option<Place>, Refusal> {
    let start = start(context)?;
    let Some(directory) = hearth_config::find(&start) else { return Ok(None) };
    let named =
        context.directory.is_some() && start.canonicalize().is_ok_and(|dir| dir == directory);
    if !named {
        hearth_config::check_ownership(&directory, rustix::process::geteuid().as_raw())?;
    }
    place(directory).map(Some)
}

/// The same for a verb that starts something: it needs the file.
pub fn required(context: &Context) -> Result<Place, Refusal> {
    find(context)?.ok_or_else(|| none(context))
}

/// The project whose file is gone and whose services run: the nearest one upward among `rows`.
pub fn running(context: &Context, rows: &[ServiceRow]) -> Result<Place, Refusal> {
    let start = start(context)?;
    let start = start.canonicalize().unwrap_or(start);
    let runs =
        |dir: &Path| rows.iter().any(|row| row.project.as_deref().map(Path::new) == Some(dir));
    match start.ancestors().find(|dir| runs(dir)) {
        Some(directory) => place(directory.to_owned()),
        None => Err(none(context)),
    }
}

/// The refusal of a verb in no project.
pub fn none(context: &Context) -> Refusal {
    let start = start(context).unwrap_or_default();
    let why = format!("no project: no hearth.toml in {} or above it", start.display());
    Refusal::new(Code::NotFound, why).hint("`hearth init` writes one")
}

/// Reads the file of a verb that starts something. Errors: `bad-config` with all faults.
pub fn load(place: &Place) -> Result<Project, Refusal> {
    Ok(hearth_config::load(&place.directory)?)
}

/// Reads the file of a verb that goes by what runs: what is wrong with it is one line on stderr.
pub fn load_or_tell(context: &Context, place: &Place) -> Option<Project> {
    let error = match hearth_config::load(&place.directory) {
        Ok(project) => return Some(project),
        Err(error) => error,
    };
    if !context.quiet {
        let what = match &error {
            hearth_config::LoadError::Faulty(faults) => {
                let first = faults.as_slice().first();
                let first =
                    first.map(|f| format!("{}:{}: {}", f.file.display(), f.line, f.message));
                format!("{} (`hearth config check` shows all)", first.unwrap_or_default())
            }
            other => other.to_string(),
        };
        output::tell(&format!("hearth: faulty file, going by what runs: {what}"));
    }
    None
}

/// Checks names against the file. Errors: `not-found`, naming those that there are.
pub fn check_names(project: &Project, names: &[String]) -> Result<(), Refusal> {
    let Some(unknown) = names.iter().find(|name| project.service(name).is_none()) else {
        return Ok(());
    };
    let known: Vec<_> = project.services.iter().map(|service| service.name.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let why = format!("no service `{unknown}` in {}", project.file.display());
    Err(Refusal::new(Code::NotFound, why).hint(format!("its services: {known}")))
}

fn start(context: &Context) -> Result<PathBuf, Refusal> {
    let Some(directory) = &context.directory else {
        return std::env::current_dir().map_err(|error| {
            Refusal::usage(format!("the current directory cannot be used: {error}"))
                .hint("cd, or -C DIR")
        });
    };
    if directory.is_dir() {
        Ok(directory.clone())
    } else {
        Err(Refusal::usage(format!("-C {}: no such directory", directory.display())))
    }
}

fn place(directory: PathBuf) -> Result<Place, Refusal> {
    match directory.to_str() {
        Some(id) => Ok(Place { id: id.to_owned(), directory }),
        None => {
            Err(Refusal::usage(format!("the project's path is not UTF-8: {}", directory.display())))
        }
    }
}
