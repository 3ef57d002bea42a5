//! An agent that died without a word is brought back: `hearth return HOME` is started, once for
//! all the shims of a home, and makes sure that there is one.
//!
//! Invariants:
//! - However many shims lose their agent, one process is started: who starts it holds the election
//!   lock before, and the process inherits it, so it is held for as long as that one is at work.
//! - A home in which no agent stays up is not stormed: the lock's record says when the last one was
//!   fetched and how often, and the pauses double. It is asked at every look, so a shim that has
//!   just begun knows as much as one that has seen all of it.
//! - An agent that was told to go stays away: it has said `Bye`, or its record says that it was
//!   stopping.
//! - What is started is nobody's child here and in nobody's tree.
//!
//! At first every shim waits for [`GRACE`]: a verb that is under way has started the next agent
//! by then, its `Hello` calls all of this off, and not one process is started in vain.

use std::env;
use std::ffi::{CString, OsStr, OsString, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hearth_process::facts::boot_ms;
use hearth_process::locked::{self, LockedFile, TryError};
use hearth_process::{Liveness, ProcessId, child};
use serde::{Deserialize, Serialize};

use crate::shim::Shim;
use crate::spawn::Blocked;
use crate::turn::trim;

#[cfg(target_os = "linux")]
#[path = "comeback/linux.rs"]
mod os;
#[cfg(not(target_os = "linux"))]
#[path = "comeback/macos.rs"]
mod os;

/// Between the loss of an agent and the first look: also longer than a killed process needs to be
/// gone with all its locks.
const GRACE: Duration = Duration::from_millis(100);

/// The first look again, where somebody else is at it or an agent lives that has not spoken yet;
/// doubled up to [`LATEST`].
const LATER: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_secs(300);

/// An agent that was fetched less than so long ago and is gone has not stayed up.
const STAYED: Duration = Duration::from_secs(60);

/// The longest pause between two fetches.
const LONGEST: Duration = Duration::from_secs(30);

/// What stops an agent that the process starts from starting others.
const NO_AUTOSPAWN: &str = "HEARTH_NO_AUTOSPAWN";

/// When the agent is looked for.
#[derive(Default)]
pub struct Comeback {
    due: Option<Instant>,
    later: Duration,
    /// Who was lost, as far as that is known.
    agent: Option<u32>,
}

/// Record of the election lock.
#[derive(Serialize, Deserialize)]
struct Fetched {
    /// Milliseconds since boot.
    at_ms: u64,
    /// How many in a row did not stay.
    count: u32,
}

/// What L says of its holder; the rest of its record is none of our business.
#[derive(Deserialize)]
struct Holder {
    #[serde(flatten)]
    process: ProcessId,
    stage: String,
}

/// What one look comes to.
enum Look {
    /// Again after so long.
    After(Duration),
    /// Somebody else is at it, or an agent lives: again, and less and less often.
    Later,
    /// Nobody is to be fetched.
    Never,
}

impl Shim {
    /// An agent's connection has ended, and it has not said `Bye`.
    pub(crate) fn lost_agent(&mut self) {
        let lost = self.connections.iter().find(|known| known.agent && known.ended);
        let Some(agent) = lost.map(|lost| lost.pid) else { return };
        if !self.has_agent() && !self.acknowledged && !self.on_its_own {
            let due = Instant::now().checked_add(GRACE);
            self.comeback = Comeback { due, later: LATER, agent };
        }
    }

    /// When the agent is looked for next.
    pub(crate) fn comeback_due(&self) -> Option<Instant> {
        self.comeback.due.filter(|_| !self.acknowledged && !self.on_its_own)
    }

    /// An agent is there, or was told to go.
    pub(crate) fn call_off_comeback(&mut self) {
        self.comeback = Comeback::default();
    }

    /// Looks for it, if that is due.
    pub(crate) fn bring_back(&mut self, now: Instant) {
        if self.comeback_due().is_none_or(|due| due > now) {
            return;
        }
        let home = self.tree.agent_lock().parent().unwrap_or(Path::new("/"));
        let shims = self.record_path.parent().unwrap_or(Path::new("/"));
        let election = shims.join("return.lock");
        let wait = match look(home, self.tree.agent_lock(), &election, self.comeback.agent) {
            Ok(Look::After(wait)) => Some(wait),
            Ok(Look::Later) => Some(self.comeback.later),
            Ok(Look::Never) => None,
            // The home is gone: it is not made again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                eprintln!("hearth shim: the agent can't be brought back: {error}");
                Some(self.comeback.later)
            }
        };
        self.comeback.later = (self.comeback.later * 2).min(LATEST);
        self.comeback.due = wait.and_then(|wait| now.checked_add(wait));
        trim();
    }
}

