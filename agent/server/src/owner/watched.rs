//! The files that services are ready by: watched for as long as the life lasts, asked or not.

use hearth_config::{Probe, Test};
use hearth_core::{ServiceId, State};

use super::Owner;
use crate::execute::file;
use crate::execute::probe::Answers;

impl Owner {
    /// From the first question on it says by itself whether the file is there; a later question has
    /// its answer already.
    pub(super) fn watch_file(&mut self, id: ServiceId, life: u64, number: usize, test: Test) {
        let tell = self.tell.clone();
        let Some(running) = self.running(&id, life) else { return };
        if running.probes.get(&number).is_some_and(|task| !task.is_finished()) {
            return;
        }
        let answers = Answers { id, life, test: number, tell };
        let task = tokio::spawn(async move { file::watch(&test, &answers).await });
        running.probes.insert(number, task.abort_handle());
    }

    /// Of a life that was found ready: the core asks no more for what has spoken once, and who
    /// watched went with the last agent.
    pub(super) fn watch_files(&mut self, id: &ServiceId, life: u64) {
        let state = self.world.view(id).map(|view| view.state);
        if !matches!(state, Some(State::Ready | State::Unhealthy)) {
            return;
        }
        let Some(running) = self.running(id, life) else { return };
        let tests = running.resolved.iter().flat_map(|resolved| &resolved.ready).enumerate();
        let files: Vec<(usize, Test)> = tests
            .filter(|(_, test)| matches!(test.probe, Probe::File(_)))
            .map(|(number, test)| (number, test.clone()))
            .collect();
        for (number, test) in files {
            self.watch_file(id.clone(), life, number, test);
        }
    }
}
