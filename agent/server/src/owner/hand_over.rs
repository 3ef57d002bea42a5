//! Handing over to a successor, and taking over from a predecessor that lives.
//!
//! Invariant: from the freeze on nothing is decided here, no shim is told anything and none is asked
//! for again, so that the successor can take over one after the other; and nothing that came in
//! meanwhile is lost, so that a thaw goes on where the freeze began.

use hearth_api::Result as Word;
use hearth_api::event::EndReason;
use hearth_lifecycle::Luggage;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};
use tracing::warn;

use super::boot::Fault;
use super::{Node, Owner};
use crate::bundle::Bundle;
use crate::command::{Command, Reply};
use crate::execute::link::Link;

/// A start that is under way is done in a moment, or something is wrong with the machine.
const RESTING: Duration = Duration::from_secs(1);

/// Before the number and the project, the name of what that project's shims hold: without it the
/// environment of a project that has no shim just now would be lost.
const BUNDLE: &str = "bundle:";

fn bundle_name(name: &str) -> Option<(u64, &str)> {
    let (generation, project) = name.strip_prefix(BUNDLE)?.split_once(':')?;
    Some((generation.parse().ok()?, project))
}

/// What one agent tells the next, beyond what is in shims and on disk. Fields are only ever added.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    /// Ids of requests that were carried out, oldest first: those who wait for them come again.
    #[serde(default)]
    requests: Vec<String>,
    /// What did not come up after the boot.
    #[serde(default)]
    boot: Vec<Fault>,
}

impl Owner {
    /// Gives everything away and waits for what comes of it. `Some`: the agent is to leave.
    pub(super) async fn freeze(
        &mut self,
        reply: Reply<Luggage>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Option<Reply<()>> {
        self.freezing = true;
        self.starts_end().await;
        self.end_streams(Word::Replaced);
        self.end_events(EndReason::Replaced);
        self.save();
        self.settle();
        self.rest().await;
        self.leave_sessions_alone().await;
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
        self.freezing = false;
        self.tell_agent("up");
        self.links().for_each(Link::resume);
        self.begin_everywhere();
        self.watch_sessions();
        // The other one may have written it, and is no more.
        self.store.forget();
        self.save();
        held.into_iter().for_each(|command| self.answer(command));
        None
    }

    /// Waits until every shim that was started has its service, or has said why not: the successor
    /// could neither find nor start what is in between. None is started meanwhile.
    async fn starts_end(&mut self) {
        let all = async {
            while self.nodes.values().any(Node::is_being_born) {
                let Some(told) = self.news.recv().await else { return };
                self.hear(told);
            }
        };
        let _ = timeout(RESTING, all).await;
    }

    /// Lets every line rest. A shim that is being started has got all that it needs when its line
    /// does; the successor finds it, or starts it anew and is refused.
    async fn rest(&self) {
        let mut resting: JoinSet<_> = self.links().map(Link::pause).collect();
        let all = async { while resting.join_next().await.is_some() {} };
        if timeout(RESTING, all).await.is_err() {
            warn!("a shim takes long to start: the next agent looks after it");
        }
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        let links = self.nodes.values().map(|node| {
            let running = node.running.as_ref().map(|running| &running.link);
            running.into_iter().chain(node.closing.iter().map(|(_, link)| link))
        });
        links.flatten()
    }

    fn pack(&self) -> Luggage {
        let requests = self.done.iter().cloned().collect();
        let notes = Notes { requests, boot: self.boot.faults().to_vec() };
        let notes = serde_json::to_string(&notes).unwrap_or_default();
        let mut fds = Vec::new();
        for (project, held) in &self.bundles {
            match held.fd.try_clone() {
                Ok(fd) => fds.push((format!("{BUNDLE}{}:{project}", held.generation), fd)),
                Err(error) => warn!(%project, %error, "cannot hand over its environment"),
            }
        }
        Luggage { notes, fds }
    }

    /// What the agent before this one has handed over.
    pub(crate) fn unpack(&mut self, luggage: Luggage) {
        for (name, fd) in luggage.fds {
            let Some((generation, project)) = bundle_name(&name) else { continue };
            match Bundle::open(fd, generation) {
                Ok((bundle, held)) => self.take_bundle(&project.into(), bundle, held),
                Err(error) => warn!(project, %error, "its environment was not handed over"),
            }
        }
        if luggage.notes.is_empty() {
            return;
        }
        match serde_json::from_str::<Notes>(&luggage.notes) {
            Ok(notes) => {
                self.done_before(notes.requests);
                self.boot.tell(notes.boot);
            }
            Err(error) => warn!(%error, "the notes of the agent before are not understood"),
        }
    }
}
