//! Who a process is, and whether it lives.

mod support;

use std::process::Command;

use hearth_process::{BootId, Liveness, ProcessId, StartTime, facts, tree};
use support::Kept;

#[test]
fn we_are_who_we_are() {
    let ours = ProcessId::current();
    assert_eq!(ours, ProcessId::of(std::process::id()).unwrap());
    assert_eq!(ours, ProcessId::current());
    assert!(ours.start.is_some());
    assert!(ours.same_world());
    assert_eq!(ours.living(), Liveness::Living);
    assert_eq!(ours.boot, facts::boot_id());
    assert!(!ours.boot.as_str().is_empty());
}

#[test]
fn an_identity_survives_being_written_and_read() {
    let ours = ProcessId::current();
    let json = serde_json::to_string(&ours).unwrap();
    assert_eq!(serde_json::from_str::<ProcessId>(&json).unwrap(), ours);
    let unknown = ProcessId { start: None, ..ours };
    let json = serde_json::to_string(&unknown).unwrap();
    assert_eq!(serde_json::from_str::<ProcessId>(&json).unwrap(), unknown);
}

#[test]
fn a_command_named_with_parentheses_and_spaces_has_an_identity() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("a) R 1 (b c");
    std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
    let child = Kept(Command::new(&program).arg("1000").spawn().unwrap());
    let id = ProcessId::of(child.pid()).unwrap();
    assert!(id.start >= ProcessId::current().start);
    assert_eq!(id.living(), Liveness::Living);
    assert_eq!(facts::parent_of(child.pid()), Some(std::process::id()));
    let members = tree::below(std::process::id(), &|_| false).unwrap();
    let member = members.iter().find(|member| member.id == id).unwrap();
    assert_eq!(member.command, "a) R 1 (b c");
    assert_eq!(member.parent, std::process::id());
}

#[test]
fn a_zombie_has_ended_and_a_reaped_one_is_not_found() {
    let mut child = Kept::sleeping();
    let id = ProcessId::of(child.pid()).unwrap();
    child.0.kill().unwrap();
    await_zombie(child.pid());
    assert_eq!(facts::state_of(child.pid()), Some('Z'));
    assert_eq!(id.living(), Liveness::Ended);
    assert_eq!(ProcessId::of(child.pid()).unwrap(), id);
    child.0.wait().unwrap();
    assert_eq!(id.living(), Liveness::Ended);
    let error = ProcessId::of(child.pid()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

fn await_zombie(pid: u32) {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let pid = Pid::from_raw(pid as i32).unwrap();
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
}

#[test]
fn a_stopped_process_says_so() {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let child = Kept::sleeping();
    let pid = Pid::from_raw(child.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).unwrap();
    assert_eq!(facts::state_of(child.pid()), Some('T'));
}

#[test]
fn another_start_time_boot_or_namespace_is_another_process() {
    let ours = ProcessId::current();
    let start = ours.start.map(|start| StartTime::from_raw(start.as_raw() + 1));
    let recycled = ProcessId { start, ..ours.clone() };
    assert_eq!(recycled.living(), Liveness::Recycled);
    let boot = BootId::from("another");
    let rebooted = ProcessId { boot, ..ours.clone() };
    assert_eq!(rebooted.living(), Liveness::OtherWorld);
    let pid_ns = ours.pid_ns + 1;
    let foreign = ProcessId { pid_ns, ..ours.clone() };
    assert_eq!(foreign.living(), Liveness::OtherWorld);
    assert!(!foreign.same_world());
}

#[test]
fn an_unknown_start_time_is_not_a_changed_one() {
    let mut child = Kept::sleeping();
    let known = ProcessId::of(child.pid()).unwrap();
    let unknown = ProcessId { start: None, ..known };
    assert_eq!(unknown.living(), Liveness::Living);
    child.kill_and_reap();
    assert_eq!(unknown.living(), Liveness::Ended);
}

#[test]
fn no_process_has_a_pid_that_cannot_be() {
    for pid in [0, u32::MAX, i32::MAX as u32] {
        let error = ProcessId::of(pid).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{pid}");
    }
}

#[test]
fn users_are_found_by_name() {
    let root = facts::user_by_name("root").unwrap();
    assert_eq!((root.uid, root.gid, root.name.as_str()), (0, 0, "root"));
    assert!(root.groups.contains(&0));
    assert!(root.home.is_absolute());
    let error = facts::user_by_name("no-such-user-here").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(facts::user_by_name("a\0b").is_err());
    assert!(!facts::hostname().is_empty());
}
