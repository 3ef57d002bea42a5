//! The shell hook: whether it is in the shell's startup file and at work here, and what was trusted.

use std::fs;
use std::path::{Path, PathBuf};

use hearth_lifecycle::{Home, typed};
use hearth_process::{ProcessId, ancestors};

use crate::finding::Finding;
use crate::{hook, trusted};

/// Its findings.
pub const NAMES: &[&str] = &["hook", "trust"];

/// Looks.
pub fn look(home: &Home) -> Vec<Finding> {
    vec![of_shell(home), trust(home)]
}

fn of_shell(home: &Home) -> Finding {
    const NAME: &str = "hook";
    let written: Vec<_> = startup_files().into_iter().filter(|(_, file)| has_hook(file)).collect();
    let here = above_has_note(home);
    let here = if here { "; it is at work in this shell" } else { "" };
    if written.is_empty() {
        let shell = std::env::var("SHELL").unwrap_or_default();
        let name = Path::new(&shell).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let words = match name.as_str() {
            "bash" | "zsh" | "fish" => {
                format!("not in {name}'s startup file (`hearth hook --help`){here}")
            }
            _ => format!("in no shell's startup file{here}"),
        };
        return Finding::ok(NAME, words);
    }
    let unreadable = hook::unreadable_notes(home);
    if let Some(file) = unreadable.first() {
        return Finding::warning(
            NAME,
            format!("what the hook has noted can't be read: {}", file.display()),
            format!("`rm {}`", typed(file)),
        );
    }
    let words: Vec<_> =
        written.iter().map(|(shell, file)| format!("{shell} ({})", file.display())).collect();
    Finding::ok(NAME, format!("{}{here}", words.join(", ")))
}

/// Where each shell reads it from.
fn startup_files() -> Vec<(&'static str, PathBuf)> {
    let variable =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let Some(home) = variable("HOME") else { return Vec::new() };
    let zsh = variable("ZDOTDIR").unwrap_or_else(|| home.clone());
    let fish = variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("fish");
    let mut files = vec![
        ("bash", home.join(".bashrc")),
        ("bash", home.join(".bash_profile")),
        ("zsh", zsh.join(".zshrc")),
        ("fish", fish.join("config.fish")),
    ];
    let more = fs::read_dir(fish.join("conf.d")).into_iter().flatten().flatten();
    files.extend(more.map(|entry| ("fish", entry.path())));
    files
}

/// A comment does not count. What is no file is not waited for.
fn has_hook(file: &Path) -> bool {
    let is_file = fs::metadata(file).is_ok_and(|found| found.is_file());
    let text = if is_file { fs::read(file).unwrap_or_default() } else { Vec::new() };
    let text = String::from_utf8_lossy(&text);
    text.lines().any(|line| !line.trim_start().starts_with('#') && line.contains("hearth hook "))
}

/// A shell above us has a note: it has been in a project.
fn above_has_note(home: &Home) -> bool {
    let above = ancestors(&ProcessId::current()).unwrap_or_default();
    above.iter().any(|ancestor| hook::has_note(home, ancestor.id.pid))
}

fn trust(home: &Home) -> Finding {
    const NAME: &str = "trust";
    let (records, unreadable) = (trusted::all(home), trusted::unreadable(home));
    if let Some(file) = unreadable.first() {
        return Finding::warning(
            NAME,
            format!(
                "a record of trust can't be read: {}; its project is not trusted",
                file.display()
            ),
            format!("`rm {}`, then `hearth trust` in the project", typed(file)),
        );
    }
    let changed = records.iter().filter(|record| !trusted::changed(record).is_empty()).count();
    let words = match records.len() {
        0 => "no project is trusted".to_owned(),
        1 => "1 project is trusted".to_owned(),
        count => format!("{count} projects are trusted"),
    };
    match changed {
        0 => Finding::ok(NAME, words),
        changed => {
            Finding::ok(NAME, format!("{words}; {changed} changed since (`hearth trust --show`)"))
        }
    }
}
