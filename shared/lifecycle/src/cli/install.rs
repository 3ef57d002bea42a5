//! `install` and `uninstall`: the agent in the hands of the user's service manager.
//!
//! Kept true here: what is refused has written nothing, not even the home; what `--dry-run` prints is what
//! is done. A failure half-way says what was done.

use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use super::{Refusal, Verb, flag};
use crate::Options;
use crate::unit::{self, Done, Obstacle, Plan, Step, Wanted};

/// How long a login shell may take to tell its environment.
const SHELL: Duration = Duration::from_secs(5);
/// How long the manager may take to say how it stands.
const ASKING: Duration = Duration::from_secs(8);

pub(super) fn grammar() -> Command {
    Command::new("install")
        .about("Have the service manager run the agent: it is there from login on")
        .args([
            flag("dry-run", "Print every file and command, and do nothing"),
            flag("force", "Also in CI; write edited units anew, and keep what they were as .bak"),
        ])
}

pub(super) fn grammar_of_uninstall() -> Command {
    Command::new("uninstall").about("Take the agent from the service manager again")
}

impl Verb<'_> {
    pub(super) fn install(&self, matches: &ArgMatches) -> Result<u8, Refusal> {
        let (app, home) = (self.client.app(), self.client.home());
        let (force, dry) = (matches.get_flag("force"), matches.get_flag("dry-run"));
        let in_ci = unit::in_ci().filter(|_| !force).map(|variable| {
            let why = format!("this is CI ({variable} is set), where nobody logs in");
            let hint = format!("if it is meant: `{} install --force`", self.name());
            Refusal::new("usage", why, hint)
        });
        if let Some(refusal) = in_ci.clone().filter(|_| !dry) {
            return Err(refusal);
        }
        self.is_our_own_home()?;
        let executable = unit::executable(app)
            .map_err(|refused| Refusal::new("forbidden", refused.words, refused.remedy))?;
        home.look().map_err(|blocked| Refusal::new("blocked", blocked.reason, blocked.remedy))?;
        let wanted = Wanted {
            kind: unit::KIND,
            home: home.clone(),
            executable: executable.path,
            environment: unit::environment(app, SHELL).variables,
        };
        let (plan, unreached) =
            unit::would_install(app, &wanted, force, Instant::now() + ASKING).map_err(obstacle)?;
        if dry {
            let steps: Vec<_> = plan.steps.iter().map(|step| of_step(step, false)).collect();
            let in_the_way = unreached.map(|refused| refused.words);
            let in_the_way: Vec<_> =
                in_ci.into_iter().map(|refusal| refusal.message).chain(in_the_way).collect();
            let planned = json!({
                "ok": in_the_way.is_empty(), "home": home.dir(), "steps": steps,
                "refused": in_the_way,
            });
            self.globals.print(&planned, |_| in_words(&plan))?;
            for words in in_the_way {
                self.tell(&format!("an install would be refused: {words}"));
            }
            self.tell("nothing was done");
            return Ok(0);
        }
        if let Some(refused) = unreached {
            return Err(Refusal::of_manager(refused));
        }
        home.prepare()
            .map_err(|blocked| Refusal::new("blocked", blocked.reason, blocked.remedy))?;
        let steps = self.carry_out(&plan)?;
        let ready = self.client.ensure_ready(&Options::default());
        if !ready.state.is_ready() {
            let refusal = Refusal::not_ready(&ready, None);
            let message = format!("installed, but the agent does not answer: {}", refusal.message);
            return Err(Refusal { code: "service-not-ready".into(), message, ..refusal });
        }
        self.print_json(&json!({ "ok": true, "home": home.dir(), "steps": steps }))?;
        self.tell("installed: the agent is there from login on");
        Ok(0)
    }

    pub(super) fn uninstall(&self) -> Result<u8, Refusal> {
        let (app, home) = (self.client.app(), self.client.home());
        self.is_our_own_home()?;
        let plan = unit::uninstall(app, home, false);
        let steps = plan.as_ref().map_or(Ok(Vec::new()), |plan| self.carry_out(plan))?;
        self.print_json(&json!({ "ok": true, "home": home.dir(), "steps": steps }))?;
        self.tell(match plan {
            Some(_) => "uninstalled; verbs start the agent themselves",
            None => "nothing is installed for this home",
        });
        Ok(0)
    }

    fn carry_out(&self, plan: &Plan) -> Result<Vec<Value>, Refusal> {
        let mut steps = Vec::new();
        let carried = plan.carry_out(self.client.app(), self.client.home(), &mut |step, done| {
            let failed = match done {
                Done::Yes => String::new(),
                Done::Failed(refused) => format!(": {}", refused.words),
            };
            self.tell(&format!("{}{failed}", step.in_words()));
            steps.push(of_step(step, *done == Done::Yes));
        });
        match carried {
            Ok(()) => Ok(steps),
            Err(refused) => {
                let details = json!({ "steps": steps });
                Err(Refusal { details, ..Refusal::of_manager(refused) })
            }
        }
    }

    /// `sudo notes install` would leave root's units in a person's home.
    fn is_our_own_home(&self) -> Result<(), Refusal> {
        let Some((home, owner)) = unit::foreign_home() else { return Ok(()) };
        let why = format!(
            "{} belongs to uid {owner}: the units of one user are no business of another's",
            home.display()
        );
        Err(Refusal::new("forbidden", why, "as that user, without sudo"))
    }
}

fn obstacle(obstacle: Obstacle) -> Refusal {
    let code = obstacle.code();
    let refused = obstacle.refused();
    Refusal::new(code, format!("{}; nothing was installed", refused.words), refused.remedy)
}

fn of_step(step: &Step, done: bool) -> Value {
    json!({
        "what": step.word(), "path": step.path(), "command": step.command(), "done": done,
    })
}

/// Every step, and the text of each file.
fn in_words(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        text.push_str(&format!("{}\n", step.in_words()));
        if let Step::Write { text: file, .. } = step {
            file.lines().for_each(|line| {
                text.push_str(format!("    {line}").trim_end());
                text.push('\n');
            });
        }
    }
    text
}
