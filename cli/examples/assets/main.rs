//! `cargo run -p hearth --example assets -- DIR` writes what is shipped beside the executable: `DIR/man`
//! (hearth(1), a page for every verb, hearth.toml(5)) and `DIR/completions` (bash, zsh, fish).
//!
//! Kept true here: all of it is made of what hearth itself goes by, the grammar and the schema, so that
//! no page tells of an option or a key that is not there. It is an example, no verb: `hearth` must
//! not carry a writer of man pages.

mod format;
mod page;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use clap_complete::Shell;

fn main() -> ExitCode {
    let Some(dir) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("assets: where to? cargo run -p hearth --example assets -- DIR");
        return ExitCode::from(2);
    };
    match write(&dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("assets: {}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

/// What is there already is written anew; pages of verbs that are gone do not stay behind.
fn write(dir: &Path) -> io::Result<()> {
    let (man, completions) = (dir.join("man"), dir.join("completions"));
    for emptied in [&man, &completions] {
        match fs::remove_dir_all(emptied) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => fs::create_dir_all(emptied)?,
        }
    }
    let mut grammar = hearth_cli::grammar().disable_help_subcommand(true);
    // Each under the name by which its shell finds it: `hearth.bash` would not be.
    for (shell, name) in
        [(Shell::Bash, "hearth"), (Shell::Zsh, "_hearth"), (Shell::Fish, "hearth.fish")]
    {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut grammar, "hearth", &mut script);
        fs::write(completions.join(name), script)?;
    }
    grammar.build();
    page::write(&grammar, &man)?;
    fs::write(man.join("hearth.toml.5"), format::page()?)
}