fn look(home: &Path, lock: &Path, election: &Path, lost: Option<u32>) -> io::Result<Look> {
    if let Some(Holder { process, stage }) = holder(lock) {
        // Not by the lock itself: to test it is to hold it for a moment.
        if process.living() == Liveness::Living {
            return Ok(Look::Later);
        }
        // Another one that could not start has stopped too; only the one that was lost counts.
        if stage.starts_with("stop") && lost.is_none_or(|lost| lost == process.pid) {
            return Ok(Look::Never);
        }
    }
    let election = match LockedFile::try_exclusive(locked::open(election, true)?) {
        Ok(election) => election,
        Err((_, TryError::Held)) => return Ok(Look::Later),
        Err((_, TryError::Unsupported(error) | TryError::Os(error))) => return Err(error),
    };
    let now_ms = boot_ms();
    let last = match locked::read(&election)? {
        locked::Record::Valid(bytes) => serde_json::from_slice::<Fetched>(&bytes).ok(),
        locked::Record::Empty | locked::Record::Torn => None,
    };
    let count = match pause(last.as_ref(), now_ms) {
        Ok(count) => count,
        Err(wait) => return Ok(Look::After(wait)),
    };
    election.write(&serde_json::to_vec(&Fetched { at_ms: now_ms, count })?)?;
    start(home, &election)?;
    Ok(Look::After(LATER))
}

/// How many in a row have not stayed, this one included; or how long to wait.
fn pause(last: Option<&Fetched>, now_ms: u64) -> Result<u32, Duration> {
    let ago = |last: &Fetched| now_ms.checked_sub(last.at_ms).map(Duration::from_millis);
    // A record of another boot is either of the future, or old for its age.
    let Some((last, ago)) = last.and_then(|last| Some((last, ago(last)?))) else { return Ok(0) };
    let pause = Duration::from_secs(1 << last.count.min(5)).min(LONGEST);
    match () {
        () if ago >= STAYED.max(pause) => Ok(0),
        () if ago >= pause => Ok(last.count.saturating_add(1)),
        () => Err(pause - ago),
    }
}

fn holder(agent_lock: &Path) -> Option<Holder> {
    match locked::read_path(agent_lock).ok()? {
        locked::Record::Valid(bytes) => serde_json::from_slice(&bytes).ok(),
        locked::Record::Empty | locked::Record::Torn => None,
    }
}

/// Starts `hearth return HOME`, which inherits the election lock as its descriptor 3.
fn start(home: &Path, election: &LockedFile) -> io::Result<()> {
    let program = c_string(hearth_process::executable().as_os_str())?;
    let argv = [OsStr::new("hearth"), OsStr::new("return"), home.as_os_str()];
    let argv = argv.into_iter().map(c_string).collect::<io::Result<Vec<_>>>()?;
    let variables = env::vars_os().filter(|(name, _)| name != NO_AUTOSPAWN);
    let env = variables.map(|(name, value)| {
        let mut line: OsString = name;
        line.push("=");
        line.push(value);
        c_string(&line)
    });
    let env = env.collect::<io::Result<Vec<_>>>()?;
    let (argv, env) = (pointers(&argv), pointers(&env));
    let inherited = election.as_fd().as_raw_fd();
    let blocked = Blocked::all();
    if os::fork_away()? {
        become_it(inherited, &program, &argv, &env);
    }
    drop(blocked);
    Ok(())
}

fn c_string(text: impl AsRef<OsStr>) -> io::Result<CString> {
    Ok(CString::new(text.as_ref().as_bytes())?)
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// In the child: only what is async-signal-safe. Standard input is /dev/null already.
fn become_it(
    inherited: RawFd,
    program: &CString,
    argv: &[*const c_char],
    env: &[*const c_char],
) -> ! {
    // SAFETY: system calls with valid pointers: strings ended by NUL, lists ended by null.
    unsafe {
        libc::setsid();
        let quiet = libc::dup2(0, 1) >= 0 && libc::dup2(0, 2) >= 0;
        child::default_signals();
        if quiet && child::keep_only(&[inherited]).is_ok() {
            libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr());
        }
        libc::_exit(127)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ago_ms: u64, count: u32) -> Result<u32, Duration> {
        pause(Some(&Fetched { at_ms: 1_000_000, count }), 1_000_000 + ago_ms)
    }

    #[test]
    fn the_pauses_double_until_one_stays() {
        assert_eq!(pause(None, 5), Ok(0));
        assert_eq!(after(0, 0), Err(Duration::from_secs(1)));
        assert_eq!(after(1000, 0), Ok(1));
        assert_eq!(after(1500, 1), Err(Duration::from_millis(500)));
        assert_eq!(after(8000, 3), Ok(4));
        assert_eq!(after(29_000, 60), Err(Duration::from_secs(1)));
        assert_eq!(after(30_000, u32::MAX), Ok(u32::MAX));
        assert_eq!(after(60_000, 9), Ok(0));
    }

    #[test]
    fn a_record_of_the_future_is_of_another_boot() {
        assert_eq!(pause(Some(&Fetched { at_ms: 10_000, count: 9 }), 9_999), Ok(0));
    }
}
