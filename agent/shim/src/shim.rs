//! The state of one life and what changes it.
//!
//! Invariants: the leader is signalled only while it is not reaped; what was told to one agent can
//! be told to the next; nothing here decides whether there is a next life.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use hearth_process::locked::LockedFile;
use hearth_process::{ProcessId, Signal};

use crate::comeback::Comeback;
use crate::command;
use crate::connection::Connection;
use crate::frames::{FromShim, Run, Spec, State, Stop, ToShim, VERSION};
use crate::notify::{Heard, NotifySocket};
use crate::output::Output;
use crate::probes::Probes;
use crate::reap;
use crate::record::Record;
use crate::refusal::{self, why};
use crate::signals::{Came, Signals};
use crate::spawn::{Stdio, spawn};
use crate::surroundings::{Given, Surroundings};
use crate::tree::{self, Tree};

/// What `start` has made.
pub struct Parts {
    /// SIGCHLD and SIGTERM.
    pub signals: Signals,
    /// The control socket.
    pub listener: UnixListener,
    /// What is on record.
    pub record: Record,
    /// Where, locked.
    pub file: LockedFile,
    /// The umask of the agent.
    pub umask: libc::mode_t,
}

/// A running shim.
pub struct Shim {
    pub(crate) signals: Signals,
    pub(crate) listener: UnixListener,
    pub(crate) connections: Vec<Connection>,
    pub(crate) output: Option<Output>,
    pub(crate) notify_socket: Option<NotifySocket>,
    pub(crate) heard: Heard,
    pub(crate) probes: Probes,
    pub(crate) surroundings: Option<Surroundings>,
    pub(crate) record: Record,
    file: LockedFile,
    pub(crate) socket_path: PathBuf,
    pub(crate) record_path: PathBuf,
    pub(crate) tree: Tree,
    pub(crate) stop: Stop,
    pub(crate) acknowledge_within: Duration,
    keep: String,
    /// Never looked at, and closed on exec: what the agent gave to be held, and its number.
    held: Option<(u64, Rc<OwnedFd>)>,
    ready: bool,
    ready_at: Option<u64>,
    pub(crate) stopping: bool,
    /// The tree is being killed, and goes on being killed until nothing is left.
    pub(crate) killing: bool,
    /// SIGTERM came: no agent is needed any more for the rest.
    pub(crate) on_its_own: bool,
    pub(crate) acknowledged: bool,
    pub(crate) comeback: Comeback,
    /// When what was asked to stop is killed.
    pub(crate) kill_due: Option<Instant>,
    /// When the tree is looked at again without a signal.
    pub(crate) look_due: Option<Instant>,
    /// When the shim goes without having been acknowledged.
    pub(crate) leave_due: Option<Instant>,
}

impl Shim {
    /// Starts the service and tells `agent`.
    pub fn new(spec: Spec, parts: Parts, mut agent: Connection) -> Self {
        let Parts { signals, listener, record, file, umask } = parts;
        agent.agent = true;
        let mut shim = Self {
            signals,
            listener,
            connections: vec![agent],
            output: None,
            notify_socket: None,
            heard: Heard::default(),
            probes: Probes::default(),
            surroundings: None,
            record,
            file,
            socket_path: spec.socket_path.clone(),
            record_path: spec.record_path.clone(),
            tree: Tree::new(&spec.home, &spec.record_path),
            stop: spec.stop.clone(),
            acknowledge_within: Duration::from_millis(spec.acknowledge_within_ms),
            keep: String::new(),
            held: None,
            ready: false,
            ready_at: None,
            stopping: false,
            killing: false,
            on_its_own: false,
            acknowledged: false,
            comeback: Comeback::default(),
            kill_due: None,
            look_due: None,
            leave_due: None,
        };
        let started = shim.start(&spec, umask);
        shim.keep = spec.keep;
        shim.tell_state();
        shim.tell_start(started);
        shim
    }

