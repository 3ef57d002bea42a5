//! Which project a verb is about, and whether its file may be believed.
//!
//! Kept true here: a file that somebody else could have planted runs no code. The project is the
//! nearest directory upward with a `hearth.toml`, else the nearest one whose services run; file and
//! directory must be the caller's or root's. Who names the directory with `-C` trusts it, and that
//! directory alone.

use std::path::{Path, PathBuf};

use hearth_api::{Code, ServiceRow};
use hearth_config::Project;

use crate::agent::{self, Wish};
use crate::args::Context;
use crate::refuse::Refusal;
use crate::sheet::Sheet;
use crate::{cold, output};

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

/// The project whose file is gone and whose services run: the nearest one upward among `rows`; else
/// that of services without one, whose identity is empty.
pub fn running(context: &Context, rows: &[ServiceRow]) -> Result<Place, Refusal> {
    let start = start(context)?;
    let start = start.canonicalize().unwrap_or(start);
    let runs =
        |dir: &Path| rows.iter().any(|row| row.project.as_deref().map(Path::new) == Some(dir));
    match start.ancestors().find(|dir| runs(dir)) {
        Some(directory) => place(directory.to_owned()),
        None if rows.iter().any(|row| row.project.is_none()) => {
            Ok(Place { directory: start, id: String::new() })
        }
        None => Err(none(context)),
    }
}

/// Whether a row is of this project.
pub fn has(place: &Place, row: &ServiceRow) -> bool {
    row.project.as_deref().unwrap_or_default() == place.id
}

/// The refusal of a verb in no project.
pub fn none(context: &Context) -> Refusal {
    let named = || context.directory.clone().unwrap_or_default();
    let start = start(context).unwrap_or_else(|_| named());
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

/// What names mean, groups by their members. Errors: `not-found`, naming those that there are.
pub fn expand(project: &Project, names: &[String]) -> Result<Vec<String>, Refusal> {
    if let Ok(services) = project.expand(names) {
        return Ok(services);
    }
    let is_unknown = |name: &&String| project.expand(std::slice::from_ref(*name)).is_err();
    let unknown: Vec<&String> = names.iter().filter(is_unknown).collect();
    let services: Vec<&str> =
        project.services.iter().map(|service| service.name.as_str()).collect();
    let groups: Vec<&str> = project.groups.iter().map(|group| group.name.as_str()).collect();
    Err(no_such(&unknown, &project.file.display().to_string(), &services, &groups))
}

/// So many names stand in a hint: of ten thousand, nobody reads on.
const SHOWN: usize = 20;

/// Names that nothing has there: `not-found`, with what was probably meant and what there is.
pub fn no_such(unknown: &[&String], place: &str, services: &[&str], groups: &[&str]) -> Refusal {
    let quoted: Vec<String> = unknown.iter().map(|name| hearth_config::quoted(name)).collect();
    let word = if unknown.len() == 1 { "service" } else { "services" };
    let why = format!("no {word} {} in {place}", quoted.join(", "));
    let known = || services.iter().chain(groups).copied();
    let mut meant: Vec<&str> =
        unknown.iter().filter_map(|name| hearth_config::nearest(name, known())).collect();
    meant.dedup();
    let meant = match meant.as_slice() {
        [] => String::new(),
        meant => format!("did you mean {}? ", meant.join(", ")),
    };
    let listed = |names: &[&str]| match names.len() {
        0 => "none".to_owned(),
        count if count > SHOWN => {
            format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN)
        }
        _ => names.join(", "),
    };
    let groups = match groups.is_empty() {
        true => String::new(),
        false => format!("; its groups: {}", listed(groups)),
    };
    Refusal::new(Code::NotFound, why)
        .hint(format!("{meant}its services: {}{groups}", listed(services)))
}

/// The same for a verb that goes by what runs: what is not in the file stays as it is, for it may be
/// a service of `hearth run`, or one that was taken out of the file.
pub fn expand_known(project: &Project, names: &[String]) -> Vec<String> {
    let known = |name: &String| match project.expand(std::slice::from_ref(name)) {
        Ok(services) => services,
        Err(unknown) => vec![unknown.to_owned()],
    };
    let mut services: Vec<String> = Vec::new();
    for service in names.iter().flat_map(known) {
        if !services.contains(&service) {
            services.push(service);
        }
    }
    services
}

/// Whose services a verb is about that may be in a file or not.
pub struct About {
    /// The project; or that of services without one.
    pub place: Place,
    /// The services, groups by their members.
    pub named: Vec<String>,
    /// What the file says of them.
    pub sheet: Sheet,
}

/// The project's, else what runs from the nearest directory upward, else what belongs to none.
///
/// Errors: a faulty file; a name that is not in it while nothing runs that could have it.
pub fn about(context: &Context, wish: Wish, names: &[String]) -> Result<About, Refusal> {
    let Some(place) = find(context)? else {
        let place = that_runs(context, wish)?;
        return Ok(About { place, named: names.to_vec(), sheet: Sheet::default() });
    };
    let file = load(&place)?;
    let named = match cold::any_shim(context) {
        true => expand_known(&file, names),
        false => expand(&file, names)?,
    };
    Ok(About { place, named, sheet: Sheet::of(&file) })
}

/// In no project: the nearest directory upward whose services run, else services of none. Without a
/// shim, and nothing wanted that waits for one, none do.
pub fn that_runs(context: &Context, wish: Wish) -> Result<Place, Refusal> {
    let start = wish.start && (cold::any_shim(context) || cold::any_wanted(context));
    match agent::all_rows(context, Wish { start, ..wish }) {
        Ok(rows) => running(context, &rows.services),
        Err(refusal) if refusal.code.exit() == 3 && !start => Err(none(context)),
        Err(refusal) => Err(refusal),
    }
}

/// Where the verb looks from.
pub fn start(context: &Context) -> Result<PathBuf, Refusal> {
    let Some(directory) = &context.directory else {
        return std::env::current_dir().map_err(|error| {
            Refusal::usage(format!("the current directory cannot be used: {error}"))
                .hint("cd, or -C DIR")
        });
    };
    if directory.is_dir() {
        Ok(directory.clone())
    } else {
        let what = if directory.exists() { "is no directory" } else { "does not exist" };
        Err(Refusal::usage(format!("-C {}: it {what}", directory.display()))
            .hint("name a directory, or cd to it"))
    }
}

/// A directory as the wire has it. Errors: `usage` where JSON cannot carry it.
pub fn place(directory: PathBuf) -> Result<Place, Refusal> {
    match directory.to_str() {
        Some(id) => Ok(Place { id: id.to_owned(), directory }),
        None => {
            Err(Refusal::usage(format!("the project's path is not UTF-8: {}", directory.display()))
                .hint("rename the directory, or move the project"))
        }
    }
}
