//! Names of signals. Only names: the numbers differ between platforms and are the business of who
//! sends them. A name is checked here so that a misspelt one is found when the file is read, not
//! when the service is to be stopped.

use crate::invalid::{Invalid, did_you_mean, quoted};

/// Signals of POSIX.1-2017 (`<signal.h>`) with SIGIO and SIGWINCH, which Linux and macOS share.
const SHARED: [&str; 29] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "SYS",
];

#[cfg(target_os = "linux")]
const OWN: [&str; 2] = ["STKFLT", "PWR"];
#[cfg(not(target_os = "linux"))]
const OWN: [&str; 2] = ["EMT", "INFO"];

/// Reads the name of a signal, with or without `SIG`, and returns it with: `TERM` gives `SIGTERM`.
/// Linux: also real-time signals, `SIGRTMIN` to `SIGRTMIN+29` (musl has one fewer than glibc).
///
/// Errors: no such name on this platform; numbers are refused, because they differ between them.
pub fn parse(name: &str) -> Result<String, Invalid> {
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    let known = || SHARED.iter().chain(&OWN).copied();
    if known().any(|one| one == bare) || is_real_time(bare) {
        return Ok(format!("SIG{bare}"));
    }
    let capitals = bare.to_ascii_uppercase();
    let capitals = capitals.strip_prefix("SIG").unwrap_or(&capitals);
    Err(Invalid::new(
        format!("unknown signal {}{}", quoted(name), did_you_mean(capitals, known())),
        "the name of a signal, such as `SIGTERM`, `SIGINT`, `SIGQUIT`, `SIGHUP`, `SIGUSR1`",
    ))
}

fn is_real_time(bare: &str) -> bool {
    if !cfg!(target_os = "linux") {
        return false;
    }
    match bare.strip_prefix("RTMIN") {
        None => false,
        Some("") => true,
        Some(rest) => rest
            .strip_prefix('+')
            .filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|n| n.parse::<u8>().ok())
            .is_some_and(|n| n <= 29),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_sig() {
        assert_eq!(parse("TERM").as_deref(), Ok("SIGTERM"));
        assert_eq!(parse("SIGINT").as_deref(), Ok("SIGINT"));
        #[cfg(target_os = "linux")]
        assert_eq!(parse("RTMIN+3").as_deref(), Ok("SIGRTMIN+3"));
    }

    #[test]
    fn others_are_refused_with_the_nearest() {
        let refusal = parse("SIGTREM").expect_err("misspelt");
        assert_eq!(refusal.message, "unknown signal `SIGTREM`; did you mean `TERM`?");
        for name in ["", "SIG", "15", "SIGRTMIN+99", "SIGRTMIN+", "sigterm", "SIGSIGTERM"] {
            assert!(parse(name).is_err(), "{name}");
        }
    }
}
