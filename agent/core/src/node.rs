//! One service: what is wanted of it, and what is seen of it.
//!
//! Invariant: `life` is that of a process only in the phases that [`Node::is_living`] names; in the
//! others it is history, of which the number alone still counts.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    definition::Definition,
    linger::Linger,
    nouns::{Exit, Kind, ServiceId, State, Want},
    readiness::Run,
    time::Time,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is seen, in more detail than people are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// No process, none wanted.
    Down,
    /// Wanted; something that it needs is not ready.
    Waiting,
    /// Ended, and tried again at `until`.
    Backoff { until: Time },
    /// Ended with success.
    Done,
    /// Not tried again unasked.
    Failed,
    /// `Spawn` was given, nothing heard yet.
    Spawning,
    /// Runs, not ready yet.
    Starting,
    /// Runs, may be used.
    Ready,
    /// Runs, was ready, its test fails.
    Unhealthy,
    /// `Stop` was given.
    Stopping(Why),
    /// The leader is gone, its tree not yet; what follows when it is.
    Ended(Next),
}

/// Why a life was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Why {
    /// It is no longer wanted.
    Down,
    /// A new life was asked for, or its definition changed.
    Restart,
    /// Something that it needs went bad.
    Lost,
    /// It was not ready in time.
    Overdue,
}

/// What follows a life, unless somebody asks for something else meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Next {
    /// Whatever is wanted then.
    Down,
    /// Another try.
    Backoff { until: Time },
    /// Nothing, all went well.
    Done,
    /// Nothing, it failed.
    Failed,
}

/// What is known of one life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    /// Counts up over all lives of the service.
    pub number: u64,
    pub pid: Option<u32>,
    /// When it was spawned; from `Started` on, when that came.
    pub began: Time,
    /// When it is ready by having lived so long.
    pub settle_at: Option<Time>,
    /// When it has failed for not being ready.
    pub overdue_at: Option<Time>,
    /// When its grace ends; `None`: it is over, or there was none.
    pub grace_at: Option<Time>,
    /// Just adopted: not stopped before all others of its project are known too.
    pub held_until: Option<Time>,
    /// When its tree is killed.
    pub kill_at: Option<Time>,
    /// It had to be killed.
    pub killed: bool,
    /// It was ready in this life.
    pub met: bool,
    /// A check's `start_timeout` was over before it was ready.
    pub overdue: bool,
    /// Its tests.
    pub runs: Vec<Run>,
}

/// What counts over lives, since want went up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct History {
    /// Automatic restarts.
    pub restarts: u32,
    /// How often the backoff has doubled.
    pub doubled: u32,
    /// When it failed, on a clock that stands still while a start hangs.
    pub failures: Vec<Time>,
    /// By how much that clock is behind.
    pub stalled: Duration,
    /// Whether its process could be started at all.
    pub has_started: bool,
}

impl History {
    /// The same, with so many of the failures at most.
    pub fn last_failures(&self, most: usize) -> Self {
        let surplus = self.failures.len().saturating_sub(most);
        Self { failures: self.failures[surplus..].to_vec(), ..*self }
    }
}

/// What neighbours go by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    satisfies: bool,
    leaving: bool,
    living: bool,
}

/// What can end a wait otherwise than by a node's coming to the goal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    wanted: bool,
    over: bool,
    waits: bool,
}

