//! `daemon`: the agent itself, for who wants to see it. Nobody has to.
//!
//! Kept true here: an end is told only when the lifetime lock is free; a living agent is never replaced by
//! an older one.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use serde_json::json;

use super::{Refusal, Verb, flag, timeout, timeout_of};
use crate::{CallError, Ended, Options, Ready, Report, State, Stop, tail};

pub(super) fn grammar() -> Command {
    let lines = Arg::new("lines")
        .short('n')
        .value_name("N")
        .help("The last N lines alone")
        .value_parser(clap::value_parser!(usize));
    Command::new("daemon")
        .about("The agent itself: it starts by itself, nobody has to do it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([
            Command::new("up").about("Start the agent and wait until it is ready").arg(timeout()),
            Command::new("down")
                .about("End the agent")
                .args([timeout(), flag("force", "Kill it where it does not end in time")]),
            Command::new("restart")
                .about("Put a new agent in the place of the one that runs; nobody is refused")
                .args([timeout(), flag("force", "Kill one that does not answer")]),
            Command::new("status")
                .about("Show how it stands with the agent; exit 3 where none lives"),
            Command::new("run")
                .about("Be the agent, in the foreground (what service managers execute)"),
            Command::new("logs")
                .about("Show the agent's own log")
                .args([lines, flag("follow", "Go on with what comes").short('f')]),
        ])
}

impl Verb<'_> {
    pub(super) fn daemon(&self, verb: Option<(&str, &ArgMatches)>) -> Result<u8, Refusal> {
        match verb {
            Some(("up", matches)) => self.up(matches),
            Some(("down", matches)) => self.down(matches),
            Some(("restart", matches)) => self.restart(matches),
            Some(("status", _)) => self.status(),
            Some(("logs", matches)) => self.logs(matches),
            _ => Err(Refusal::new("usage", "what about the agent?", "`daemon --help`")),
        }
    }

    /// Goes round the backoff: somebody asked for it by name.
    fn up(&self, matches: &ArgMatches) -> Result<u8, Refusal> {
        let timeout = timeout_of(matches);
        let options = Options { timeout, past_backoff: true, ..self.globals.options() };
        let ready = self.client.ensure_ready(&options);
        self.told_and_usable(&ready, timeout)
    }

    fn restart(&self, matches: &ArgMatches) -> Result<u8, Refusal> {
        let (timeout, force) = (timeout_of(matches), matches.get_flag("force"));
        let options = Options { timeout, past_backoff: true, ..self.globals.options() };
        let ready = self.client.replace(&options, force).map_err(|error| match &error {
            CallError::NotReady(ready) => Refusal::not_ready(ready, timeout),
            _ => error.into(),
        })?;
        self.told_and_usable(&ready, timeout)
    }

    fn told_and_usable(&self, ready: &Ready, timeout: Option<Duration>) -> Result<u8, Refusal> {
        if !ready.state.is_ready() {
            return Err(Refusal::not_ready(ready, timeout));
        }
        self.print_json(&Report::of(self.client.home(), ready))?;
        // That one was started, the client has told.
        if ready.state == State::Up {
            let pid = ready.version.as_ref().map(|it| format!(" (pid {})", it.pid));
            self.tell(&format!("agent up{}", pid.unwrap_or_default()));
        }
        Ok(0)
    }

    fn status(&self) -> Result<u8, Refusal> {
        let options = Options { no_spawn: true, ..self.globals.options() };
        let ready = self.client.ensure_ready(&options);
        let (app, home) = (self.client.app(), self.client.home());
        let report = Report::of(home, &ready).with_manager(app, home);
        self.globals.print(&report, Report::lines)?;
        if ready.state.is_ready() { Ok(0) } else { Err(Refusal::not_ready(&ready, None)) }
    }

    fn down(&self, matches: &ArgMatches) -> Result<u8, Refusal> {
        let how = Stop { within: timeout_of(matches), force: matches.get_flag("force") };
        let ended = self
            .client
            .stop(how)
            .map_err(|error| Refusal::of_stop(self.client.app(), error, how.within))?;
        let hung = if let Ended::Hung(names) = &ended { names.clone() } else { Vec::new() };
        let (was_up, killed) = (ended != Ended::WasDown, ended == Ended::Killed);
        let report = json!({ "state": "down", "was_up": was_up, "killed": killed, "hung": hung });
        self.print_json(&report)?;
        match ended {
            Ended::WasDown => self.tell("no agent runs"),
            Ended::Stopped => self.tell("agent down"),
            Ended::Killed => self.tell("agent killed, which did not end by itself"),
            Ended::Hung(names) => {
                let names = names.join(", ");
                let why = format!("the agent is down, and did not wait longer for: {names}");
                let hint = format!("`{} daemon logs` tells more", self.name());
                let refusal = Refusal::new("shutdown-timeout", why, hint);
                return Err(Refusal { details: json!({ "hung": hung }), ..refusal });
            }
        }
        Ok(0)
    }

    fn logs(&self, matches: &ArgMatches) -> Result<u8, Refusal> {
        let (path, last) = (self.client.home().log(), matches.get_one::<usize>("lines").copied());
        if !path.exists() {
            self.tell(&format!("there is no log yet at {}", path.display()));
            return Ok(0);
        }
        let mut unprinted = None;
        let print = &mut |bytes: &[u8]| {
            let printed = io::stdout().write_all(bytes).and_then(|()| io::stdout().flush());
            printed.map_err(|error| {
                let kind = error.kind();
                unprinted = Some(error);
                kind.into()
            })
        };
        let stdout = io::stdout();
        let follow = matches.get_flag("follow").then(|| stdout.as_fd());
        let read = tail(&path, last, follow, print);
        match (read, unprinted) {
            // Its reader has gone away.
            (_, Some(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
            (_, Some(error)) => {
                Err(Refusal::new("internal", format!("cannot write to stdout: {error}"), ""))
            }
            (Ok(()), None) => Ok(0),
            (Err(error), None) => {
                let why = format!("cannot read {}: {error}", path.display());
                let hint = "look at what stands there with `ls -l`, and move it away";
                Err(Refusal::new("internal", why, hint))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Globals, globals, verbs};
    use super::*;
    use crate::Need;
    use crate::app::tests::APP;

    fn need(line: &str) -> Need {
        let grammar = Command::new("pair").args(globals()).subcommands(verbs());
        let words = line.split_whitespace();
        Globals::of(&APP, &grammar.try_get_matches_from(words).unwrap()).need
    }

    #[test]
    fn an_option_says_the_same_wherever_it_stands() {
        assert_eq!(need("pair daemon status"), Need::Auto);
        assert_eq!(need("pair --strict daemon status"), Need::Strict);
        assert_eq!(need("pair daemon status --strict"), Need::Strict);
        assert_eq!(need("pair daemon status --no-spawn"), Need::Never);
        assert_eq!(need("pair --no-spawn daemon status --strict"), Need::Strict);
    }

    #[test]
    fn a_duration_without_a_unit_is_refused() {
        let grammar = || Command::new("pair").args(globals()).subcommands(verbs());
        let parse = |word: &str| {
            let line = ["pair", "daemon", "up", "--timeout", word];
            grammar().try_get_matches_from(line).is_ok()
        };
        assert!(parse("1m30s") && parse("500ms") && !parse("5") && !parse("soon"));
    }
}
