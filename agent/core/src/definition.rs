//! What a service's file says, as far as decisions depend on it. The rest (command, environment,
//! where to probe) is kept by the driver under the service's id.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::nouns::Kind;

/// The part of a service's definition that decisions are made by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Whether it runs on, runs once, or does not run at all. Of a check only `enabled`, `display`,
    /// `needs`, `tests` and `start_timeout` count, and `settle` where it has no tests.
    pub kind: Kind,
    /// Whether `up` without names means it too.
    pub enabled: bool,
    /// Its name in health; `None` leaves it out.
    pub display: Option<String>,
    /// What must be ready before it is started.
    pub needs: Vec<Need>,
    /// All must pass before it is ready. Empty: it is ready once it has lived for `settle`.
    /// A oneshot's are not asked: its exit is the answer.
    pub tests: Vec<Test>,
    /// How long it must live to be ready where there is no test.
    pub settle: Duration,
    /// A life that is not ready (a oneshot: not done) after this has failed. A check is asked on, and
    /// has failed for those who wait for it. `None`: no limit.
    pub start_timeout: Option<Duration>,
    /// After which ends it is started again.
    pub restart: Restart,
    /// The pause before that.
    pub backoff: Backoff,
    /// When it is no longer tried.
    pub give_up: GiveUp,
    /// How long its tree has to end, before it is killed.
    pub stop_timeout: Duration,
    /// How long it stays when nobody holds it any more; for as long as something needs it that
    /// stays longer.
    pub linger: Duration,
    /// Of everything in the file about it; another one means that it changed.
    pub fingerprint: u64,
    /// Its place in the file.
    pub order: u32,
}

/// Something that a service needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Its name, in the same project.
    pub service: Arc<str>,
    /// What happens to the one that needs it when it goes bad later.
    pub lost: Lost,
}

/// What becomes of a dependent when a service that it needs goes bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// It runs on.
    Keep,
    /// It is stopped, and started again when the other is back.
    Stop,
}

/// One readiness test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// The probe is asked once and answers when it comes true (`log`, `delay`, ...); once passed it
    /// is not asked again. It may say by itself that it holds no more (a file is gone, `STOPPING=1`):
    /// a fact and no sample, said once, so that one such word is as many failures as it takes. Its
    /// return is then asked for, after `every`.
    pub event_driven: bool,
    /// Pause between an answer and the next question until it passes, and while it fails.
    pub every: Duration,
    /// The same while it passes. Zero: not asked again.
    pub then_every: Duration,
    /// How long after the start a test that doesn't pass is shown as `starting`.
    pub grace: Duration,
    /// So many failures in a row make a ready service, and any check, unhealthy; zero counts as one.
    /// That it is still at work is no failure and ends such a row.
    pub failures: u32,
    /// What is to be said of it while nothing has been heard of it; may be empty.
    #[serde(default)]
    pub silent: String,
}

/// After which ends a service is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// After each.
    Always,
    /// After a failure.
    OnFailure,
    /// After none.
    Never,
}

/// The pause before the next try: `min`, doubled each time, `max` at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The first pause.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    /// A life that lasted as long starts again at `min`.
    pub reset_after: Duration,
}

/// When a service is no longer tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveUp {
    /// So many failures ... Zero: it never is given up.
    pub failures: u32,
    /// ... within this. The time of lives that ended by `start_timeout` doesn't count, or a slow
    /// start would never be given up.
    pub within: Duration,
}
