//! What a shim holds for its project: one descriptor, the newest, never looked at.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use hearth_shim::frames::*;
use rustix::fs::{MemfdFlags, SealFlags};

use crate::agent::{Agent, Home, wait_for_log, wait_until};

pub const TESTS: crate::Tests = &[
    ("what_is_held_is_given_back", what_is_held_is_given_back),
    ("it_comes_with_the_start_too", it_comes_with_the_start_too),
    ("the_newest_is_held_and_no_other", the_newest_is_held_and_no_other),
    ("descriptors_without_their_frame_are_closed", descriptors_without_their_frame_are_closed),
    ("a_frame_in_pieces_keeps_its_descriptor", a_frame_in_pieces_keeps_its_descriptor),
];

/// A sealed file of memory.
fn sealed(text: &str) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create("capture", flags).unwrap());
    file.write_all(text.as_bytes()).unwrap();
    let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, all).unwrap();
    file.into()
}

fn hold(agent: &mut Agent, generation: u64, text: &str) {
    agent.send_with(&encode(&ToShim::Hold { generation }), &[sealed(text).as_fd()]);
}

/// What somebody who is not the agent is given.
fn given_back(home: &Home) -> Option<(u64, String)> {
    let mut asker = Agent::stranger(home);
    asker.send(&ToShim::GiveBack);
    let FromShim::Held { generation } = asker.next() else { panic!("no answer") };
    assert_eq!(asker.came.len(), usize::from(generation.is_some()));
    let file = File::from(asker.came.pop()?);
    let mut text = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut text, 0).unwrap();
    Some((generation?, String::from_utf8(text).unwrap()))
}

/// What the descriptors of a process are.
fn open(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(Result::unwrap);
    entries.filter_map(|entry| Some(entry.path().read_link().ok()?.display().to_string())).collect()
}

fn memfds(pid: u32) -> usize {
    open(pid).iter().filter(|name| name.contains("memfd:")).count()
}

fn what_is_held_is_given_back() {
    let home = Home::new();
    let mut running = home.started(&home.shell("exec sleep 1000"));
    assert_eq!(given_back(&home), None);
    hold(&mut running.agent, 3, "A=1");
    // Twice: who reads by the offset leaves nothing to the next.
    wait_until("it is held", || given_back(&home) == Some((3, "A=1".into())));
    assert_eq!(given_back(&home), Some((3, "A=1".into())));
    // The agent still is the agent, and outlived is only the connection.
    running.agent.send(&ToShim::GiveBack);
    assert_eq!(running.agent.next(), FromShim::Held { generation: Some(3) });
    drop(running.agent);
    assert_eq!(given_back(&home), Some((3, "A=1".into())));
    let mut next = home.connect();
    assert_eq!(next.state().held, Some(3));
    next.finish();
}

fn it_comes_with_the_start_too() {
    let home = Home::new();
    let spec = home.shell("ls -l /proc/self/fd; echo listed; exec sleep 1000");
    let mut running = home.started_holding(&spec, 1, sealed("B=2").as_fd());
    wait_until("it is held", || given_back(&home) == Some((1, "B=2".into())));
    wait_for_log(&home, "listed");
    assert!(!home.log().contains("memfd"), "{}", home.log());
    assert_eq!(memfds(running.leader.pid), 0);
    // Nor does a probe get it.
    let run = Run::Shell("ls -l /proc/self/fd | grep -c memfd".into());
    running.agent.send(&ToShim::Probe { id: 1, run, timeout_ms: 10_000 });
    let FromShim::Probed { last_line, .. } = running.agent.next() else { panic!("no probe") };
    assert_eq!(last_line, "0");
    running.agent.finish();
}

fn the_newest_is_held_and_no_other() {
    let home = Home::new();
    let mut running = home.started(&home.shell("exec sleep 1000"));
    for (generation, text) in [(5, "five"), (4, "four"), (7, "seven"), (7, "again"), (6, "six")] {
        hold(&mut running.agent, generation, text);
    }
    // A frame that lost its descriptor changes nothing.
    running.agent.send(&ToShim::Hold { generation: 9 });
    running.agent.send(&ToShim::GiveBack);
    assert_eq!(running.agent.next(), FromShim::Held { generation: Some(7) });
    running.agent.came.clear();
    assert_eq!(given_back(&home), Some((7, "again".into())));
    assert_eq!(memfds(running.shim.pid), 1);
    running.agent.finish();
}

fn descriptors_without_their_frame_are_closed() {
    let home = Home::new();
    let mut running = home.started(&home.shell("exec sleep 1000"));
    let count = open(running.shim.pid).len();
    let file = sealed("stray");
    for _ in 0..50 {
        let many = [file.as_fd(); 8];
        running.agent.send_with(&encode(&ToShim::MarkReady { at: None }), &many);
    }
    // Nobody who has not said hello may have something held.
    let mut rude = Agent::stranger(&home);
    hold(&mut rude, 1, "rude");
    assert_eq!(rude.frame(), None);
    running.agent.send(&ToShim::GiveBack);
    assert_eq!(running.agent.next(), FromShim::Held { generation: None });
    assert_eq!(open(running.shim.pid).len(), count);
    running.agent.finish();
}

fn a_frame_in_pieces_keeps_its_descriptor() {
    let home = Home::new();
    let mut running = home.started(&home.shell("exec sleep 1000"));
    let bytes = encode(&ToShim::Hold { generation: 2 });
    running.agent.send_with(&bytes[..1], &[sealed("in pieces").as_fd()]);
    for byte in &bytes[1..] {
        assert_eq!(given_back(&home), None);
        running.agent.send_bytes(std::slice::from_ref(byte));
    }
    wait_until("it is held", || given_back(&home) == Some((2, "in pieces".into())));
    running.agent.finish();
}
