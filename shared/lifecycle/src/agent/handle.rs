//! The handle by which the rest of the agent speaks to its lifecycle: busy, stop, hooks.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::manager::Ending;
use super::notify;
use crate::handover::Luggage;
use crate::record::{Facts, Stage, TooLong};

/// Streams that may be open at once; half of the connections, so that streams never shut commands
/// out.
const STREAMS: usize = 512;

type HookFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something to be done when the agent stops.
pub(super) struct Hook {
    pub(super) name: String,
    /// Its own time; `None`: what is left of that of all.
    pub(super) within: Option<Duration>,
    pub(super) run: Run,
}

pub(super) type Run = Box<dyn FnOnce() -> HookFuture + Send>;

type LuggageFuture = Pin<Box<dyn Future<Output = Luggage> + Send>>;

/// What the rest of the agent does when it is handed over.
pub(super) struct HandOver {
    pub(super) freeze: Box<dyn Fn() -> LuggageFuture + Send + Sync>,
    pub(super) thaw: Box<dyn Fn() -> HookFuture + Send + Sync>,
}

/// Speaks to the lifecycle of the agent; clones speak to the same.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("stage", &self.stage()).finish_non_exhaustive()
    }
}

pub(super) struct Shared {
    pub(super) instance: String,
    pub(super) stage: watch::Sender<Stage>,
    pub(super) stop: Notify,
    pub(super) closing: watch::Sender<bool>,
    pub(super) busy: AtomicUsize,
    pub(super) busy_changed: Notify,
    // A std mutex is right: it is held for a push or a take, never across an await.
    pub(super) hooks: Mutex<Vec<Hook>>,
    /// What is to be done before them where everything ends.
    pub(super) last_hooks: Mutex<Vec<Hook>>,
    /// Known from the moment in which it begins to stop.
    pub(super) ending: OnceLock<Ending>,
    /// What the service manager is told in words, where there is one that listens.
    pub(super) words: watch::Sender<String>,
    pub(super) is_heard: bool,
    pub(super) open_files: Option<u64>,
    /// Requests whose replies have not begun.
    pub(super) in_service: watch::Sender<usize>,
    /// Connections that have asked for nothing but the version.
    pub(super) fresh: watch::Sender<usize>,
    pub(super) handed: watch::Sender<Handed>,
    /// What the app says of itself; the server writes it into L's record.
    pub(super) facts: watch::Sender<Option<Facts>>,
    pub(super) streams: Arc<Semaphore>,
    /// Connections on which a successor has asked for everything.
    pub(super) heirs: mpsc::UnboundedSender<UnixStream>,
    pub(super) asked: Mutex<Option<mpsc::UnboundedReceiver<UnixStream>>>,
    pub(super) hand_over: Mutex<Option<Arc<HandOver>>>,
}

impl Handle {
    pub(super) fn new(instance: String, is_heard: bool, open_files: Option<u64>) -> Self {
        let (heirs, asked) = mpsc::unbounded_channel();
        Self(Arc::new(Shared {
            instance,
            stage: watch::Sender::new(Stage::Starting),
            stop: Notify::new(),
            closing: watch::Sender::new(false),
            busy: AtomicUsize::new(0),
            busy_changed: Notify::new(),
            hooks: Mutex::new(Vec::new()),
            last_hooks: Mutex::new(Vec::new()),
            ending: OnceLock::new(),
            words: notify::words(),
            is_heard,
            open_files,
            in_service: watch::Sender::new(0),
            fresh: watch::Sender::new(0),
            handed: watch::Sender::new(Handed::No),
            facts: watch::Sender::new(None),
            streams: Arc::new(Semaphore::new(STREAMS)),
            heirs,
            asked: Mutex::new(Some(asked)),
            hand_over: Mutex::new(None),
        }))
    }

    /// This start's instance.
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// How far the agent has come.
    pub fn stage(&self) -> Stage {
        *self.0.stage.borrow()
    }

