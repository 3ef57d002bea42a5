//! Is the agent well? Named checks, asked side by side when somebody wants to know, and never else.
//!
//! Invariant: one that hangs, fails or panics is a failure of that check alone, told within the bound.
//! An agent whose home lies on a dead file server must still be able to say so.
//!
//! ```
//! # use std::time::Duration;
//! # use hearth_lifecycle::health::Checks;
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let checks = Checks::new(Duration::from_secs(1));
//! checks.register("queue", || async { Ok("empty".to_owned()) });
//! checks.register_blocking("disk", || std::fs::metadata("/").map_err(|e| e.to_string()).map(|_| String::new()));
//! let report = checks.run().await;
//! assert!(report.healthy());
//! assert_eq!(report.checked[0].result, Ok("empty".to_owned()));
//! # });
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hearth_process::facts::boot_ms;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::timeout;

/// What a check says: words for people, of what is well or of what is not; they may be empty.
pub type CheckResult = Result<String, String>;

type Asked = Pin<Box<dyn Future<Output = CheckResult> + Send>>;
type Ask = Arc<dyn Fn() -> Asked + Send + Sync>;
/// Of one that runs in a thread.
type Answer = watch::Receiver<Option<CheckResult>>;

const PANICKED: &str = "it panicked";

/// The checks of an agent. Clones have the same ones.
#[derive(Clone)]
pub struct Checks {
    within: Duration,
    /// On the clock of the boot, in milliseconds.
    began: u64,
    // A std mutex is right: it is held for a push or a copy, never across an await.
    all: Arc<Mutex<Vec<(String, Ask)>>>,
}

impl std::fmt::Debug for Checks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(all.iter().map(|(name, _)| name)).finish()
    }
}

/// How one check came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// What it said, or why it said nothing.
    pub result: CheckResult,
    /// When.
    pub at: SystemTime,
}

/// How all came out, in the order in which they were registered.
///
/// As JSON: `{healthy, uptime_s, checks: {NAME: {status, healthy, message, at}}}`, `status` being `success`
/// or `failure` and `at` RFC 3339.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Each once.
    pub checked: Vec<Checked>,
    /// Since [`Checks::new`], time asleep included (Linux: `CLOCK_BOOTTIME`).
    pub uptime: Duration,
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let check = |one: &Checked| {
            let (status, message) = match &one.result {
                Ok(message) => ("success", message),
                Err(message) => ("failure", message),
            };
            let at = humantime::format_rfc3339_millis(one.at).to_string();
            json!({ "status": status, "healthy": one.result.is_ok(), "message": message, "at": at })
        };
        let checks: Map<String, Value> =
            self.checked.iter().map(|one| (one.name.clone(), check(one))).collect();
        let uptime_s = self.uptime.as_secs_f64();
        json!({ "healthy": self.healthy(), "uptime_s": uptime_s, "checks": checks })
            .serialize(serializer)
    }
}

impl Report {
    /// Whether every one of them holds.
    pub fn healthy(&self) -> bool {
        self.checked.iter().all(|checked| checked.result.is_ok())
    }
}

impl Checks {
    /// None yet; each will have `within` to answer.
    pub fn new(within: Duration) -> Self {
        Self { within, began: boot_ms(), all: Arc::default() }
    }

    /// How long there have been these checks, time asleep included: mostly as long as the agent.
    pub fn uptime(&self) -> Duration {
        Duration::from_millis(boot_ms().saturating_sub(self.began))
    }

    /// Registers a check, at any time; one of the same name is replaced. What it gives is run as a
    /// task and dropped when its time is over. It must not block: see [`Checks::register_blocking`].
    pub fn register<F>(
        &self,
        name: impl Into<String>,
        check: impl Fn() -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = CheckResult> + Send + 'static,
    {
        self.put(name.into(), Arc::new(move || Box::pin(check())));
    }

    /// Registers one that may block, in a system call for example: it runs in a thread. One that
    /// hangs can't be told to stop, so it is not begun again before it has come back: who asks
    /// meanwhile waits for the same answer, each within the bound.
    pub fn register_blocking(
        &self,
        name: impl Into<String>,
        check: impl Fn() -> CheckResult + Send + Sync + 'static,
    ) {
        let check = Arc::new(check);
        let under_way: Arc<Mutex<Option<Answer>>> = Arc::default();
        let begin = move || {
            let mut under_way = under_way.lock().unwrap_or_else(PoisonError::into_inner);
            match &*under_way {
                // Neither an answer yet, nor gone without one.
                Some(answer) if answer.borrow().is_none() && answer.has_changed().is_ok() => {
                    answer.clone()
                }
                Some(_) | None => {
                    let (tell, answer) = watch::channel(None);
                    let check = Arc::clone(&check);
                    spawn_blocking(move || tell.send(Some(check())));
                    under_way.insert(answer).clone()
                }
            }
        };
        let ask = move || -> Asked {
            let mut answer = begin();
            Box::pin(async move {
                let said = answer.wait_for(Option::is_some).await;
                said.ok().and_then(|said| said.clone()).unwrap_or_else(|| Err(PANICKED.to_owned()))
            })
        };
        self.put(name.into(), Arc::new(ask));
    }

    fn put(&self, name: String, ask: Ask) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = ask,
            None => all.push((name, ask)),
        }
    }

    /// Asks all of them, side by side. Takes no longer than the bound. To be called in a tokio runtime
    /// with its time driver.
    ///
    /// A check that panics fails; where the program aborts on panics, it is the program that ends.
    pub async fn run(&self) -> Report {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let within = self.within;
        let mut tasks = JoinSet::new();
        let ids = all.into_iter().map(|(name, ask)| {
            // What is not async of it may panic too.
            (tasks.spawn(async move { timeout(within, ask()).await }).id(), name)
        });
        let ids: Vec<_> = ids.collect();
        let mut results = Vec::new();
        while let Some(done) = tasks.join_next_with_id().await {
            let (id, result) = match done {
                Ok((id, Ok(result))) => (id, result),
                Ok((id, Err(_))) => {
                    let within = humantime::format_duration(within);
                    (id, Err(format!("no answer within {within}")))
                }
                Err(error) => (error.id(), Err(broken(&error))),
            };
            results.push((id, result, SystemTime::now()));
        }
        let checked = ids.into_iter().filter_map(|(id, name)| {
            let place = results.iter().position(|(known, ..)| *known == id)?;
            let (_, result, at) = results.swap_remove(place);
            Some(Checked { name, result, at })
        });
        Report { checked: checked.collect(), uptime: self.uptime() }
    }
}

