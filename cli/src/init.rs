//! `hearth init`: writes a `hearth.toml` to begin with, never over one.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;

use clap::{ArgMatches, Command};
use serde_json::json;

use crate::args::Context;
use crate::output;
use crate::refuse::Refusal;

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("init").about("Write a commented hearth.toml to begin with")
}

/// Into the current directory, or that of `-C`. Never writable by others, whatever the umask: such a
/// file would be refused by every other verb.
pub fn run(context: &Context, _: &ArgMatches) -> Result<u8, Refusal> {
    let directory = match &context.directory {
        Some(directory) => directory.clone(),
        None => std::env::current_dir().map_err(|error| {
            Refusal::usage(format!("the current directory cannot be used: {error}"))
        })?,
    };
    let path = directory.join(hearth_config::FILE);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&path)
        .and_then(|mut file| file.write_all(hearth_config::template().as_bytes()));
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Refusal::usage(format!("{} is there already", path.display()))
                .hint("`hearth up` brings up what it names"));
        }
        Err(error) => {
            return Err(Refusal::usage(format!("cannot write {}: {error}", path.display())));
        }
    }
    if context.json {
        output::print_json(&json!({ "file": path }))?;
    } else {
        output::print(format!("{}\n", path.display()).as_bytes())?;
        if !context.quiet {
            output::tell("hearth: written; `hearth up` brings it up");
        }
    }
    Ok(0)
}
