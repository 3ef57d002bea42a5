//! The service manager that runs this process: what it left in the environment, and what it is about.
//!
//! Invariant: nothing that the manager said to this process reaches a child of it: a service that
//! found `NOTIFY_SOCKET` would speak for the agent's unit, and one that found `LISTEN_FDS` would take
//! descriptors of its own for the agent's. It is read and taken away before there is any thread.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};
use std::{env, fs};

use rustix::io::FdFlags;
use sd_notify::NotifyState;
use tracing::warn;

use super::given::Given;
use super::notify::{Notify, one_line};
use crate::{App, run};

/// What a manager tells its process, and no other.
const NAMES: [&str; 7] = [
    "NOTIFY_SOCKET",
    "INVOCATION_ID",
    "SYSTEMD_EXEC_PID",
    "JOURNAL_STREAM",
    "MANAGERPID",
    "MANAGERPIDFDID",
    "XPC_SERVICE_NAME",
];
const PREFIXES: [&str; 3] = ["LISTEN_", "WATCHDOG_", "MEMORY_PRESSURE_"];

/// The manager has so long to say what it is about.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Why the agent ends, as far as it matters to what it leaves behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It was told to, or has nothing to do. Services stay; the next verb's agent takes them over.
    #[default]
    Ordinary,
    /// Another one comes at once: who waits is to come again.
    Restart,
    /// Another one serves already: it has what was handed over, and what this one would save now would be
    /// older than what that one has saved.
    Replaced,
    /// Everything ends, by logout or shutdown: what is left will be killed.
    Shutdown,
}

/// What a manager gave.
#[derive(Debug, Default)]
pub(super) struct Managed {
    pub(super) given: Given,
    pub(super) notify: Notify,
    /// Whom to ask; `None`: systemd does not run us.
    pub(super) manager: Option<Manager>,
    /// Whether any manager runs us.
    pub(super) is_managed: bool,
}

/// systemd, and our unit there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manager {
    /// A user's, as opposed to the machine's.
    of_user: bool,
    /// Our unit.
    unit: String,
}

impl Managed {
    /// Reads what the manager left and takes it away, with every descriptor that a child could
    /// inherit. To be called before there is any thread.
    pub(super) fn take(app: &App) -> Self {
        close_on_exec();
        let notify = env::var_os("NOTIFY_SOCKET").map(|it| Notify::to(&it)).unwrap_or_default();
        let executed = env::var("SYSTEMD_EXEC_PID").ok();
        // Before 248 systemd does not say whom it has executed.
        let by_systemd = match &executed {
            Some(pid) => *pid == std::process::id().to_string(),
            None => notify.is_heard(),
        };
        let manager = by_systemd.then(Manager::of_this_process).flatten();
        let by_launchd =
            env::var_os("XPC_SERVICE_NAME").is_some_and(|name| name == *app.launchd_label());
        let given = Given::take();
        for (name, _) in env::vars_os().filter(|(name, _)| is_managers(name)) {
            // SAFETY: there is one thread: our caller promises it (`Agent::take`).
            unsafe { env::remove_var(name) };
        }
        // What we start is below an agent, as it is below one that a verb has started. SAFETY: as above.
        unsafe { env::set_var(app.var_name("NO_AUTOSPAWN"), "1") };
        Self { given, notify, manager, is_managed: by_systemd || by_launchd }
    }
}

impl Managed {
    /// Tells everybody who waits, and the manager, why there will be no agent.
    pub(super) fn refuse(&self, app: &App, code: &str, reason: &str, hint: &str) {
        self.notify.tell(&[NotifyState::Status(&one_line(reason))]);
        self.given.refuse(app, code, reason, hint);
    }
}

fn is_managers(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return false };
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whatever this process was given beyond 0, 1 and 2 is not for its children.
fn close_on_exec() {
    let Ok(open) = fs::read_dir("/dev/fd") else { return };
    let numbers = open.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok());
    for fd in numbers.filter(|fd| *fd > 2) {
        // SAFETY: borrowed for one call, which fails where it is open no more.
        let _ = rustix::io::fcntl_setfd(unsafe { BorrowedFd::borrow_raw(fd) }, FdFlags::CLOEXEC);
    }
}

