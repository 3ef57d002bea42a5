//! Handing over to a successor, and taking over from a predecessor that lives.
//!
//! Invariant: from the freeze on nothing is decided here, no shim is told anything and none is asked
//! for again, so that the successor can take over one after the other; and nothing that came in
//! meanwhile is lost, so that a thaw goes on where the freeze began.

use hearth_api::Result as Word;
use hearth_lifecycle::Luggage;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing::warn;

use super::Owner;
use crate::command::{Command, Reply};

/// What one agent tells the next, beyond what is in shims and on disk. Fields are only ever added.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    /// Ids of requests that were carried out, oldest first: those who wait for them come again.
    #[serde(default)]
    requests: Vec<String>,
}

impl Owner {
    /// Gives everything away and waits for what comes of it. `Some`: the agent is to leave.
    pub(super) async fn freeze(
        &mut self,
        reply: Reply<Luggage>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Option<Reply<()>> {
        self.end_streams(Word::Replaced);
        // Who asked for it is gone: then nothing comes of it, and that is told by a thaw.
        let _ = reply.send(self.pack());
        let mut held = Vec::new();
        loop {
            match commands.recv().await {
                Some(Command::Leave(reply)) => return Some(reply),
                Some(Command::Thaw(reply)) => {
                    let _ = reply.send(());
                    break;
                }
                Some(command) => held.push(command),
                None => break,
            }
        }
        held.into_iter().for_each(|command| self.answer(command));
        None
    }

    fn pack(&self) -> Luggage {
        let notes = Notes { requests: self.done.iter().cloned().collect() };
        let notes = serde_json::to_string(&notes).unwrap_or_default();
        Luggage { notes, fds: Vec::new() }
    }

    /// What the agent before this one has handed over.
    pub(crate) fn unpack(&mut self, luggage: Luggage) {
        if luggage.notes.is_empty() {
            return;
        }
        match serde_json::from_str::<Notes>(&luggage.notes) {
            Ok(notes) => self.done.extend(notes.requests),
            Err(error) => warn!(%error, "the notes of the agent before are not understood"),
        }
    }
}
