//! `hearth trust`: lets the shell hook bring a project's services up, as its files are now.
//!
//! Kept true here: what is trusted is what was shown. The files are read before the project is
//! understood and again after it, and a difference is refused.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};
use hearth_api::Code;
use hearth_config::Project;
use serde_json::{Value, json};

use crate::args::{self, Context};
use crate::refuse::Refusal;
use crate::trusted::{self, Record, Standing};
use crate::{output, project};

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("trust")
        .about("Let the shell hook bring this project's services up, as its files are now")
        .args([
            args::flag("show", "List what is trusted").conflicts_with("revoke"),
            args::flag("revoke", "Trust this project no longer"),
        ])
}

/// No agent is asked: trust is between the person and the hook.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    if matches.get_flag("show") {
        return show(context);
    }
    if matches.get_flag("revoke") {
        return revoke(context);
    }
    let place = project::required(context)?;
    let (project, record) = read(&place.directory)?;
    // The hook would refuse it.
    trusted::check(&project)?;
    context.home.prepare()?;
    trusted::keep(&context.home, &record).map_err(|error| not_kept(context, &error))?;
    let services = brings_up(&project);
    if context.json {
        let mut told = in_json(&record, "trusted");
        told["auto"] = project.auto.into();
        told["services"] = services.into();
        return output::print_json(&told).map(|()| 0);
    }
    output::print(in_words(&record, "trusted").as_bytes())?;
    if !context.quiet {
        output::tell(&match (project.auto, services.as_slice()) {
            (false, _) => {
                "hearth: its file does not say `auto = true`, so the shell hook leaves it \
                           alone"
                    .to_owned()
            }
            (true, []) => {
                "hearth: no service of it is enabled, so the shell hook leaves it alone".to_owned()
            }
            (true, services) => format!(
                "hearth: entering it brings up {}, where the shell has the hook; void as soon as \
                 one of these files changes",
                services.join(", ")
            ),
        });
    }
    Ok(0)
}

/// The services that the hook brings up, in the order of the file.
pub fn brings_up(project: &Project) -> Vec<String> {
    let enabled = project.services.iter().filter(|service| service.enabled);
    enabled.map(|service| service.name.clone()).collect()
}

/// A project and what its files are, at one moment.
fn read(directory: &Path) -> Result<(Project, Record), Refusal> {
    let project = hearth_config::load(directory)?;
    let look = || {
        trusted::look(&project).map_err(|error| {
            let why = format!("a file of {} can't be read: {error}", shown(directory));
            Refusal::new(Code::BadConfig, why).hint("`hearth config check`")
        })
    };
    let before = look()?;
    let again = hearth_config::load(directory)?;
    if again != project || look()? != before {
        let why = format!("the files of {} change just now", shown(directory));
        return Err(Refusal::new(Code::BadConfig, why).hint("try again when they are written"));
    }
    Ok((project, before))
}

fn show(context: &Context) -> Result<u8, Refusal> {
    let word = |record: &Record| match trusted::standing(&context.home, &record.project) {
        Standing::Trusted(_) => "trusted",
        Standing::Changed(_) if !record.project.is_dir() => "gone",
        Standing::Changed(_) | Standing::Unknown => "changed",
    };
    let records = trusted::all(&context.home);
    if context.json {
        let projects: Vec<Value> = records.iter().map(|it| in_json(it, word(it))).collect();
        return output::print_json(&json!({ "projects": projects })).map(|()| 0);
    }
    let text: String = records.iter().map(|record| in_words(record, word(record))).collect();
    output::print(text.as_bytes())?;
    if records.is_empty() && !context.quiet {
        output::tell("hearth: nothing is trusted; in a project: `hearth trust`");
    }
    Ok(0)
}

/// Also of a project whose file is gone, by the nearest directory upward that has a record.
fn revoke(context: &Context) -> Result<u8, Refusal> {
    let start = project::start(context)?;
    let start = start.canonicalize().unwrap_or(start);
    let known = |dir: &&Path| trusted::path_of(&context.home, dir).exists();
    let file = hearth_config::find(&start);
    let named = file.or_else(|| start.ancestors().find(known).map(Path::to_owned));
    let directory = named.ok_or_else(|| project::none(context))?;
    let was =
        trusted::forget(&context.home, &directory).map_err(|error| not_kept(context, &error))?;
    if context.json {
        return output::print_json(&json!({ "project": directory, "revoked": was })).map(|()| 0);
    }
    if !context.quiet {
        let how = if was { "is not trusted any more" } else { "was not trusted" };
        output::tell(&format!("hearth: {} {how}", shown(&directory)));
    }
    Ok(0)
}

fn not_kept(context: &Context, error: &io::Error) -> Refusal {
    let why = format!("what is trusted can't be kept in {}: {error}", context.home.dir().display());
    Refusal::new(Code::Blocked, why).hint("`ls -ld` shows whose it is; another home: --home")
}

fn in_json(record: &Record, state: &str) -> Value {
    let changed = if state == "trusted" { Vec::new() } else { trusted::changed(record) };
    json!({
        "project": record.project, "state": state, "files": record.files, "changed": changed,
    })
}

fn in_words(record: &Record, state: &str) -> String {
    let mut text = format!("{state}: {}\n", shown(&record.project));
    let changed = if state == "trusted" { Vec::new() } else { trusted::changed(record) };
    for file in &record.files {
        let name = file.path.strip_prefix(&record.project).unwrap_or(&file.path);
        let how = match (&file.sha256, changed.contains(&file.path)) {
            (_, true) => "changed since",
            (Some(hash), false) => &hash[..16],
            (None, false) => "not there",
        };
        let _ = writeln!(text, "  {how:<16}  {}", shown(name));
    }
    text
}

/// A path for a line on a terminal: whoever made the directory chose its name, and it must neither
/// break the line nor command the terminal.
pub fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| {
        if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(plain).collect()
}

/// Some paths, for one line.
pub fn listed(paths: &[PathBuf]) -> String {
    let name = |path: &PathBuf| shown(Path::new(path.file_name().unwrap_or(path.as_os_str())));
    paths.iter().map(name).collect::<Vec<_>>().join(", ")
}