    /// Every change of it from now on. The first that it gives is the one of now, so that none is
    /// missed.
    pub fn stages(&self) -> Stages {
        Stages::of(&self.0.stage)
    }

    /// Returns when requests are answered; at once where they are. False: it has ended without that.
    pub async fn running(&self) -> bool {
        let is = |stage: &Stage| *stage != Stage::Starting;
        self.until(is).await == Stage::Running
    }

    /// Returns when the agent has begun to stop, or hands over to a successor: streams end then, with a last
    /// word. A hand-over that fails is undone, so who listens again afterwards waits again.
    pub async fn stopping(&self) {
        self.until(|stage| matches!(stage, Stage::Stopping | Stage::Stopped)).await;
    }

    /// Returns when it has ended: its hooks have run, and nobody is answered any more.
    pub async fn stopped(&self) {
        self.until(|stage| *stage == Stage::Stopped).await;
    }

    async fn until(&self, is: impl Fn(&Stage) -> bool) -> Stage {
        let mut stages = self.0.stage.subscribe();
        // The sender is ours, so it is there.
        stages.wait_for(is).await.map_or(Stage::Stopped, |stage| *stage)
    }

    /// The soft limit of open files that children of the agent are to have where nobody says otherwise:
    /// the one that this process was started with, before it raised its own to the hard one; and in a
    /// successor the one that the first of the agents was started with. `None`: unlimited.
    pub fn open_files(&self) -> Option<u64> {
        self.0.open_files
    }

    /// Says what the app wants known of it without its being asked: it is in L's record in a moment, all
    /// of it or nothing. What was said before goes.
    pub fn publish(&self, facts: Facts) -> Result<(), TooLong> {
        facts.check()?;
        self.0.facts.send_replace(Some(facts));
        Ok(())
    }

    /// Why the agent ends; ordinary for as long as it does not.
    pub fn ending(&self) -> Ending {
        self.0.ending.get().copied().unwrap_or_default()
    }

    /// Whether a service manager wants to know how the agent is: else [`Handle::say`] is for nobody.
    pub fn is_heard(&self) -> bool {
        self.0.is_heard
    }

    /// Tells the service manager in one line how the agent is. May be called often: the latest words
    /// are told, a few times a second at most.
    pub fn say(&self, words: String) {
        self.0.words.send_if_modified(|said| {
            let is_new = *said != words;
            *said = words;
            is_new
        });
    }

    /// Returns when no further request will be answered: connections end.
    pub(super) async fn closing(&self) {
        let _ = self.0.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Asks the agent to stop, as SIGTERM does.
    pub fn stop(&self) {
        self.0.stop.notify_one();
    }

    /// While a guard is held, the agent does not exit for idleness.
    pub fn busy(&self) -> BusyGuard {
        if self.0.busy.fetch_add(1, Ordering::AcqRel) == 0 {
            self.0.busy_changed.notify_one();
        }
        BusyGuard(Arc::clone(&self.0))
    }

    /// Registers what is to be done at the stop, also where a successor serves already
    /// ([`Ending::Replaced`], by [`Handle::ending`]). The last registered runs first; all of them share
    /// `shutdown_timeout`, and what is not done by then is named and left. One that panics stops nobody;
    /// one that is registered while they run, by another for example, runs next.
    ///
    /// Each runs in a thread of its own, so that one that blocks holds nobody up. What it spawns runs on
    /// the runtime of [`super::Agent::serve`].
    pub fn on_stop<F>(&self, name: impl Into<String>, hook: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        push(&self.0.hooks, Hook::new(name.into(), None, hook));
    }

    /// The same with a bound of its own, within that of all.
    pub fn on_stop_within<F>(
        &self,
        name: impl Into<String>,
        within: Duration,
        hook: impl FnOnce() -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        push(&self.0.hooks, Hook::new(name.into(), Some(within), hook));
    }

    /// Registers what is to be done before the hooks of [`Handle::on_stop`] where everything is to end
    /// ([`Ending::Shutdown`]). No timeout of ours bounds it: a second signal does, and the manager.
    pub fn on_shutdown<F>(&self, name: impl Into<String>, hook: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        push(&self.0.last_hooks, Hook::new(name.into(), None, hook));
    }

    /// Says what is to be done when this agent hands over to a successor: `freeze` ends streams (they
    /// are to say `replaced`), does and decides nothing further, and gives what the successor needs;
    /// `thaw` goes on as if nothing had been, where the successor has failed. After a `freeze` comes
    /// either that or the stop, with its hooks. Without this call, a successor gets no luggage.
    pub fn on_hand_over<F, T>(
        &self,
        freeze: impl Fn() -> F + Send + Sync + 'static,
        thaw: impl Fn() -> T + Send + Sync + 'static,
    ) where
        F: Future<Output = Luggage> + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let hand_over = HandOver {
            freeze: Box::new(move || Box::pin(freeze())),
            thaw: Box::new(move || Box::pin(thaw())),
        };
        let place = &self.0.hand_over;
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hand_over));
    }

    /// A place among the streams that may be open at once; waits for one.
    pub async fn stream_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.streams).acquire_owned().await.ok()
    }
}

