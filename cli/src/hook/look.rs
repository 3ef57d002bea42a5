//! `hearth hook SHELL --look`: what this shell is to have, now that it is here.
//!
//! Kept true here: no agent is asked and nothing is waited for, so the prompt is back in a moment. A project
//! that one merely enters runs nothing: it must say `auto = true`, its files must be the person's own, and
//! they must be, byte by byte, what `hearth trust` was shown. Where they are not any more, what is held
//! already stays for as long as the shell stays, and nothing new is begun.

use std::path::Path;

use hearth_config::LoadError;

use super::note::{Files, Note, Wanted};
use super::{Shell, path_bytes};
use crate::args::Context;
use crate::output;
use crate::refuse::Refusal;
use crate::trust::{brings_up, listed, shown};
use crate::trusted::{self, Standing};

/// So many services stand in a line.
const NAMED: usize = 5;

/// What was found where the shell is.
enum Found {
    /// Nothing that would be brought up.
    Nothing,
    /// What would be, were it not for this; the rest of a line about it.
    Refused(String),
    /// This.
    Good(Wanted),
}

/// Prints what the script has to know, as lines of that shell.
pub fn run(context: &Context, shell: Shell, pid: u32, at: Option<&Path>) -> Result<u8, Refusal> {
    // Before anything can fail: a script that knows where it is does not ask again at the next prompt.
    let project = at.map(|at| at.canonicalize().unwrap_or_else(|_| at.to_owned()));
    let here = project.as_deref().map_or(&b""[..], path_bytes);
    output::print(&shell.sets("__hearth_dir", here))?;
    let mut lines = Vec::new();
    let files = context.home.prepare().map_err(|blocked| blocked.reason).and_then(|()| {
        Files::of(&context.home, pid).map_err(|error| format!("shell {pid}: {error}"))
    });
    let kept = files.and_then(|files| {
        let failed = files.take_said();
        lines.extend(failed.clone());
        let changed = note(context, &files, project.as_deref(), failed.is_some(), &mut lines);
        changed.map(|changed| (files, changed)).map_err(|error| error.to_string())
    });
    let record = project.as_deref().map(|project| trusted::path_of(&context.home, project));
    let mut script = Vec::new();
    match kept {
        Ok((files, changed)) => {
            script.extend(shell.sets("__hearth_note", path_bytes(&files.note())));
            script.extend(shell.sets("__hearth_said", path_bytes(&files.said())));
            script.extend(shell.sets("__hearth_do", if changed { b"keep" } else { b"" }));
        }
        Err(why) => {
            lines.push(format!("the shell hook can't keep its notes: {why}"));
            script.extend(shell.sets("__hearth_note", b""));
            script.extend(shell.sets("__hearth_do", b""));
        }
    }
    script.extend(shell.sets("__hearth_trust", record.as_deref().map_or(&b""[..], path_bytes)));
    output::print(&script)?;
    for line in lines {
        output::tell(&format!("hearth: {line}"));
    }
    Ok(0)
}

/// Writes the note; whether there is something to be done about it: what is wanted is another thing than
/// before, or it could not be had (of which is told now, where it has just `failed`).
fn note(
    context: &Context,
    files: &Files,
    project: Option<&Path>,
    failed: bool,
    lines: &mut Vec<String>,
) -> std::io::Result<bool> {
    let draft = files.begin()?;
    let mut note = files.read();
    let found = project.map_or(Found::Nothing, |project| find(context, project));
    let before = note.wanted.take();
    let stays = before.as_ref().is_some_and(|it| Some(it.project.as_path()) == project);
    note.wanted = match found {
        Found::Good(wanted) => {
            note.told.remove(&wanted.project);
            Some(wanted)
        }
        Found::Nothing => None,
        Found::Refused(why) => {
            // Once, however often it is entered or its files are written: until it was good again, or
            // there is another reason.
            let project = project.unwrap_or(Path::new("")).to_owned();
            if note.told.insert(project, why.clone()).as_ref() != Some(&why) {
                lines.push(why);
            }
            if stays { before.clone() } else { None }
        }
    };
    let again = note.failed && !failed && note.wanted.is_some();
    note.failed = failed;
    let changed = note.wanted != before || again;
    if changed {
        lines.extend(in_words(before.as_ref(), &note));
    }
    draft.finish(&note)?;
    Ok(changed)
}

fn find(context: &Context, directory: &Path) -> Found {
    let refused = |what: &str| Found::Refused(format!("{} {what}", shown(directory)));
    let standing = trusted::standing(&context.home, directory);
    let project = match hearth_config::load(directory) {
        Ok(project) => project,
        // Whether it says `auto` nobody knows; who has trusted it is told.
        Err(LoadError::Faulty(_) | LoadError::Unreadable { .. }) => {
            return match standing {
                Standing::Unknown => Found::Nothing,
                Standing::Trusted(_) | Standing::Changed(_) => {
                    refused("has a faulty file: `hearth config check`")
                }
            };
        }
        Err(LoadError::Missing { .. }) => return Found::Nothing,
    };
    let services = brings_up(&project);
    if !project.auto || services.is_empty() {
        return Found::Nothing;
    }
    if directory.to_str().is_none() {
        return refused("is not brought up: its path is not UTF-8");
    }
    if let Err(why) = trusted::check(&project) {
        return Found::Refused(format!("not brought up: {why}"));
    }
    match standing {
        Standing::Unknown => {
            refused("is not trusted yet: look at its hearth.toml, then `hearth trust`")
        }
        Standing::Changed(files) => Found::Refused(format!(
            "{} changed since {} was trusted: look at it, then `hearth trust`",
            listed(&files),
            shown(directory)
        )),
        Standing::Trusted(trusted) => {
            Found::Good(Wanted { project: directory.to_owned(), trusted, services })
        }
    }
}

fn in_words(before: Option<&Wanted>, note: &Note) -> Option<String> {
    let names = |wanted: &Wanted| match wanted.services.len() {
        count if count > NAMED => {
            format!("{} and {} more", wanted.services[..NAMED].join(", "), count - NAMED)
        }
        _ => wanted.services.join(", "),
    };
    let of = |wanted: &Wanted| format!("{} of {}", names(wanted), shown(&wanted.project));
    Some(match (before, &note.wanted) {
        (None, None) => return None,
        (None, Some(now)) => format!("bringing up {} for this shell", names(now)),
        (Some(before), None) => format!("giving back {}", of(before)),
        (Some(before), Some(now)) if before.project == now.project => {
            format!("bringing up {} for this shell, as trusted now", names(now))
        }
        (Some(before), Some(now)) => {
            format!("bringing up {} for this shell, giving back {}", names(now), of(before))
        }
    })
}
