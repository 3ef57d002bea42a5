//! The grammar: what may be typed, and what it means.
//!
//! Kept true here: a verb's grammar is built only when that verb is used, or when help, a
//! completion or an error needs all of them; building thirty subcommands costs more than asking the
//! agent.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::builder::NonEmptyStringValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use hearth_lifecycle::Home;

use crate::refuse::Refusal;
use crate::{
    app, completions, config, daemon, disable, doctor, down, enable, env, events, health, hook,
    init, install, logs, restart, run, session, sessions, status, trust, r#try, uninstall, up,
    version, wait, why, with,
};

/// What a verb does: its exit code, or why not.
pub type Run = fn(&Context, &ArgMatches) -> Result<u8, Refusal>;

/// What holds for every verb.
#[derive(Debug)]
pub struct Context {
    /// Answers, errors included, are JSON.
    pub json: bool,
    /// Never start an agent.
    pub no_spawn: bool,
    /// Whose agent.
    pub home: Home,
    /// `-C`: where the project is looked for, instead of the current directory.
    pub directory: Option<PathBuf>,
    /// `--color`, where it was given and is not `auto`.
    pub color: Option<bool>,
    /// Only errors on stderr.
    pub quiet: bool,
    /// More on stderr.
    pub verbose: bool,
}

/// A verb that is to be run.
pub struct Call {
    /// What it does.
    pub verb: Run,
    /// What holds for every verb.
    pub context: Context,
    /// Its own arguments.
    pub matches: ArgMatches,
}

/// What a command line means.
pub enum Parsed {
    /// A verb.
    Verb(Box<Call>),
    /// Help or a version, for stdout.
    Text(String),
}

type Grammar = fn() -> Command;

