//! `hearth env`: the environment that a service runs with, for `eval "$(hearth env)"` or for tools.
//!
//! Kept true here: what is printed means to sh what it means to the service, whatever is in it, and a
//! name that sh can't have is told and never printed.

use std::collections::BTreeMap;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgMatches, Command};
use hearth_api::EnvRequest;

use crate::agent::{self, Wish};
use crate::args::Context;
use crate::refuse::Refusal;
use crate::{capture, output, project};

/// What bash does not let anybody set (bash(1), Shell Variables). As `sh` it ends at such a line, and
/// what stands behind it in the `eval` is lost.
const READ_ONLY: [&str; 6] = ["BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"];

/// What each shell keeps for itself: another's would tell it that it is somewhere else. Left out of the
/// lines without a word.
const ITS_OWN: [&str; 4] = ["OLDPWD", "PWD", "SHLVL", "_"];

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("env")
        .about("Print the environment of a service, or of the project's clients, for sh")
        .arg(
            Arg::new("service")
                .value_name("SERVICE")
                .value_parser(NonEmptyStringValueParser::new())
                .help("Of this service; none: where the project's services are to be found"),
        )
}

/// Of what is not up: as it would be, brought up from here.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let wish = Wish { start: true, ..Wish::default() };
    let service = matches.get_one::<String>("service").cloned();
    let names: Vec<String> = service.iter().cloned().collect();
    let place = project::about(context, wish, &names)?.place;
    let request = EnvRequest {
        project: Some(place.id).filter(|id| !id.is_empty()),
        service,
        env: capture::environment(),
    };
    let request = capture::post("/v1/env", &request, &request.env)?.repeatable();
    let (_, body) = agent::fetch(context, wish, &request)?;
    let env: BTreeMap<String, String> = agent::parse(&body)?;
    if context.json {
        return output::print_json(&env).map(|()| 0);
    }
    let mine = env.iter().filter(|(name, _)| !ITS_OWN.contains(&name.as_str()));
    let (good, bad): (Vec<_>, Vec<_>) =
        mine.partition(|(name, _)| is_name(name) && !READ_ONLY.contains(&name.as_str()));
    let lines: String = good
        .into_iter()
        .map(|(name, value)| format!("export {name}={}\n", quoted(value)))
        .collect();
    if !bad.is_empty() && !context.quiet {
        let names: Vec<_> = bad.iter().map(|(name, _)| name.escape_debug().to_string()).collect();
        output::tell(&format!(
            "hearth: left out, sh can't set them: {} (`--json` has all)",
            names.join(", ")
        ));
    }
    output::print(lines.as_bytes()).map(|()| 0)
}

/// Whether sh takes it as the name of a variable (POSIX, XBD 3.216).
fn is_name(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    name.bytes().next().is_some_and(word) && name.bytes().all(|b| word(b) || b.is_ascii_digit())
}

/// Nothing is special between single quotes but the quote itself (POSIX, XCU 2.2.2).
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_in_a_value_comes_back_out_of_sh() {
        let value = "a'b \"c\" $HOME `id` \\ \n!*é";
        let script = format!("X={}; printf %s \"$X\"", quoted(value));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
    }

    #[test]
    fn names_of_sh_are_told_apart() {
        for name in ["A", "_", "_a1", "PATH"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "1A", "A-B", "BASH_FUNC_x%%", "é", "a.b"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