fn broken(error: &JoinError) -> String {
    if error.is_panic() { PANICKED.to_owned() } else { "it was given up".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::sync::mpsc;

    const SOON: Duration = Duration::from_millis(30);

    fn results(report: &Report) -> Vec<(&str, Result<&str, &str>)> {
        let each = report.checked.iter();
        each.map(|one| {
            let result = one.result.as_ref().map(String::as_str).map_err(String::as_str);
            (one.name.as_str(), result)
        })
        .collect()
    }

    #[tokio::test]
    async fn one_that_hangs_or_panics_is_a_failure_of_that_one_alone() {
        let checks = Checks::new(SOON);
        checks.register("hangs", pending);
        checks.register("panics", || async { panic!("on purpose") });
        checks.register("panics at once", || -> std::future::Ready<CheckResult> { panic!("too") });
        checks.register("fails", || async { Err("no disk".to_owned()) });
        checks.register("holds", || async { Ok("fine".to_owned()) });
        let report = checks.run().await;
        assert!(!report.healthy());
        let expected = [
            ("hangs", Err("no answer within 30ms")),
            ("panics", Err("it panicked")),
            ("panics at once", Err("it panicked")),
            ("fails", Err("no disk")),
            ("holds", Ok("fine")),
        ];
        assert_eq!(results(&report), expected);
    }

    #[tokio::test]
    async fn all_are_asked_side_by_side() {
        let checks = Checks::new(SOON);
        (0..50).for_each(|n| checks.register(n.to_string(), pending));
        let began = std::time::Instant::now();
        assert_eq!(checks.run().await.checked.len(), 50);
        assert!(began.elapsed() < SOON * 20, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn one_that_blocks_is_not_begun_twice_and_is_well_when_it_comes_back() {
        let checks = Checks::new(SOON);
        let (go, hung) = mpsc::channel::<()>();
        let hung = Mutex::new(hung);
        checks.register_blocking("home", move || {
            let _ = hung.lock().unwrap().recv();
            Ok("back".to_owned())
        });
        let late = ("home", Err("no answer within 30ms"));
        assert_eq!(results(&checks.run().await), [late]);
        assert_eq!(results(&checks.run().await), [late]);
        drop(go);
        // Nothing tells when the thread has come back.
        while !checks.run().await.healthy() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_asks_meanwhile_waits_for_the_same_answer() {
        let checks = Checks::new(Duration::from_secs(20));
        let asked = Arc::new(Mutex::new(0));
        let (go, held) = mpsc::channel::<()>();
        let (count, held) = (Arc::clone(&asked), Mutex::new(held));
        checks.register_blocking("once", move || {
            *count.lock().unwrap() += 1;
            let _ = held.lock().unwrap().recv();
            Ok(String::new())
        });
        let (first, second) = (checks.clone(), checks);
        let both = [first, second].map(|checks| tokio::spawn(async move { checks.run().await }));
        // Each has come to its waiting after a few turns of the one thread that runs them.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        drop(go);
        for one in both {
            assert!(one.await.unwrap().healthy());
        }
        assert_eq!(*asked.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_thread_that_panics_fails() {
        let checks = Checks::new(Duration::from_secs(20));
        checks.register_blocking("breaks", || panic!("on purpose"));
        assert_eq!(results(&checks.run().await), [("breaks", Err("it panicked"))]);
        assert_eq!(results(&checks.run().await), [("breaks", Err("it panicked"))]);
    }

    #[tokio::test]
    async fn checks_come_at_any_time_and_a_name_stands_once() {
        let checks = Checks::new(SOON);
        assert!(checks.run().await.healthy());
        let clone = checks.clone();
        clone.register("a", || async { Err(String::new()) });
        assert!(!checks.run().await.healthy());
        clone.register("a", || async { Ok("new".to_owned()) });
        assert_eq!(results(&checks.run().await), [("a", Ok("new"))]);
    }
}