/// Every verb there is, in the order of the help.
const VERBS: &[(&str, Grammar, Run)] = &[
    ("up", up::grammar, up::run),
    ("down", down::grammar, down::run),
    ("restart", restart::grammar, restart::run),
    ("try", r#try::grammar, r#try::run),
    ("run", run::grammar, run::run),
    ("with", with::grammar, with::run),
    ("wait", wait::grammar, wait::run),
    ("status", status::grammar, status::run),
    ("logs", logs::grammar, logs::run),
    ("health", health::grammar, health::run),
    ("why", why::grammar, why::run),
    ("events", events::grammar, events::run),
    ("env", env::grammar, env::run),
    ("sessions", sessions::grammar, sessions::run),
    ("session", session::grammar, session::run),
    ("enable", enable::grammar, enable::run),
    ("disable", disable::grammar, disable::run),
    ("config", config::grammar, config::run),
    ("init", init::grammar, init::run),
    ("daemon", daemon::grammar, daemon::run),
    ("install", install::grammar, install::run),
    ("uninstall", uninstall::grammar, uninstall::run),
    ("hook", hook::grammar, hook::run),
    ("trust", trust::grammar, trust::run),
    ("doctor", doctor::grammar, doctor::run),
    ("completions", completions::grammar, completions::run),
    ("version", version::grammar, version::run),
];

/// Options that take a value in the next word; needed to find the verb among them.
const WITH_VALUE: &[&str] = &["--home", "-C", "--color"];

/// Whether errors are to be JSON, told without a grammar: the grammar may be what fails.
pub fn wants_json(argv: &[OsString]) -> bool {
    argv.iter().skip(1).take_while(|word| *word != "--").any(|word| word == "--json")
}

/// Reads a command line. Errors: `usage`.
pub fn parse(argv: Vec<OsString>) -> Result<Parsed, Refusal> {
    let named = verb_of(&argv);
    let known = named.and_then(|name| VERBS.iter().find(|(verb, ..)| answers_to(verb, name)));
    let grammar = match known {
        Some((_, of_verb, _)) => root().subcommand(of_verb()),
        None => whole(),
    };
    let verb = known.map_or_else(|| "hearth".to_owned(), |(verb, ..)| format!("hearth {verb}"));
    let mut matches = match grammar.try_get_matches_from(argv) {
        Ok(matches) => matches,
        Err(error) => return told(&error, verb),
    };
    let context = context(&matches)?;
    let Some((name, own)) = matches.remove_subcommand() else {
        return Err(Refusal::usage("no verb was given").hint("hearth --help"));
    };
    match VERBS.iter().find(|(verb, ..)| *verb == name) {
        Some((_, _, verb)) => {
            Ok(Parsed::Verb(Box::new(Call { verb: *verb, context, matches: own })))
        }
        None => Err(Refusal::usage(format!("there is no verb `{name}`")).hint("hearth --help")),
    }
}

/// The grammar of all verbs: for help, completions and errors.
pub fn whole() -> Command {
    VERBS.iter().fold(root(), |root, (_, of_verb, _)| root.subcommand(of_verb()))
}

/// Names of services, none meaning all. An empty one (`"$UNSET"`) is refused: it is a name that was
/// forgotten, and must not come to mean all.
pub fn services() -> Arg {
    Arg::new("services")
        .value_name("SERVICE")
        .num_args(0..)
        .value_parser(NonEmptyStringValueParser::new())
        .help("Services; none: all that are enabled")
}

/// `--timeout D`.
pub fn timeout() -> Arg {
    Arg::new("timeout")
        .long("timeout")
        .value_name("D")
        .value_parser(duration)
        .help("Give up after this time, getting an agent included: 500ms, 2s, 1m30s")
}

/// An option of this name that takes a pid.
pub fn pid(name: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("PID")
        .allow_negative_numbers(true)
        .value_parser(clap::value_parser!(i64).range(1..=i64::from(i32::MAX)))
}

/// The pid that [`pid`] has read.
pub fn pid_of(matches: &ArgMatches, name: &str) -> Option<i64> {
    matches.try_get_one::<i64>(name).ok().flatten().copied()
}

/// A flag of this name.
pub fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// `-f`.
pub fn follow() -> Arg {
    flag("follow", "Go on with what comes").short('f')
}

/// `-n N`.
pub fn last() -> Arg {
    Arg::new("lines")
        .short('n')
        .long("lines")
        .value_name("N")
        .value_parser(clap::value_parser!(usize))
        .help("Only the last N lines")
}

/// `--since T`.
pub fn since() -> Arg {
    Arg::new("since")
        .long("since")
        .value_name("T")
        .value_parser(|text: &str| {
            hearth_config::since::parse(text, SystemTime::now())
                .map_err(|invalid| invalid.to_string())
        })
        .help("Only lines since then: 10m, 1h30m (ago), or 2026-01-01T10:00:00Z")
}

/// The names that [`services`] has read.
pub fn names(matches: &ArgMatches) -> Vec<String> {
    matches.get_many::<String>("services").map_or_else(Vec::new, |names| names.cloned().collect())
}

/// The time that [`since`] has read.
pub fn since_of(matches: &ArgMatches) -> Option<SystemTime> {
    matches.get_one::<SystemTime>("since").copied()
}

/// The time that [`timeout`] has read.
pub fn timeout_of(matches: &ArgMatches) -> Option<Duration> {
    matches.get_one::<Duration>("timeout").copied()
}

fn duration(text: &str) -> Result<Duration, String> {
    hearth_config::duration::parse(text).map_err(|invalid| invalid.to_string())
}

fn root() -> Command {
    Command::new("hearth")
        .version(app().version())
        .about("Brings a project's services up, and keeps them, through an agent that starts by itself")
        .subcommand_required(true)
        .args([
            flag("json", "Answer in JSON, errors on stderr included").global(true),
            flag("no-spawn", "Never start an agent").global(true),
            Arg::new("home")
                .long("home")
                .value_name("DIR")
                .value_parser(clap::value_parser!(PathBuf))
                .value_hint(ValueHint::DirPath)
                .help("The agent's home; else HEARTH_HOME")
                .global(true),
            Arg::new("directory")
                .short('C')
                .value_name("DIR")
                .value_parser(clap::value_parser!(PathBuf))
                .value_hint(ValueHint::DirPath)
                .help("Look for the project from here, and trust what is in here")
                .global(true),
            Arg::new("color")
                .long("color")
                .value_name("WHEN")
                .value_parser(["auto", "always", "never"])
                .help("Colours; auto: on a terminal")
                .global(true),
            flag("quiet", "Say nothing but errors").short('q').global(true),
            flag("verbose", "Say more").short('v').global(true),
        ])
}

fn context(matches: &ArgMatches) -> Result<Context, Refusal> {
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    Ok(Context {
        json: matches.get_flag("json"),
        no_spawn: matches.get_flag("no-spawn"),
        home: Home::resolve(app(), path("home").as_deref())?,
        directory: path("directory"),
        color: match matches.get_one::<String>("color").map(String::as_str) {
            Some("always") => Some(true),
            Some("never") => Some(false),
            Some(_) | None => None,
        },
        quiet: matches.get_flag("quiet"),
        verbose: matches.get_flag("verbose"),
    })
}

fn answers_to(verb: &str, name: &OsStr) -> bool {
    name == verb || (verb == "status" && name == "ps")
}

/// The first word that is no option. None where help is asked for before it: that is all of it.
fn verb_of(argv: &[OsString]) -> Option<&OsStr> {
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("-h" | "--help" | "-V" | "--version" | "--") => return None,
            Some(option) if WITH_VALUE.contains(&option) => {
                words.next();
            }
            Some(option) if option.starts_with('-') => {}
            Some(_) | None => return Some(word),
        }
    }
    None
}