    fn start(&mut self, spec: &Spec, umask: libc::mode_t) -> Result<ProcessId, String> {
        let surroundings = Surroundings::new(&Given::by(spec, umask))?;
        let command = command::find(&spec.run, &spec.dir, surroundings.variable("PATH"))?;
        let (output, ends) = Output::open(spec).map_err(|error| {
            format!("its log in {} can't be written: {}", spec.log_dir.display(), why(&error))
        })?;
        let null = std::fs::File::open("/dev/null")
            .map_err(|error| format!("/dev/null can't be opened: {}", why(&error)))?;
        let (input, out, error) = (null.as_fd(), ends.stdout.as_fd(), ends.stderr.as_fd());
        let notify = spec.notify_path.as_deref();
        let notify = notify.map(|path| NotifySocket::open(path, surroundings.user.as_ref()));
        let no_socket =
            |error: io::Error| format!("its notify socket can't be made: {}", why(&error));
        self.notify_socket = notify.transpose().map_err(no_socket)?;
        let variable = self.notify_socket.as_ref().map(NotifySocket::variable);
        let variable = variable.transpose().map_err(no_socket)?;
        let stdio = Stdio { input, output: out, error };
        // Before there is anybody who must be found by them.
        self.record.pipes = output.inodes();
        self.write_record();
        let pid = spawn(&command, &surroundings, &stdio, variable.as_deref())
            .map_err(|failure| refusal::words(&failure, &command, &surroundings))?;
        self.output = Some(output);
        self.surroundings = Some(surroundings);
        // Our own child, not reaped: it is there, be it as a zombie.
        ProcessId::of(pid).map_err(|error| {
            tree::signal_group(pid, Signal::KILL);
            reap::reap(pid);
            format!("its process can't be identified: {}", why(&error))
        })
    }

    fn tell_start(&mut self, started: Result<ProcessId, String>) {
        match started {
            Ok(leader) => {
                self.record.leader = Some(leader.clone());
                self.record.started_at = Some(now());
                self.write_record();
                self.tell(&FromShim::Started { leader });
            }
            Err(reason) => {
                self.record.failed = Some(reason.clone());
                self.notify_socket = None;
                self.write_record();
                self.leave_due = Instant::now().checked_add(self.acknowledge_within);
                self.tell(&FromShim::StartFailed { reason });
            }
        }
    }

    /// The leader's pid, for as long as it is not reaped.
    pub(crate) fn leader(&self) -> Option<u32> {
        let leader = self.record.leader.as_ref().filter(|_| self.record.exit.is_none());
        leader.map(|leader| leader.pid)
    }