impl Marks {
    pub fn may_end_a_wait(self, before: Self) -> bool {
        let (over, waits) = (self.over && !before.over, self.waits && !before.waits);
        self.wanted != before.wanted || over || waits
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub id: ServiceId,
    /// What the life runs with, or the next one will.
    pub definition: Definition,
    /// What the next life will run with, where the file changed under a living one.
    pub pending: Option<Box<Definition>>,
    /// Why it can't be started at all.
    pub fault: Option<String>,
    /// The file no longer has it.
    pub gone: bool,
    /// `up` named it.
    pub named: bool,
    /// Numbers of the leases that hold it.
    pub leases: BTreeSet<u64>,
    pub want: Want,
    /// Nobody holds it; it is wanted for so long yet.
    pub linger: Option<Linger>,
    /// A new life was asked for.
    pub again: bool,
    /// It is to end as soon as those are gone that must go first.
    pub leaving: Option<Why>,
    pub phase: Phase,
    /// The state that was told last.
    pub shown: State,
    pub since: Time,
    pub message: String,
    pub life: Life,
    pub history: History,
    pub exit: Option<Exit>,
    /// What its neighbours know.
    pub told: Facts,
    /// What waits that were looked at in full know.
    pub marks: Marks,
    /// Which of its needs was missing when it was last looked at.
    pub missing: usize,
    /// What it was last seen to wait for before it goes.
    pub held_back_by: Option<Arc<str>>,
    pub queued: bool,
    /// Its deadline among the world's timers.
    pub armed: Option<Time>,
    /// Its number there.
    pub timer: Option<usize>,
    /// Whose dependent it is listed as.
    pub linked: Vec<Arc<str>>,
    /// Nothing was heard of it under this agent: what is seen is what an earlier one saw.
    pub unheard: bool,
    /// What is wanted of it was saved, so what a shim was told of that at its start is older.
    pub restored: bool,
    /// The ends of lives up to this one were saved: what is left of their shims is past.
    pub past: u64,
}

impl Node {
    pub fn new(id: ServiceId, definition: Definition, last_life: u64, now: Time) -> Self {
        Self {
            id,
            definition,
            pending: None,
            fault: None,
            gone: false,
            named: false,
            leases: BTreeSet::new(),
            want: Want::Down,
            linger: None,
            again: false,
            leaving: None,
            phase: Phase::Down,
            shown: State::Down,
            since: now,
            message: "not started".into(),
            life: Life { number: last_life, ..Life::default() },
            history: History::default(),
            exit: None,
            told: Facts::default(),
            marks: Marks::default(),
            missing: 0,
            held_back_by: None,
            queued: false,
            armed: None,
            timer: None,
            linked: Vec::new(),
            unheard: false,
            restored: false,
            past: 0,
        }
    }

    pub fn state(&self) -> State {
        match self.phase {
            Phase::Down => State::Down,
            Phase::Waiting => State::Waiting,
            Phase::Backoff { .. } | Phase::Ended(Next::Backoff { .. }) => State::Backoff,
            Phase::Done | Phase::Ended(Next::Done) => State::Done,
            Phase::Failed | Phase::Ended(Next::Failed) => State::Failed,
            Phase::Spawning | Phase::Starting => State::Starting,
            Phase::Ready => State::Ready,
            Phase::Unhealthy => State::Unhealthy,
            Phase::Stopping(_) | Phase::Ended(Next::Down) => State::Stopping,
        }
    }

    /// Whether something of its life may still run.
    pub fn is_living(&self) -> bool {
        match self.phase {
            Phase::Down | Phase::Waiting | Phase::Backoff { .. } | Phase::Done | Phase::Failed => {
                false
            }
            Phase::Spawning
            | Phase::Starting
            | Phase::Ready
            | Phase::Unhealthy
            | Phase::Stopping(_)
            | Phase::Ended(_) => true,
        }
    }

    /// Whether this news is of the life that is.
    pub fn lives(&self, life: u64) -> bool {
        self.is_living() && self.life.number == life
    }

    pub fn has_leader(&self) -> bool {
        self.is_living() && !matches!(self.phase, Phase::Ended(_))
    }

    /// Whether a dependent may be started. One that is about to go doesn't count: the dependent
    /// would be stopped the moment it runs.
    pub fn satisfies(&self) -> bool {
        let done = self.definition.kind == Kind::Oneshot && self.state() == State::Done;
        (done || self.phase == Phase::Ready) && self.stays()
    }

