//! The lifetime lock, L, on its own: for a process that is the agent of a home and serves by other means
//! than [`crate::agent`], or serves nobody.
//!
//! Kept true here: who holds it is the one agent of its home, and its record says so; it falls when its
//! holder does, however that ends.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hearth_process::locked::{LockedFile, TryError};

use crate::home::Blocked;
use crate::record::{self, Facts, Record, Stage, TooLong};
use crate::wait::{self, LockWait};
use crate::{App, Home};

/// Why L could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody holds it: an agent lives in this home.
    #[error("an agent runs in this home already{}", pid.map_or(String::new(), |pid| format!(" (pid {pid})")))]
    Held {
        /// The file.
        path: PathBuf,
        /// Of who holds it, where its record could be read.
        pid: Option<u32>,
    },
    /// The home may not be used, or its file system has no locks.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// The lock was taken, and its record could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LockError {
    /// Stable, for programs: `already-running`, `blocked`, `lock`.
    pub fn code(&self) -> &'static str {
        match self {
            LockError::Held { .. } => "already-running",
            LockError::Blocked(_) => "blocked",
            LockError::Record { .. } => "lock",
        }
    }
}

/// L, held. Dropped, it is let go of as by a crash: [`LifetimeLock::release`] says that it ends in order.
#[derive(Debug)]
pub struct LifetimeLock {
    lock: LockedFile,
    record: Record,
    path: PathBuf,
}

impl LifetimeLock {
    /// Takes it, waiting `patience` for whoever has it, and writes a record with the stage `running`.
    ///
    /// Makes the home where there is none. Verbs that find it held and nobody at the socket wait until
    /// their deadlines; a process that keeps it for good keeps agents away for good.
    pub fn take(app: &App, home: &Home, patience: Duration) -> Result<Self, LockError> {
        home.prepare()?;
        let lock = take(app, home, patience, || false)?;
        let mut held = Self { lock, record: Record::new(app, home), path: home.agent_lock() };
        held.set(Stage::Running)?;
        Ok(held)
    }

    /// Whether somebody holds it, this process included.
    pub fn is_held(home: &Home) -> Result<bool, Blocked> {
        crate::running(home).map(|running| running.is_living())
    }

    /// What it says.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Says more: a reader finds the old record or the new one.
    pub fn publish(&mut self, facts: Facts) -> Result<(), PublishError> {
        facts.check()?;
        self.record.tell(facts);
        Ok(self.set(self.record.stage)?)
    }

    /// Lets go of it, and says that all has ended in order.
    pub fn release(mut self) -> Result<(), LockError> {
        self.set(Stage::Stopped)
    }

    fn set(&mut self, stage: Stage) -> Result<(), LockError> {
        self.record.stage = stage;
        let written = self.record.write(&self.lock);
        written.map_err(|source| LockError::Record { path: self.path.clone(), source })
    }
}

/// Why an app's own facts are in no record.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// They are too long for it.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// It can't be written.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl PublishError {
    /// Stable, for programs: that of what is inside.
    pub fn code(&self) -> &'static str {
        match self {
            PublishError::TooLong(error) => error.code(),
            PublishError::Lock(error) => error.code(),
        }
    }
}

/// Takes L in a home that is prepared: at once, else within `patience`, and beyond it for as long again
/// as `further` says that its holder is about to let go.
pub(crate) fn take(
    app: &App,
    home: &Home,
    patience: Duration,
    further: impl Fn() -> bool,
) -> Result<LockedFile, LockError> {
    /// How long one may take that is stopping.
    const STOPPING: Duration = Duration::from_secs(6);
    let path = home.agent_lock();
    let file = record::open(&path).map_err(|e| Blocked::io("open", &path, &e))?;
    let file = match LockedFile::try_exclusive(file) {
        Ok(lock) => return Ok(lock),
        Err((file, TryError::Held)) => file,
        Err((_, TryError::Unsupported(e))) => {
            return Err(crate::ensure::locks::no_flock(app, home, &e).into());
        }
        Err((_, TryError::Os(e))) => return Err(Blocked::io("lock", &path, &e).into()),
    };
    let cannot = |e: io::Error| Blocked::io("wait for", &path, &e);
    let waiting = LockWait::begin(file).map_err(cannot)?;
    let began = Instant::now();
    let came = wait::any_readable(&[waiting.as_fd()], began + patience).map_err(cannot)?;
    if !came[0] && further() {
        wait::any_readable(&[waiting.as_fd()], began + STOPPING.max(patience)).map_err(cannot)?;
    }
    match waiting.take() {
        Some(lock) => Ok(lock.map_err(cannot)?),
        None => {
            let pid = Record::read(&path).map(|record| record.process.pid);
            Err(LockError::Held { path, pid })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Running;
    use crate::app::tests::APP;

    #[test]
    fn it_is_taken_tested_and_let_go_of_on_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::resolve(&APP, Some(&directory.path().join("home"))).unwrap();
        // What a test beside this one starts has all our descriptors until it executes its program.
        let wait_until_free = || {
            let file = record::open(&home.agent_lock()).unwrap();
            drop(LockedFile::exclusive(file).unwrap());
        };
        assert!(matches!(crate::running(&home).unwrap(), Running::Gone(None)));
        assert!(!LifetimeLock::is_held(&home).unwrap());
        let mut held = LifetimeLock::take(&APP, &home, Duration::ZERO).unwrap();
        assert!(LifetimeLock::is_held(&home).unwrap());
        let refused = LifetimeLock::take(&APP, &home, Duration::ZERO).unwrap_err();
        assert_eq!(refused.code(), "already-running");
        assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
        let fields = [("port".to_owned(), 8080.into())].into_iter().collect();
        let facts = Facts { addresses: vec!["http://127.0.0.1:8080".into()], fields };
        held.publish(facts.clone()).unwrap();
        let Running::Living(Some(record)) = crate::running(&home).unwrap() else { panic!("dead") };
        assert_eq!((record.fields(), record.addresses), (facts.fields, facts.addresses));
        held.release().unwrap();
        wait_until_free();
        let Running::Gone(Some(last)) = crate::running(&home).unwrap() else { panic!("unclean") };
        assert_eq!(last.stage, Stage::Stopped);
        drop(LifetimeLock::take(&APP, &home, Duration::from_secs(60)).unwrap());
        wait_until_free();
        let Running::Died(last) = crate::running(&home).unwrap() else { panic!("clean") };
        assert_eq!(last.process.pid, std::process::id());
    }

    #[test]
    fn what_has_no_room_is_refused_and_what_was_said_stays() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::resolve(&APP, Some(&directory.path().join("home"))).unwrap();
        let mut held = LifetimeLock::take(&APP, &home, Duration::ZERO).unwrap();
        let facts = |size: usize| Facts { addresses: vec!["x".repeat(size)], ..Facts::default() };
        held.publish(facts(record::FACTS - 100)).unwrap();
        assert_eq!(held.publish(facts(record::FACTS)).unwrap_err().code(), "too-long");
        assert_eq!(held.record().addresses[0].len(), record::FACTS - 100);
    }
}
