//! Signals by their names.
//!
//! Invariant: every value is a signal of this platform, so that 0 (the test for existence) and
//! numbers of other systems never reach kill(2). Configuration and records use the names, since
//! the numbers differ between Linux and macOS.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A signal of this platform. Written and read as its name, `SIGTERM`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

/// The name is no signal of this platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no signal of this system; expected a name such as SIGTERM")]
pub struct ParseSignalError {
    /// What was given.
    pub name: String,
}

macro_rules! signals {
    ($($name:ident)*) => {
        /// The names that are printed, one a signal.
        const NAMED: &[(&str, i32)] = &[$((stringify!($name), libc::$name)),*];
    };
}

#[cfg(target_os = "linux")]
signals! {
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2
    SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG
    SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS
}

#[cfg(target_os = "macos")]
signals! {
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGEMT SIGFPE SIGKILL SIGBUS SIGSEGV SIGSYS
    SIGPIPE SIGALRM SIGTERM SIGURG SIGSTOP SIGTSTP SIGCONT SIGCHLD SIGTTIN SIGTTOU SIGIO SIGXCPU
    SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGINFO SIGUSR1 SIGUSR2
}

/// Other names of the same signals, read but never printed.
const ALIASES: &[(&str, i32)] =
    &[("SIGIOT", libc::SIGABRT), ("SIGCLD", libc::SIGCHLD), ("SIGPOLL", libc::SIGIO)];

impl Signal {
    /// Ends a process that does not care to do more.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// Ends a process at once; cannot be caught.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// What Ctrl-C sends.
    pub const INT: Self = Self(libc::SIGINT);
    /// What the end of a terminal sends.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// What Ctrl-\ sends.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// Lets a stopped process run on.
    pub const CONT: Self = Self(libc::SIGCONT);
    /// Stops a process; cannot be caught.
    pub const STOP: Self = Self(libc::SIGSTOP);
    /// For the program's own use.
    pub const USR1: Self = Self(libc::SIGUSR1);
    /// For the program's own use.
    pub const USR2: Self = Self(libc::SIGUSR2);

    /// The signal with this number, as wait(2) gives it; `None` if the platform has none such.
    pub fn from_raw(number: i32) -> Option<Self> {
        let known = NAMED.iter().any(|(_, other)| *other == number);
        (known || realtime().is_some_and(|range| range.contains(&number))).then_some(Self(number))
    }

    /// The number, for kill(2).
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// The name: `SIGTERM`, and `SIGRTMIN+3` for real-time signals.
    ///
    /// The two that glibc keeps for itself below `SIGRTMIN` are `SIG32` and `SIG33`.
    pub fn name(self) -> Cow<'static, str> {
        if let Some((name, _)) = NAMED.iter().find(|(_, number)| *number == self.0) {
            return Cow::Borrowed(name);
        }
        Cow::Owned(match realtime_minimum() {
            Some(minimum) if self.0 == minimum => "SIGRTMIN".into(),
            Some(minimum) if self.0 > minimum => format!("SIGRTMIN+{}", self.0 - minimum),
            Some(_) | None => format!("SIG{}", self.0),
        })
    }

    /// For rustix's calls.
    pub(crate) fn for_syscall(self) -> rustix::process::Signal {
        // SAFETY: the number is not 0 and the platform has the signal. The danger named by
        // rustix is that of handling or blocking what libc keeps for itself; we only send.
        unsafe { rustix::process::Signal::from_raw_unchecked(self.0) }
    }
}

/// From the first one the kernel has to the last one that programs may use.
#[cfg(target_os = "linux")]
fn realtime() -> Option<std::ops::RangeInclusive<i32>> {
    Some(32..=libc::SIGRTMAX())
}

#[cfg(target_os = "macos")]
fn realtime() -> Option<std::ops::RangeInclusive<i32>> {
    None
}

#[cfg(target_os = "linux")]
fn realtime_minimum() -> Option<i32> {
    Some(libc::SIGRTMIN())
}

#[cfg(target_os = "macos")]
fn realtime_minimum() -> Option<i32> {
    None
}

/// `SIGRTMIN`, `SIGRTMIN+n`, `SIGRTMAX`, `SIGRTMAX-n`, and `SIG32` as `name` writes it.
fn parse_realtime(name: &str) -> Option<i32> {
    let range = realtime()?;
    let minimum = realtime_minimum()?;
    let offset = |rest: &str, sign: char| match rest.strip_prefix(sign) {
        None if rest.is_empty() => Some(0),
        None => None,
        Some(digits) => digits.parse::<u8>().ok().map(i32::from),
    };
    if let Some(rest) = name.strip_prefix("SIGRTMIN") {
        let number = minimum + offset(rest, '+')?;
        return range.contains(&number).then_some(number);
    }
    if let Some(rest) = name.strip_prefix("SIGRTMAX") {
        let number = *range.end() - offset(rest, '-')?;
        return (number >= minimum).then_some(number);
    }
    let number = name.strip_prefix("SIG")?.parse().ok()?;
    (range.contains(&number) && number < minimum).then_some(number)
}

impl FromStr for Signal {
    type Err = ParseSignalError;

    /// Takes `SIGTERM`, `TERM` and, on Linux, `SIGRTMIN+3`; numbers are refused.
    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let full = if given.starts_with("SIG") {
            Cow::Borrowed(given)
        } else {
            Cow::Owned(format!("SIG{given}"))
        };
        let number = NAMED
            .iter()
            .chain(ALIASES)
            .find(|(name, _)| *name == full)
            .map(|(_, number)| *number)
            .or_else(|| parse_realtime(given));
        let number = number.or_else(|| given.starts_with("RT").then(|| parse_realtime(&full))?);
        number.map(Self).ok_or_else(|| ParseSignalError { name: given.to_owned() })
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_comes_back_from_its_name() {
        let all: Vec<Signal> = (0..=128).filter_map(Signal::from_raw).collect();
        assert!(all.len() >= 31);
        for signal in all {
            let name = signal.name();
            assert_eq!(name.parse(), Ok(signal), "{name}");
            let json = serde_json::to_string(&signal).unwrap();
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Signal>(&json).unwrap(), signal);
        }
    }

    #[test]
    fn short_names_and_aliases_are_read() {
        assert_eq!("TERM".parse(), Ok(Signal::TERM));
        assert_eq!("SIGCLD".parse::<Signal>().unwrap().name(), "SIGCHLD");
    }

    #[test]
    fn what_is_no_signal_is_refused_with_what_was_given() {
        for wrong in ["", "SIG", "15", "32", "sigterm", "SIGSIGTERM", "SIG0", "SIG15", "FOO"] {
            let error = wrong.parse::<Signal>().unwrap_err();
            assert_eq!(error.name, wrong);
        }
        assert_eq!(Signal::from_raw(0), None);
        assert_eq!(Signal::from_raw(-1), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn real_time_signals_count_from_both_ends() {
        let minimum = libc::SIGRTMIN();
        assert_eq!("RTMIN+3".parse::<Signal>().unwrap().as_raw(), minimum + 3);
        let last = "SIGRTMAX-1".parse::<Signal>().unwrap();
        assert_eq!(last.as_raw(), libc::SIGRTMAX() - 1);
        for wrong in ["SIGRTMIN+31", "SIGRTMAX-31", "SIGRTMIN-1", "SIGRTMIN+", "RTMINX"] {
            assert!(wrong.parse::<Signal>().is_err(), "{wrong}");
        }
    }
}