/// What clap has to say, in our words: text for stdout, or a refusal.
fn told(error: &clap::Error, verb: String) -> Result<Parsed, Refusal> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return Ok(Parsed::Text(error.render().to_string()));
        }
        ErrorKind::MissingSubcommand => {
            let of = context(ContextKind::InvalidSubcommand).unwrap_or("hearth");
            let verbs = match error.get(ContextKind::ValidSubcommand) {
                Some(ContextValue::Strings(verbs)) => verbs.join(", "),
                Some(_) | None => String::new(),
            };
            return Err(Refusal::usage(format!("`{of}` and then what? {verbs}"))
                .hint(format!("{of} --help")));
        }
        _ => {}
    }
    Err(in_our_words(&error.render().to_string(), verb))
}

/// clap's message without its decoration; the hint is what it takes for meant, else where to read
/// on: at `verb`, where clap does not say it more closely.
fn in_our_words(rendered: &str, mut verb: String) -> Refusal {
    let mut message = String::new();
    let mut meant = Vec::new();
    for line in rendered.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(tip) = line.strip_prefix("tip: ") {
            meant.extend(tip.contains("similar").then_some(tip));
        } else if let Some(usage) = line.strip_prefix("Usage: ") {
            let words = usage.split(' ').take_while(|word| !word.starts_with(['[', '<', '-']));
            verb = words.collect::<Vec<_>>().join(" ");
        } else if !line.starts_with("For more information") {
            let part = line.strip_prefix("error: ").unwrap_or(line);
            message.push_str(if message.is_empty() { "" } else { " " });
            message.push_str(part);
        }
    }
    // What stands before the `--` is hearth's own.
    if meant.is_empty() {
        match verb.as_str() {
            "hearth run" => return Refusal::usage(message).hint("hearth run [OPTIONS] -- CMD..."),
            "hearth with" => return Refusal::usage(message).hint(with::USAGE),
            _ => {}
        }
    }
    let hint = if meant.is_empty() { format!("{verb} --help") } else { meant.join("; ") };
    Refusal::usage(message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb(line: &str) -> Option<String> {
        let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        verb_of(&argv).map(|verb| verb.to_string_lossy().into_owned())
    }

    #[test]
    fn the_verb_is_found_among_the_options() {
        assert_eq!(verb("hearth --json -C up --home=x status up"), Some("status".into()));
        assert_eq!(verb("hearth --color never -q ps"), Some("ps".into()));
        assert_eq!(verb("hearth --help up"), None);
        assert_eq!(verb("hearth"), None);
    }

    #[test]
    fn the_grammar_is_sound() {
        whole().debug_assert();
    }
}
