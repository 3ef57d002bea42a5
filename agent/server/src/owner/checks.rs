//! The tests of checks. A check has no shim, so what asks them is the owner's own: it begins with
//! the first question of a life and ends when the core says so, with all that is under way.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hearth_config::{Probe, Test, Values};
use hearth_core::{Event, Kind, ServiceId, Verdict};
use hearth_shim::one_shot::Question;
use tokio::task::AbortHandle;

use super::Owner;
use crate::capture::Capture;
use crate::convert;
use crate::execute::probe::Answers;
use crate::execute::{file, one_shot, probe};

/// A check that is asked.
#[derive(Debug)]
pub(crate) struct Checking {
    life: u64,
    tests: Vec<Test>,
    dir: PathBuf,
    /// What the shell gave; `None`: it is gone, and commands can't be run.
    capture: Option<Arc<Capture>>,
    under_way: HashMap<usize, AbortHandle>,
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.under_way.values().for_each(AbortHandle::abort);
    }
}

impl Owner {
    pub(super) fn is_check(&self, id: &ServiceId) -> bool {
        self.world.definition(id).is_some_and(|definition| definition.kind == Kind::Check)
    }

    /// Asks one test of a check; a file is watched from then on.
    pub(super) fn ask_check(&mut self, id: ServiceId, life: u64, test: usize) {
        let known = self.nodes.get(&id).and_then(|node| node.checking.as_ref());
        if known.is_none_or(|checking| checking.life != life) {
            match self.begin_checking(&id, life) {
                Ok(checking) => {
                    self.nodes.entry(id.clone()).or_default().checking = Some(checking);
                }
                Err(reason) => {
                    let verdict = Verdict::Fail(reason);
                    self.later.push_back(Event::Probed { id, life, test, verdict });
                    return;
                }
            }
        }
        let question = Asking {
            open_files: self.handle.open_files(),
            answers: Answers { id: id.clone(), life, test, tell: self.tell.clone() },
            home: self.place.home().to_owned(),
            lives: self.faces.lives(),
            lived: self.world.lived(&id, self.clock.now()),
        };
        let checking = self.nodes.get_mut(&id).and_then(|node| node.checking.as_mut());
        let Some(checking) = checking else { return };
        let Some(asked) = checking.tests.get(test) else { return };
        if matches!(asked.probe, Probe::File(_)) && checking.is_under_way(test) {
            // It says by itself when that changes.
            return;
        }
        let (asked, dir, capture) = (asked.clone(), checking.dir.clone(), checking.capture.clone());
        let task = tokio::spawn(question.ask(asked, dir, capture));
        if let Some(before) = checking.under_way.insert(test, task.abort_handle()) {
            before.abort();
        }
    }

    /// Whether a check's answer is of the life that it is in.
    pub(super) fn is_checking(&self, id: &ServiceId, life: u64) -> bool {
        let checking = self.nodes.get(id).and_then(|node| node.checking.as_ref());
        checking.is_some_and(|checking| checking.life == life)
    }

    /// Ends all questions of a life.
    pub(super) fn end_checking(&mut self, id: &ServiceId, life: u64) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.checking.take_if(|checking| checking.life == life);
        }
    }

    /// Errors: in words, why it can't be asked.
    fn begin_checking(&mut self, id: &ServiceId, life: u64) -> Result<Checking, String> {
        let missing = "its definition is gone, run `hearth up`";
        let print = self.world.definition(id).map(|definition| definition.fingerprint);
        let print = print.ok_or(missing)?;
        let known = self.nodes.get(id).and_then(|node| node.version(print).cloned());
        // Where no shim of the project was left to give it back, the file may say the same.
        let known = known.or_else(|| self.by_file(id).1.filter(|s| s.fingerprint == print));
        let service = known.ok_or(missing)?;
        let capture = self.nodes.get(id).and_then(|node| node.capture.clone());
        let none = BTreeMap::new();
        let captured = capture.as_ref().map_or(&none, |capture| &capture.env);
        let resolved = service.resolve(&Values { ports: self.ports.of(&id.project), captured });
        let tests = match (resolved, &capture) {
            (Ok(resolved), _) => resolved.ready,
            (Err(_), None) => return Err(GONE.to_owned()),
            (Err(refusal), Some(_)) => return Err(refusal.to_string()),
        };
        let under_way = HashMap::new();
        Ok(Checking { life, tests, dir: service.dir.clone(), capture, under_way })
    }
}

const GONE: &str = "its environment is gone, run `hearth up`";

impl Checking {
    fn is_under_way(&self, test: usize) -> bool {
        self.under_way.get(&test).is_some_and(|task| !task.is_finished())
    }
}

/// One question and who is to hear the answer.
struct Asking {
    open_files: Option<u64>,
    answers: Answers,
    home: PathBuf,
    lives: one_shot::Lives,
    lived: Duration,
}

impl Asking {
    async fn ask(self, test: Test, dir: PathBuf, capture: Option<Arc<Capture>>) {
        let verdict = match (&test.probe, capture) {
            (Probe::File(_), _) => {
                return file::watch(&test, &self.answers).await;
            }
            (Probe::Exec(_), None) => Some(Verdict::Fail(GONE.to_owned())),
            (Probe::Exec(run), Some(capture)) => {
                let question = Question {
                    home: self.home.clone(),
                    run: convert::run(run),
                    dir,
                    env: capture.env.clone(),
                    umask: capture.umask,
                    limits: capture.limits(self.open_files),
                    timeout_ms: convert::milliseconds(test.timeout),
                };
                let name = format!("{}/{}", self.answers.id.project, self.answers.id.name);
                probe::judge(&test, one_shot::ask(&name, &self.home, &question, self.lives).await)
            }
            (_, _) => probe::ask(&test, PathBuf::new(), self.answers.life, self.lived).await,
        };
        if let Some(verdict) = verdict {
            self.answers.tell(verdict).await;
        }
    }
}
