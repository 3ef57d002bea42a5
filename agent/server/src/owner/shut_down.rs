//! The end of everything: the machine is shut down, or its user logged out. What would only be killed
//! after this agent is taken down in order, by it.
//!
//! Invariant: that it was so is on disk before the first service is told, with nothing wanted any more;
//! so whenever this agent is killed meanwhile, the next one wants what is enabled and nothing else. From
//! then on no command begins anything. Nothing but the services' own `stop.timeout` bounds it.

use hearth_core::Event;
use tracing::info;

use super::{Node, Owner};
use crate::command::{Command, Reply};
use crate::refuse::Refusal;

impl Owner {
    /// Takes all down, whoever holds it; the answer comes when nothing is left.
    pub(super) fn shut_down(&mut self, reply: Reply<()>) {
        if let Some(waiting) = &mut self.shutting_down {
            return waiting.push(reply);
        }
        info!("the machine shuts down, or its user was logged out: all services go down");
        self.shutting_down = Some(vec![reply]);
        // They are refused.
        self.unpark(true);
        self.boot.is_due();
        let leases = self.leases_to_tell();
        let down = Event::Down { project: None, targets: Vec::new() };
        let actions = self.world.step(down, self.clock.now());
        self.tell_lost(leases);
        self.save();
        self.carry_out_and_tell(actions);
    }

    /// The command, unless it would begin something after all has been told to end.
    pub(super) fn refused_at_the_end(&self, command: Command) -> Option<Command> {
        if self.shutting_down.is_none() {
            return Some(command);
        }
        let stopping = Refusal::stopping();
        match command {
            Command::Up(_, reply) => drop(reply.send(Err(stopping))),
            Command::Run(_, reply) => drop(reply.send(Err(stopping))),
            Command::Lease(_, reply) => drop(reply.send(Err(stopping))),
            Command::Enable(_, reply) => drop(reply.send(Err(stopping))),
            Command::Down(..)
            | Command::Wait(..)
            | Command::Env(..)
            | Command::GiveBack(..)
            | Command::Sessions(..)
            | Command::Why(..)
            | Command::Boot(_)
            | Command::Rows(..)
            | Command::Trees(_)
            | Command::Pulse(_)
            | Command::Health(..)
            | Command::Names(..)
            | Command::Subscribe(..)
            | Command::ShutDown(_)
            | Command::Freeze(_)
            | Command::Thaw(_)
            | Command::Leave(_) => return Some(command),
        }
        None
    }

    /// Whether that is done. A shim that does not speak is not waited for: it can't be told.
    pub(super) fn note_shut_down(&mut self) {
        let Some(waiting) = &mut self.shutting_down else { return };
        if !waiting.is_empty() && self.nodes.values().all(Node::is_still) {
            for reply in waiting.drain(..) {
                let _ = reply.send(());
            }
            info!("all services are down");
        }
    }
}
