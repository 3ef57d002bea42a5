//! What is done when a session begins or ends.
//!
//! Invariant: everybody is told in the order in which things happened, whoever made them happen; and a
//! hook that fails keeps nothing from the others.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use tracing::{error, warn};

use super::Session;

/// What has happened, to be told.
#[derive(Debug)]
pub(super) enum News {
    /// One has begun, or something else is said of it.
    Started(Session),
    /// One has ended.
    Ended(Session),
}

/// What happened and was told to nobody yet.
pub(super) type Unheard = VecDeque<News>;

pub(super) type Run = Box<dyn Fn(&Session) -> Result<(), String> + Send + Sync>;

struct Hook {
    name: String,
    run: Run,
}

#[derive(Default)]
pub(super) struct Hooks {
    starts: Mutex<Vec<Arc<Hook>>>,
    ends: Mutex<Vec<Arc<Hook>>>,
    /// Whose turn it is to tell. Held while hooks run: who comes next waits, so that nobody returns
    /// before what he did was told.
    turn: Mutex<()>,
    /// Who has the turn: a hook may itself end a session, and must not wait for itself.
    teller: Mutex<Option<ThreadId>>,
}

impl Hooks {
    pub(super) fn on_start(&self, name: &str, run: Run) {
        lock(&self.starts).push(Arc::new(Hook { name: name.to_owned(), run }));
    }

    pub(super) fn on_end(&self, name: &str, run: Run) {
        lock(&self.ends).push(Arc::new(Hook { name: name.to_owned(), run }));
    }

    /// Tells all that `next` has. From within a hook it returns at once: the telling that runs it goes
    /// on with that.
    pub(super) fn tell(&self, next: impl Fn() -> Option<News>) {
        let me = thread::current().id();
        if *lock(&self.teller) == Some(me) {
            return;
        }
        let _turn = lock(&self.turn);
        *lock(&self.teller) = Some(me);
        while let Some(news) = next() {
            let (hooks, session) = match &news {
                News::Started(session) => (&self.starts, session),
                News::Ended(session) => (&self.ends, session),
            };
            let hooks = lock(hooks).clone();
            hooks.iter().for_each(|hook| hook.run(session));
        }
        *lock(&self.teller) = None;
    }
}

impl Hook {
    /// A panic is caught where the program is built to unwind.
    fn run(&self, session: &Session) {
        let (hook, id) = (&self.name, &session.id);
        match catch_unwind(AssertUnwindSafe(|| (self.run)(session))) {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => warn!(hook, session = %id, reason, "a hook has failed"),
            Err(_) => error!(hook, session = %id, "a hook has panicked"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}