fn push(hooks: &Mutex<Vec<Hook>>, hook: Hook) {
    hooks.lock().unwrap_or_else(PoisonError::into_inner).push(hook);
}

impl Hook {
    fn new<F>(
        name: String,
        within: Option<Duration>,
        hook: impl FnOnce() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { name, within, run: Box::new(move || Box::pin(hook())) }
    }
}

/// An agent's stages, one after the other.
#[derive(Debug)]
pub struct Stages(watch::Receiver<Stage>);

impl Stages {
    pub(super) fn of(stage: &watch::Sender<Stage>) -> Self {
        let mut stages = stage.subscribe();
        stages.mark_changed();
        Self(stages)
    }

    /// The next one; where several have passed meanwhile, the latest. `None`: there will be none.
    pub async fn next(&mut self) -> Option<Stage> {
        self.0.changed().await.ok()?;
        Some(*self.0.borrow_and_update())
    }
}

/// How far the handing over to a successor has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// Not at all, or it has failed.
    No,
    /// What there is was packed, or is being packed.
    Frozen,
    /// Everything is the successor's.
    Over,
}

/// One is counted for as long as this is held.
pub(super) struct Counted(watch::Sender<usize>);

impl Counted {
    fn one(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Handle {
    /// A request is at the service.
    pub(super) fn begin_service(&self) -> Counted {
        Counted::one(&self.0.in_service)
    }

    /// A connection is there that has asked for nothing but the version.
    pub(super) fn begin_connection(&self) -> Counted {
        Counted::one(&self.0.fresh)
    }

    /// Returns when no request is at the service.
    pub(super) async fn out_of_service(&self) {
        let _ = self.0.in_service.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Returns when everybody who has come has asked.
    pub(super) async fn all_have_asked(&self) {
        let _ = self.0.fresh.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Whether everything is being packed, or is the successor's already.
    pub(super) fn is_handing_over(&self) -> bool {
        *self.0.handed.borrow() != Handed::No
    }

    /// Returns when it is known what comes of a hand-over; whether nothing does, and this agent goes on.
    pub(super) async fn goes_on(&self) -> bool {
        let mut handed = self.0.handed.subscribe();
        let known = handed.wait_for(|handed| *handed != Handed::Frozen).await;
        known.is_ok_and(|handed| *handed == Handed::No)
    }
}

/// Keeps the agent from exiting for idleness while it is held.
pub struct BusyGuard(Arc<Shared>);

impl std::fmt::Debug for BusyGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BusyGuard")
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        if self.0.busy.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.busy_changed.notify_one();
        }
    }
}
