//! A pid that is really given out again, in a pid namespace of the test's own.
#![cfg(target_os = "linux")]

mod support;

use std::time::Duration;

use hearth_process::{Liveness, OpenError, ProcessHandle, ProcessId, Signal};
use support::Kept;

const OUTSIDE: &str = "HEARTH_TEST_OUTSIDE";

#[test]
fn a_recycled_pid_is_another_process_and_nothing_reaches_it() {
    if !support::root_or_skip("a_recycled_pid_is_another_process_and_nothing_reaches_it") {
        return;
    }
    let outside = serde_json::to_string(&ProcessId::current()).unwrap();
    support::in_namespaces(
        &["--pid", "--fork", "--kill-child", "--mount-proc"],
        "inner_recycled_pid",
        &[(OUTSIDE, outside)],
    );
}

#[test]
#[ignore = "run by the test above, in a pid namespace where it may choose pids"]
fn inner_recycled_pid() {
    let Ok(outside) = std::env::var(OUTSIDE) else {
        return;
    };
    let mut first = Kept::sleeping();
    let pid = first.pid();
    let id = ProcessId::of(pid).unwrap();
    let handle = ProcessHandle::open(&id).unwrap();
    first.kill_and_reap();
    assert_eq!(id.living(), Liveness::Ended);
    // The kernel's start times are in ticks of 10 ms. Time is what is awaited here.
    std::thread::sleep(Duration::from_millis(30));
    std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
    let mut second = Kept::sleeping();
    assert_eq!(second.pid(), pid, "the kernel gave out another pid");

    assert_eq!(id.living(), Liveness::Recycled);
    let refusal = ProcessHandle::open(&id);
    assert!(matches!(refusal, Err(OpenError::Recycled)), "{refusal:?}");
    assert!(handle.wait_timeout(Duration::ZERO).unwrap());
    let error = handle.signal(Signal::KILL).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ESRCH));

    let successor = ProcessId::of(pid).unwrap();
    assert_ne!(successor, id);
    assert_eq!(successor.living(), Liveness::Living);
    assert!(second.0.try_wait().unwrap().is_none(), "it was signalled");
    let sent = pending_signals(pid);
    assert_eq!(sent, (0, 0), "something is on its way to it");
    ProcessHandle::open(&successor).unwrap().signal(Signal::TERM).unwrap();
    second.0.wait().unwrap();

    // Who lives outside means nothing here, whatever pid it has.
    let outside: ProcessId = serde_json::from_str(&outside).unwrap();
    assert_eq!(outside.living(), Liveness::OtherWorld);
    let refusal = ProcessHandle::open(&outside);
    assert!(matches!(refusal, Err(OpenError::OtherWorld)));
}

/// `SigPnd` and `ShdPnd` of `proc_pid_status(5)`.
fn pending_signals(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    };
    (field("SigPnd:"), field("ShdPnd:"))
}
