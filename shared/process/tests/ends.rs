//! The ends of many processes by one descriptor, and those above a process.

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use hearth_process::{Ends, OpenError, ProcessId, StartTime, ancestors, facts, terminal_leader};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use support::Kept;

/// Waits until there is an end, and takes what there is.
fn next(ends: &Ends) -> Vec<u64> {
    poll(&mut [PollFd::new(ends, PollFlags::IN)], None).unwrap();
    ends.drain().unwrap()
}

fn is_readable(ends: &Ends) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(ends, PollFlags::IN)], Some(&now)).unwrap() > 0
}

#[test]
fn each_end_is_told_once_and_only_of_those_that_were_added() {
    let ends = Ends::new().unwrap();
    let mut children: Vec<_> = (0..20).map(|_| Kept::sleeping()).collect();
    for (child, token) in children.iter().zip(0..) {
        ends.add(&ProcessId::of(child.pid()).unwrap(), token).unwrap();
    }
    assert!(!is_readable(&ends));
    ends.remove(3);
    for child in &mut children[..10] {
        child.0.kill().unwrap();
    }
    let mut told = Vec::new();
    while told.len() < 9 {
        told.extend(next(&ends));
    }
    told.sort_unstable();
    assert_eq!(told, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    // Zombies still, and told already.
    assert!(!is_readable(&ends));
    assert!(ends.drain().unwrap().is_empty());
}

#[test]
fn who_has_ended_or_is_another_is_not_added() {
    let ends = Ends::new().unwrap();
    let mut child = Kept::sleeping();
    let id = ProcessId::of(child.pid()).unwrap();
    let raw = id.start.unwrap().as_raw();
    let other = ProcessId { start: Some(StartTime::from_raw(raw + 1)), ..id.clone() };
    assert!(matches!(ends.add(&other, 1), Err(OpenError::Recycled)));
    let other = ProcessId { pid_ns: id.pid_ns + 1, ..id.clone() };
    assert!(matches!(ends.add(&other, 1), Err(OpenError::OtherWorld)));
    child.kill_and_reap();
    assert!(matches!(ends.add(&id, 1), Err(OpenError::Gone)));
    assert!(!is_readable(&ends));
}

/// A copy of a pidfd that a child has until it executes something keeps it in the epoll set.
#[test]
fn an_end_that_was_taken_is_not_told_again_although_a_child_has_a_copy() {
    let ends = Ends::new().unwrap();
    let mut child = Kept::sleeping();
    ends.add(&ProcessId::of(child.pid()).unwrap(), 7).unwrap();
    // SAFETY: the child only waits to be killed.
    let fork = unsafe { libc::fork() };
    if fork == 0 {
        loop {
            // SAFETY: no memory is touched.
            unsafe { libc::pause() };
        }
    }
    child.0.kill().unwrap();
    assert_eq!(next(&ends), [7]);
    assert!(!is_readable(&ends));
    // SAFETY: our own child, not reaped before.
    unsafe {
        libc::kill(fork, libc::SIGKILL);
        libc::waitpid(fork, std::ptr::null_mut(), 0);
    }
}

#[test]
fn ancestors_are_told_nearest_first_with_their_users() {
    let child = Kept::sleeping();
    let of = ProcessId::of(child.pid()).unwrap();
    let above = ancestors(&of).unwrap();
    assert_eq!(above[0].id, ProcessId::current());
    assert_eq!(above[0].uid, Some(rustix::process::geteuid().as_raw()));
    assert_eq!(above[1..], ancestors(&ProcessId::current()).unwrap());
    let other = ProcessId { start: Some(StartTime::from_raw(1)), ..of };
    assert!(ancestors(&other).is_err());
}

#[test]
fn facts_of_a_process_are_the_kernels() {
    let dir = tempfile::tempdir().unwrap();
    let child = Kept(Command::new("sleep").arg("1000").current_dir(dir.path()).spawn().unwrap());
    assert_eq!(facts::command_of(child.pid()).as_deref(), Some("sleep"));
    let real = dir.path().canonicalize().unwrap();
    assert_eq!(facts::directory_of(child.pid()), Some(real));
    assert_eq!(facts::pids_of(child.pid()), Some(vec![child.pid()]));
    drop(dir);
    assert_eq!(facts::directory_of(child.pid()), None, "it was removed");
    assert_eq!(facts::uid_of(u32::MAX), None);
}

#[test]
#[cfg(target_os = "linux")]
fn the_leader_of_the_terminals_session_is_found_from_below_it() {
    // script(1) gives its shell a terminal of its own. It ends with its input, which stays open here.
    let mut command = Command::new("script");
    command.args(["-qec", "sh -c 'echo ready; sleep 1000'; true", "/dev/null"]);
    let mut script = Kept(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    let told = script.0.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(told), &mut line).unwrap();
    let below = hearth_process::tree::below(script.pid(), &|_| false).unwrap();
    let (leader, last) = (&below[0], &below[below.len() - 1]);
    assert_eq!(leader.sid, leader.id.pid);
    assert_ne!(last.id, leader.id);
    assert_eq!(terminal_leader(&last.id), Some(leader.id.clone()));
    assert_eq!(terminal_leader(&leader.id), None, "itself is no ancestor");
    for member in below.iter().rev() {
        // The end of one may be that of those above it.
        let Ok(handle) = hearth_process::ProcessHandle::open(&member.id) else { continue };
        let _ = handle.signal(hearth_process::Signal::KILL);
        assert!(handle.wait_timeout(Duration::from_secs(10)).unwrap());
    }
}
