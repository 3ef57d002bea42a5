//! Waiting for the end of a process, and signalling it.

mod support;

use std::time::Duration;

use hearth_process::{OpenError, ProcessHandle, ProcessId, Signal};
use support::Kept;

#[test]
fn an_end_that_comes_later_is_awaited() {
    let child = Kept::sleeping();
    let id = ProcessId::of(child.pid()).unwrap();
    let handle = ProcessHandle::open(&id).unwrap();
    assert_eq!(handle.id(), &id);
    assert!(!handle.wait_timeout(Duration::ZERO).unwrap());
    assert!(!handle.wait_timeout(Duration::from_millis(20)).unwrap());
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| handle.wait());
        handle.signal(Signal::TERM).unwrap();
        waiter.join().unwrap().unwrap();
    });
    // Readable for ever after, and for everybody.
    handle.wait().unwrap();
    assert!(handle.wait_timeout(Duration::MAX).unwrap());
}

#[cfg(target_os = "linux")]
#[test]
fn a_zombie_is_held_and_has_ended() {
    let mut child = Kept::sleeping();
    let id = ProcessId::of(child.pid()).unwrap();
    let early = ProcessHandle::open(&id).unwrap();
    child.0.kill().unwrap();
    early.wait().unwrap();
    let handle = ProcessHandle::open(&id).unwrap();
    handle.wait().unwrap();
    // A zombie still takes signals; a reaped one does not, and nobody else gets them.
    handle.signal(Signal::KILL).unwrap();
    child.0.wait().unwrap();
    let error = handle.signal(Signal::KILL).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
}

#[test]
fn a_process_that_has_ended_cannot_be_held() {
    let mut child = Kept::sleeping();
    let id = ProcessId::of(child.pid()).unwrap();
    child.kill_and_reap();
    assert!(matches!(ProcessHandle::open(&id), Err(OpenError::Gone)));
}

#[test]
fn a_process_of_another_boot_is_neither_held_nor_signalled() {
    let child = Kept::sleeping();
    let mut id = ProcessId::of(child.pid()).unwrap();
    id.boot = "another".into();
    let refusal = ProcessHandle::open(&id);
    assert!(matches!(refusal, Err(OpenError::OtherWorld)));
}

#[test]
fn what_could_not_be_compared_is_watched_but_not_signalled() {
    let mut child = Kept::sleeping();
    let mut id = ProcessId::of(child.pid()).unwrap();
    id.start = None;
    let handle = ProcessHandle::open(&id).unwrap();
    let error = handle.signal(Signal::KILL).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    assert!(!handle.wait_timeout(Duration::ZERO).unwrap());
    child.kill_and_reap();
    handle.wait().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_pidfd_from_elsewhere_tells_whose_it_is() {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let mut child = Kept::sleeping();
    let pid = Pid::from_raw(child.pid() as i32).unwrap();
    let open = || pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let handle = ProcessHandle::from_pidfd(open()).unwrap();
    assert_eq!(handle.id(), &ProcessId::of(child.pid()).unwrap());
    let late = open();
    handle.signal(Signal::KILL).unwrap();
    child.0.wait().unwrap();
    let refusal = ProcessHandle::from_pidfd(late);
    assert!(matches!(refusal, Err(OpenError::Gone)));
    let file = std::fs::File::open("/dev/null").unwrap();
    let refusal = ProcessHandle::from_pidfd(file.into());
    assert!(matches!(refusal, Err(OpenError::Os(_))));
}

#[cfg(target_os = "linux")]
#[test]
fn real_time_signals_arrive() {
    use std::os::unix::process::ExitStatusExt;
    let mut child = Kept::sleeping();
    let handle = ProcessHandle::open(&ProcessId::of(child.pid()).unwrap()).unwrap();
    handle.signal("SIGRTMIN+3".parse().unwrap()).unwrap();
    let status = child.0.wait().unwrap();
    let signal = status.signal().and_then(Signal::from_raw).unwrap();
    assert_eq!(signal.name(), "SIGRTMIN+3");
}
