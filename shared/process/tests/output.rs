//! Who is left writing to a pipe, and that nobody is found who has nothing to do with it.
#![cfg(target_os = "linux")]

mod support;

use std::io;
use std::process::{Command, Stdio};

use hearth_process::output::Pipes;
use hearth_process::{ProcessId, Signal, tree};

#[test]
fn only_writers_of_a_pipe_that_nobody_reads_are_found() {
    let (reader, writer) = io::pipe().unwrap();
    let script = "setsid sleep 1000 & exec sleep 1000";
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut leader = support::Kept(command.spawn().unwrap());
    // It keeps ends of the pipe for the next one that it starts.
    drop(command);
    let id = ProcessId::of(leader.pid()).unwrap();
    let pipes = Pipes::of(&id);
    assert_eq!(pipes.abandoned().unwrap(), [], "we read from it");

    drop(reader);
    let child = loop {
        // Forked by then or not yet: there is nothing to wait for.
        let below = tree::below(leader.pid(), &|_| false).unwrap();
        if let [child] = below.as_slice() {
            break child.id.clone();
        }
        std::thread::yield_now();
    };
    let mut found = pipes.abandoned().unwrap();
    found.sort_by_key(|id| id.pid);
    let mut wanted = [id.clone(), child.clone()];
    wanted.sort_by_key(|id| id.pid);
    assert_eq!(found, wanted);

    leader.kill_and_reap();
    assert_eq!(Pipes::of(&id), Pipes::default(), "of a dead one nothing is known");
    assert_eq!(pipes.abandoned().unwrap(), [child.clone()]);
    let child = hearth_process::ProcessHandle::open(&child).unwrap();
    child.signal(Signal::KILL).unwrap();
}

#[test]
fn who_writes_elsewhere_has_no_pipes() {
    let mut command = Command::new("sleep");
    command.arg("1000").stdout(Stdio::null()).stderr(Stdio::null());
    let sleeper = support::Kept(command.spawn().unwrap());
    let id = ProcessId::of(sleeper.pid()).unwrap();
    assert_eq!(Pipes::of(&id), Pipes::default());
}