    /// Whether it is there for who waits: also a service that ended with success.
    pub fn has_arrived(&self) -> bool {
        (self.state() == State::Done || self.phase == Phase::Ready) && self.stays()
    }

    fn stays(&self) -> bool {
        let goes = self.again || self.pending.is_some() || self.leaving.is_some();
        self.want == Want::Up && !goes && !self.unheard
    }

    pub fn has_failed(&self) -> bool {
        self.want == Want::Up && self.state() == State::Failed && !self.again
    }

    /// Whether what needs it may run where it has no process itself.
    pub fn may_bear(&self) -> bool {
        matches!(self.definition.kind, Kind::Check | Kind::Oneshot)
    }

    pub fn needs(&self, name: &str) -> bool {
        self.definition.needs.iter().any(|need| *need.service == *name)
    }

    pub fn is_unwanted(&self) -> bool {
        self.want == Want::Down
    }

    pub fn is_down(&self) -> bool {
        self.want == Want::Down && !self.is_living()
    }

    /// Whether it ends of its own accord now or soon, so that what it needs waits for it. `of`:
    /// the need that is about to go, where one is.
    pub fn gives_way(&self, of: Option<&str>) -> bool {
        let asked = self.want == Want::Down || self.again || self.pending.is_some();
        let going = self.leaving.is_some() || !self.runs();
        let lost = || {
            let mut needs = self.definition.needs.iter();
            needs.any(|need| Some(&*need.service) == of && need.lost == crate::Lost::Stop)
        };
        self.is_living() && (asked || going || lost())
    }

    /// Whether its process is there and not told to end.
    pub fn runs(&self) -> bool {
        self.is_living() && !matches!(self.phase, Phase::Stopping(_) | Phase::Ended(_))
    }

    /// A new life's number and deadline; nothing is left of what was about to end the last one.
    pub fn begin(&mut self, now: Time) {
        self.again = false;
        self.leaving = None;
        self.life = Life {
            number: self.life.number + 1,
            began: now,
            overdue_at: self.definition.start_timeout.map(|limit| now.after(limit)),
            ..Life::default()
        };
    }

    pub fn facts(&self) -> Facts {
        Facts {
            satisfies: self.satisfies(),
            leaving: self.leaving.is_some(),
            living: self.is_living(),
        }
    }

    pub fn marks(&self) -> Marks {
        let state = self.state();
        let ended = state == State::Done && self.definition.kind != Kind::Oneshot;
        Marks {
            wanted: self.want == Want::Up,
            over: ended || self.has_failed() || self.is_overdue(),
            waits: state == State::Waiting,
        }
    }

    /// Its next timer.
    pub fn deadline(&self) -> Option<Time> {
        if self.unheard {
            return None;
        }
        let life = &self.life;
        let probes = || life.runs.iter().filter_map(|run| run.next_at);
        let own = match self.phase {
            Phase::Down | Phase::Waiting | Phase::Done | Phase::Failed => None,
            Phase::Backoff { until } => Some(until),
            Phase::Spawning => [life.overdue_at, life.held_until].into_iter().flatten().min(),
            Phase::Starting => {
                let own = [life.settle_at, life.overdue_at, life.grace_at, life.held_until];
                own.into_iter().flatten().chain(probes()).min()
            }
            Phase::Unhealthy if self.is_check() => {
                let own = [life.overdue_at, life.grace_at];
                own.into_iter().flatten().chain(probes()).min()
            }
            Phase::Ready | Phase::Unhealthy => probes().chain(life.held_until).min(),
            Phase::Stopping(_) | Phase::Ended(_) => life.kill_at,
        };
        own.into_iter().chain(self.linger.map(|linger| linger.until)).min()
    }

    /// Puts in force what was held back until the old life had ended. Returns whether its needs
    /// changed by it.
    pub fn renew(&mut self) -> bool {
        let Some(pending) = self.pending.take() else { return false };
        let changed = pending.needs != self.definition.needs;
        self.definition = *pending;
        changed
    }
}