    /// There is nothing to look after: it was never started, or all has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.record.emptied || self.record.failed.is_some()
    }

    /// Its leader has ended and something of its tree is left.
    pub(crate) fn is_ending(&self) -> bool {
        self.record.exit.is_some() && !self.record.emptied
    }

    pub(crate) fn has_agent(&self) -> bool {
        self.connections.iter().any(|connection| connection.agent && !connection.ended)
    }

    /// What a signal to the shim means.
    pub(crate) fn signalled(&mut self, came: &Came) {
        if came.child {
            self.take_exits();
        }
        if came.term {
            self.on_its_own = true;
            self.ask_to_stop();
        }
    }

    /// One frame of the connection with that number.
    pub(crate) fn told(&mut self, from: usize, frame: ToShim) {
        if let ToShim::Hello { agent, .. } = frame {
            for connection in self.connections.iter_mut().filter(|known| known.agent) {
                // Not lost: followed by another one.
                (connection.ended, connection.agent) = (true, false);
            }
            self.connections[from].ended = false;
            self.call_off_comeback();
            self.connections[from].agent = true;
            self.connections[from].pid = Some(agent.pid);
            return self.tell_state();
        }
        if let ToShim::GiveBack = frame {
            return self.give_back(from);
        }
        if !self.connections[from].agent {
            self.connections[from].ended = true;
            return;
        }
        match frame {
            ToShim::Stop => self.ask_to_stop(),
            ToShim::Signal { signal, to } => self.send(signal, to),
            ToShim::Kill => self.kill(),
            ToShim::MarkReady { at } => (self.ready, self.ready_at) = (true, at),
            ToShim::Probe { id, run, timeout_ms } => self.probe(id, &run, timeout_ms),
            ToShim::CancelProbe { id } => self.probes.cancel(id),
            ToShim::Acknowledge => self.acknowledged = true,
            ToShim::Bye => {
                let agent = &mut self.connections[from];
                (agent.ended, agent.agent) = (true, false);
                self.call_off_comeback();
            }
            // A second start is a mistake of the agent's; an unknown frame is one of a later version.
            ToShim::Hello { .. } | ToShim::Start(_) | ToShim::GiveBack | ToShim::Unknown => {}
            ToShim::Hold { generation } => self.hold(from, generation),
        }
    }

    /// One that is older than what is held is closed, as is what was held when a newer one comes.
    fn hold(&mut self, from: usize, generation: u64) {
        let fd = self.connections[from].descriptor();
        if self.held.as_ref().is_some_and(|(held, _)| *held > generation) {
            return;
        }
        if let Some(fd) = fd {
            self.held = Some((generation, Rc::new(fd)));
        }
    }

    fn give_back(&mut self, to: usize) {
        let generation = self.held.as_ref().map(|(generation, _)| *generation);
        let answer = FromShim::Held { generation };
        match &self.held {
            Some((_, fd)) => self.connections[to].send_with(&answer, Rc::clone(fd)),
            None => self.connections[to].send(&answer),
        }
    }

    fn probe(&mut self, id: u64, run: &Run, timeout_ms: u64) {
        let timeout = Duration::from_millis(timeout_ms);
        let answer = match &self.surroundings {
            Some(surroundings) if self.leader().is_some() && !self.stopping => {
                self.probes.start(id, run, timeout, surroundings)
            }
            Some(_) | None => {
                let last_line = "not run: the service does not run".to_string();
                Some(FromShim::Probed { id, code: None, last_line, timed_out: false })
            }
        };
        if let Some(answer) = answer {
            self.tell(&answer);
        }
    }

    pub(crate) fn cancel_probes(&mut self) {
        for answer in self.probes.cancel_all() {
            self.tell(&answer);
        }
    }

    /// Takes the exits of all children, orphans of the tree among them.
    fn take_exits(&mut self) {
        while let Some(pid) = reap::ended_child() {
            if self.leader() == Some(pid) {
                self.leader_ended(pid);
            } else if let Some(answer) = self.probes.ended(pid) {
                answer.iter().for_each(|answer| self.tell(answer));
            } else if reap::reap(pid).is_none() {
                break;
            }
        }
        if self.is_ending() {
            self.end_tree();
        }
    }

    /// When something is due next; None: never, by the clock.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let kill_due = self.kill_due.filter(|_| self.escalates_itself());
        let notify_due = self.notify_due();
        let due = [kill_due, self.look_due, self.leave_due, self.probes.next_due(), notify_due];
        let due = due.into_iter().chain([self.comeback_due()]);
        due.flatten().min()
    }

    /// Does what is due.
    pub(crate) fn do_what_is_due(&mut self, now: Instant) {
        self.probes.end_late(now);
        self.tell_notify(now);
        self.bring_back(now);
        if self.escalates_itself() && self.kill_due.is_some_and(|due| due <= now) {
            self.kill();
        }
        if self.look_due.is_some_and(|due| due <= now) {
            self.look_due = None;
            match self.is_ending() {
                true => self.end_tree(),
                false if self.killing => self.kill_pass(),
                false => {}
            }
        }
    }

    /// Lets go of the record first: an agent that sees its connection end may start the next life.
    pub(crate) fn go(self) {
        drop(self.file);
        drop(self.connections);
    }

    pub(crate) fn write_record(&self) {
        // Room was taken by the first write. If it fails nevertheless the agent is still told;
        // only its own death in this moment would lose the exit.
        if let Err(error) = self.record.write(&self.file) {
            eprintln!("hearth shim: {}: {error}", self.record_path.display());
        }
    }

    pub(crate) fn tell(&mut self, frame: &FromShim) {
        for connection in self.connections.iter_mut().filter(|connection| connection.agent) {
            connection.send(frame);
        }
    }

    fn tell_state(&mut self) {
        let record = &self.record;
        let state = State {
            version: VERSION,
            project: record.project.clone(),
            service: record.service.clone(),
            life: record.life,
            shim: record.shim.clone(),
            leader: record.leader.clone(),
            started_at: record.started_at,
            keep: self.keep.clone(),
            ready: self.ready,
            ready_at: self.ready_at,
            stopping: self.stopping,
            failed: record.failed.clone(),
            exit: record.exit.clone(),
            emptied: record.emptied,
            held: self.held.as_ref().map(|(generation, _)| *generation),
            notify: self.heard.notify.clone(),
        };
        self.tell(&FromShim::State(Box::new(state)));
    }
}

/// Milliseconds since the Unix epoch; only for people, never compared.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
