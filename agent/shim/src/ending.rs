//! How a life ends: asked, killed or by itself, and all of its tree with it.
//!
//! Invariants: the exit is on record before anybody is told; what is being killed is killed again
//! at every sign of life until nothing is left; `Emptied` is told once, after the last byte of the
//! tree's output is in the log.

use std::time::{Duration, Instant};

use hearth_process::Signal;

use crate::frames::{Exit, FromShim, StopTo};
use crate::reap;
use crate::shim::{Shim, now};
use crate::tree;

/// When the tree could not be read, or the kernel does not tell of its end: look again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Shim {
    /// The stop signal, once, to whom the spec says.
    pub(crate) fn ask_to_stop(&mut self) {
        if self.stopping || self.is_over() {
            return;
        }
        self.stopping = true;
        self.cancel_probes();
        if self.leader().is_some() {
            self.kill_due = self.after_stop_timeout();
            self.send(self.stop.signal, self.stop.to);
            // What is suspended would get it only when it goes on.
            self.send(Signal::CONT, self.stop.to);
        }
    }

    fn after_stop_timeout(&self) -> Option<Instant> {
        Instant::now().checked_add(Duration::from_millis(self.stop.timeout_ms))
    }

    /// Any signal. To leader and group only while the leader is not reaped.
    pub(crate) fn send(&mut self, signal: Signal, to: StopTo) {
        match (to, self.leader()) {
            (StopTo::Leader, Some(leader)) => tree::signal_child(leader, signal),
            (StopTo::Group, Some(leader)) => tree::signal_group(leader, signal),
            (StopTo::Tree, _) => self.signal_tree(signal),
            (StopTo::Leader | StopTo::Group, None) => {}
        }
    }

    fn signal_tree(&mut self, signal: Signal) {
        let Some(leader) = self.record.leader.as_ref().map(|leader| leader.pid) else { return };
        if self.is_over() {
            return;
        }
        if self.tree.signal(leader, &self.probes.pids(), signal).is_err() {
            // The tree can't be read: its group is what can be reached.
            self.send(signal, StopTo::Group);
        }
    }

    /// SIGKILL to the whole tree, from here on until it is empty.
    pub(crate) fn kill(&mut self) {
        if self.is_over() {
            return;
        }
        self.stopping = true;
        self.killing = true;
        self.kill_due = None;
        self.cancel_probes();
        self.kill_pass();
    }

    /// One round of that.
    pub(crate) fn kill_pass(&mut self) {
        if let Some(leader) = self.leader() {
            // At once for all of the group, so that what forks fast does not outrun the list.
            tree::signal_group(leader, Signal::KILL);
        }
        let Some(leader) = self.record.leader.as_ref().map(|leader| leader.pid) else { return };
        if self.tree.kill(leader, &self.probes.pids()).is_err() {
            self.look_due = Instant::now().checked_add(LOOK_AGAIN);
        }
    }

    /// Takes the leader's exit and begins to end what is left of its tree.
    pub(crate) fn leader_ended(&mut self, pid: u32) {
        let Some(ended) = reap::reap(pid) else { return };
        let signal = ended.signal.and_then(Signal::from_raw);
        let exit = Exit { code: ended.code, signal, at: now(), usage: ended.usage };
        self.record.exit = Some(exit.clone());
        self.write_record();
        if let Some(output) = &mut self.output {
            output.copy_what_is_there();
        }
        self.hear_notify();
        self.tell_notify(Instant::now());
        self.tell(&FromShim::Exited { exit });
        self.cancel_probes();
        if !self.killing {
            self.kill_due = self.after_stop_timeout();
            self.signal_tree(self.stop.signal);
            self.signal_tree(Signal::CONT);
        }
    }

    /// The leader has ended: is anything left, and what is to be done about it?
    pub(crate) fn end_tree(&mut self) {
        if self.killing {
            self.kill_pass();
        }
        let leader = self.record.leader.as_ref().map_or(0, |leader| leader.pid);
        match self.tree.members(leader, &[]) {
            Ok(left) if left.is_empty() => self.emptied(),
            Ok(_) if !tree::MUST_LOOK_AGAIN => {}
            Ok(_) | Err(_) => self.look_due = Instant::now().checked_add(LOOK_AGAIN),
        }
    }

    fn emptied(&mut self) {
        if let Some(output) = &mut self.output {
            output.end();
        }
        self.notify_socket = None;
        self.record.emptied = true;
        self.write_record();
        self.kill_due = None;
        self.look_due = None;
        self.leave_due = Instant::now().checked_add(self.acknowledge_within);
        self.tell(&FromShim::Emptied);
    }

    /// While an agent is there it says when a leader that does not stop is killed.
    pub(crate) fn escalates_itself(&self) -> bool {
        self.leader().is_none() || self.on_its_own || !self.has_agent()
    }

    /// The life is over and nobody needs the shim any more: everything it had is gone, but the
    /// record of an end that nobody has acknowledged.
    pub(crate) fn leaves(&mut self) -> bool {
        let late = self.leave_due.is_some_and(|due| due <= Instant::now());
        let unneeded = self.on_its_own && !self.has_agent();
        if !self.is_over() || !(self.acknowledged || late || unneeded) {
            return false;
        }
        let _ = std::fs::remove_file(&self.socket_path);
        if self.acknowledged {
            let _ = std::fs::remove_file(&self.record_path);
        }
        true
    }
}
