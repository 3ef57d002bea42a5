//! What an install or an uninstall tells: steps and findings, line by line for people, as one object for
//! tools.

use std::path::PathBuf;

use hearth_lifecycle::Home;
use hearth_lifecycle::unit::{Done, Plan, Step};
use serde::Serialize;

use crate::args::Context;
use crate::finding::{Finding, Level};
use crate::output;
use crate::refuse::Refusal;

/// A line of one, as it is said at once.
fn line(finding: &Finding) -> String {
    let message = anstream::adapter::strip_str(&finding.message).to_string();
    let line = format!("{:<7} {} {message}", finding.level.word(), finding.name);
    let line = line.trim_end();
    match finding.remedy.is_empty() {
        true => line.to_owned(),
        false => format!("{line}\n          {}", finding.remedy),
    }
}

/// One step, as in JSON.
#[derive(Clone, Debug, Serialize)]
pub struct StepTold {
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    done: bool,
    #[serde(skip)]
    words: String,
    #[serde(skip)]
    changed: bool,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    ok: bool,
    home: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    executable: Option<PathBuf>,
    /// What was done.
    pub steps: Vec<StepTold>,
    checks: Vec<Finding>,
}

impl Report {
    /// One without steps.
    pub fn new(home: &Home, executable: &std::path::Path) -> Self {
        let executable = Some(executable.to_owned());
        Self { executable, ..Self::without_executable(home) }
    }

    /// One of an uninstall.
    pub fn without_executable(home: &Home) -> Self {
        Self {
            ok: true,
            home: home.dir().to_owned(),
            executable: None,
            steps: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// Adds findings.
    pub fn found(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.checks.extend(findings);
    }

    /// Adds one, and says it at once.
    pub fn tell(&mut self, context: &Context, finding: Finding) {
        say(context, &line(&finding));
        self.ok &= finding.level != Level::Fault;
        self.checks.push(finding);
    }

    /// Says what was found before anything was done.
    pub fn tell_findings(&self, context: &Context) {
        for finding in self.checks.iter().filter(|finding| finding.level != Level::Ok) {
            say(context, &line(finding));
        }
    }

    /// All steps, none of them done.
    pub fn planned(&mut self, plan: &Plan) {
        self.told_edited(plan);
        self.steps = plan.steps.iter().map(|step| told(step, false)).collect();
    }

    /// What to do about files that a person has edited.
    pub fn told_edited(&mut self, plan: &Plan) {
        for step in &plan.steps {
            let Step::Edited { path } = step else { continue };
            self.checks.push(Finding::warning(
                "unit",
                format!("{}: it was edited, and stays as it is", path.display()),
                "`hearth install --force` writes it anew, and keeps this one as .bak",
            ));
        }
    }

    /// A step that was carried out.
    pub fn done(&mut self, context: &Context, step: &Step, done: &Done) {
        self.steps.push(told(step, *done == Done::Yes));
        say(context, &super::line_of(step, done));
    }

    /// What was done so far, a line a step.
    pub fn done_in_words(&self) -> Vec<String> {
        let done = self.steps.iter().filter(|step| step.done && step.changed);
        done.map(|step| step.words.clone()).collect()
    }

    /// Prints the plan with the text of each file.
    pub fn print_plan(&self, context: &Context, plan: &Plan) -> Result<u8, Refusal> {
        if context.json {
            return output::print_json(self).map(|()| 0);
        }
        let mut text = String::new();
        for step in &plan.steps {
            text.push_str(&step.in_words());
            text.push('\n');
            if let Step::Write { text: file, .. } = step {
                for line in file.lines() {
                    let line = format!("    {line}");
                    text.push_str(line.trim_end());
                    text.push('\n');
                }
            }
        }
        output::print(text.as_bytes())?;
        self.tell_findings(context);
        super::tell(context, "nothing was done");
        Ok(0)
    }

    /// Says what it has come to. Exit code 1 where something is at fault.
    pub fn end(&self, context: &Context, plan: &Plan) -> Result<u8, Refusal> {
        if context.json {
            output::print_json(self)?;
        }
        let changed = plan.steps.iter().any(|step| matches!(step, Step::Write { .. }));
        super::tell(
            context,
            match (self.ok, changed) {
                (true, true) => "installed: the agent is there from login on",
                (true, false) => "installed already: nothing had to be written",
                (false, _) => "installed, and not well",
            },
        );
        Ok(u8::from(!self.ok))
    }

    /// As JSON, where that was asked for.
    pub fn print_json(&self, context: &Context) -> Result<(), Refusal> {
        if context.json { output::print_json(self) } else { Ok(()) }
    }
}

fn told(step: &Step, done: bool) -> StepTold {
    StepTold {
        what: step.word(),
        path: step.path().map(PathBuf::from),
        command: step.command(),
        done,
        words: step.in_words(),
        changed: step.changes(),
    }
}

fn say(context: &Context, line: &str) {
    if !context.quiet && !context.json {
        output::tell(line);
    }
}