impl Manager {
    fn of_this_process() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        Some(Self { of_user: env::var_os("MANAGERPID").is_some(), unit: unit(&groups)? })
    }

    /// Asks what becomes of us. Blocks for 1.5 s at most; who does not answer says nothing special.
    pub(super) fn ask(&self) -> Ending {
        let until = Instant::now() + PATIENCE;
        let state = self.systemctl(&["is-system-running"], until);
        let jobs = self.systemctl(&["list-jobs", "--no-legend", "--plain", "--full"], until);
        meaning(&state, &jobs, &self.unit)
    }

    fn systemctl(&self, words: &[&str], until: Instant) -> String {
        let mut command = run::command("systemctl");
        if self.of_user {
            command.arg("--user");
        }
        command.args(words);
        match run::run(command, until) {
            Ok(ran) => ran.stdout,
            Err(trouble) => {
                warn!(?trouble, "the service manager does not say what it is about");
                String::new()
            }
        }
    }
}

/// The unit in whose control group we are: the last part of its path (cgroups(7)).
fn unit(groups: &str) -> Option<String> {
    // Where both are mounted, either may be the one that systemd does not use: then it says `/`.
    let mut paths = groups.lines().filter_map(|line| {
        line.strip_prefix("0::").or_else(|| line.split_once(":name=systemd:").map(|it| it.1))
    });
    let unit =
        |path: &str| path.rsplit('/').find(|part| part.ends_with(".service")).map(str::to_owned);
    paths.find_map(unit)
}

/// `jobs`: lines of `JOB UNIT TYPE STATE` (systemctl(1)).
fn meaning(state: &str, jobs: &str, unit: &str) -> Ending {
    let restarts = jobs.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Where it was stopped first and is started next, both are one job.
        matches!(words[..], [_, name, "restart" | "try-restart" | "start", ..] if name == unit)
    });
    match (state.trim(), restarts) {
        ("stopping", _) => Ending::Shutdown,
        (_, true) => Ending::Restart,
        (_, false) => Ending::Ordinary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_known_by_its_control_group() {
        let deep = "0::/user.slice/user-0.slice/user@0.service/app.slice/hearth-agent.service\n";
        assert_eq!(unit(deep).as_deref(), Some("hearth-agent.service"));
        let hybrid = "3:cpu:/x\n1:name=systemd:/user.slice/u.service\n0::/v.service/sub\n";
        assert_eq!(unit(hybrid).as_deref(), Some("u.service"));
        let other = "9:name=systemd:/\n0::/u/app.slice/w.service\n";
        assert_eq!(unit(other).as_deref(), Some("w.service"));
        assert_eq!(unit("0::/v.service/sub\n").as_deref(), Some("v.service"));
        assert_eq!(unit("0::/user.slice/session-1.scope\n"), None);
        assert_eq!(unit(""), None);
    }

    #[test]
    fn what_the_manager_is_about_is_read_from_its_state_and_its_jobs() {
        let jobs = "12 a.service restart running\n13 hearth-agent.service restart waiting\n";
        let stop = "13 hearth-agent.service stop running\n";
        let unit = "hearth-agent.service";
        assert_eq!(meaning("running\n", jobs, unit), Ending::Restart);
        assert_eq!(meaning("degraded\n", stop, unit), Ending::Ordinary);
        assert_eq!(meaning("stopping\n", stop, unit), Ending::Shutdown);
        assert_eq!(meaning("", "No jobs running.", unit), Ending::Ordinary);
        assert_eq!(meaning("running", "1 other.service restart running", unit), Ending::Ordinary);
    }

    #[test]
    fn what_is_the_managers_is_told_from_what_is_ours() {
        let is = |name: &str| is_managers(&name.into());
        let theirs = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC"];
        assert!(theirs.iter().chain(&NAMES).all(|name| is(name)));
        assert!(!is("XDG_RUNTIME_DIR") && !is("PATH") && !is("HEARTH_HOME"));
    }
}
