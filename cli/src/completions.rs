//! `hearth completions SHELL`: a script for the shell, made from the grammar.

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::args::{self, Context};
use crate::output;
use crate::refuse::Refusal;

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("completions").about("Print a completion script").arg(
        Arg::new("shell")
            .value_name("SHELL")
            .required(true)
            .value_parser(value_parser!(Shell))
            .help("For this shell"),
    )
}

/// The one verb that builds the whole grammar.
pub fn run(_: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let Some(shell) = matches.get_one::<Shell>("shell") else {
        return Err(Refusal::usage("for which shell?").hint("hearth completions bash"));
    };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut args::whole(), "hearth", &mut script);
    output::print(&script).map(|()| 0)
}
