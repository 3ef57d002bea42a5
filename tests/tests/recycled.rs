//! Pids that are given out again between a death and whoever looks: the innocent who have them now
//! are not shown, not signalled, not waited for.
//!
//! Really made: clone3(2) with `set_tid` gives a process the number that is asked for (Linux 5.5,
//! root).
#![cfg(target_os = "linux")]

use std::ffi::CString;
use std::io;
use std::ptr;
use std::time::{Duration, Instant};

use hearth_process::{Signal, facts};
use hearth_tests::{Project, await_end, await_file, is_root, runs, send};

/// Somebody who has nothing to do with it: leader of a session, with a child, and no handler for
/// any signal.
struct Innocent(u32);

impl Innocent {
    /// Gets the number of one that has ended.
    fn with_pid_of(ended: u32) -> Self {
        let words = ["/bin/sh", "-c", "sleep 1000 & wait"].map(|word| CString::new(word).unwrap());
        let arguments = [words[0].as_ptr(), words[1].as_ptr(), words[2].as_ptr(), ptr::null()];
        let environment = [ptr::null()];
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match clone_with(ended) {
                Ok(0) => {
                    // SAFETY: system calls alone, on memory that was made before the fork.
                    unsafe {
                        libc::setsid();
                        libc::execve(arguments[0], arguments.as_ptr(), environment.as_ptr());
                        libc::_exit(127);
                    }
                }
                Ok(pid) => {
                    assert_eq!(pid, ended);
                    let innocent = Self(pid);
                    // Nothing tells when its shell has come to its child.
                    while innocent.children() == 0 {
                        assert!(Instant::now() < deadline, "{pid} has no child");
                        std::thread::yield_now();
                    }
                    return innocent;
                }
                // Ended, and its new parent has not waited for it yet: nothing tells when it has.
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                    assert!(Instant::now() < deadline, "{ended} is never free");
                    std::thread::yield_now();
                }
                Err(error) => panic!("clone3: {error}"),
            }
        }
    }

    #[track_caller]
    fn is_untouched(&self) {
        assert!(runs(self.0), "{} was ended, and has nothing to do with it", self.0);
        assert_eq!(self.children(), 1, "its child was ended");
    }

    fn children(&self) -> usize {
        hearth_process::tree::below(self.0, &|_| false).unwrap().len()
    }
}

impl Drop for Innocent {
    fn drop(&mut self) {
        let group = i32::try_from(self.0).unwrap();
        // SAFETY: its own group, which nobody else can have got: it is not waited for before.
        unsafe {
            libc::kill(-group, libc::SIGKILL);
            libc::kill(group, libc::SIGKILL);
            libc::waitpid(group, ptr::null_mut(), 0);
        }
    }
}

/// fork(2), but for the number: 0 in the child.
fn clone_with(pid: u32) -> io::Result<u32> {
    let tid = i32::try_from(pid).unwrap();
    // SAFETY: all zero is "nothing of it" (clone3(2)).
    let mut how: libc::clone_args = unsafe { std::mem::zeroed() };
    how.exit_signal = libc::SIGCHLD.cast_unsigned().into();
    how.set_tid = ptr::from_ref(&tid) as u64;
    how.set_tid_size = 1;
    // SAFETY: no shared memory and no new stack: a fork. The child only makes system calls.
    let got = unsafe {
        libc::syscall(libc::SYS_clone3, ptr::from_mut(&mut how), size_of::<libc::clone_args>())
    };
    u32::try_from(got).map_err(|_| io::Error::last_os_error())
}

fn service(restart: &str) -> Project {
    Project::new(&format!(
        "[services.s]\nrun = \"echo $$ >> pids; echo up; exec sleep 1000\"\nready = {{ log = \"up\" }}\n\
         backoff = {{ min = \"1ms\" }}\nrestart = \"{restart}\"\n"
    ))
}

#[test]
fn all_are_killed_and_their_pids_given_to_others() {
    if !is_root("all_are_killed_and_their_pids_given_to_others") {
        return;
    }
    let project = service("never");
    project.run(&["up"]).exits(0);
    let leader = project.pid("s");
    let shim = facts::parent_of(leader).unwrap();
    let agent = project.home.agent_pid().unwrap();
    // It would bring an agent back.
    send(shim, Signal::STOP);
    for pid in [agent, shim, leader] {
        send(pid, Signal::KILL);
        await_end(pid);
    }
    let innocent = [agent, shim, leader].map(Innocent::with_pid_of);
    let untouched = || innocent.iter().for_each(Innocent::is_untouched);

    let status = project.run(&["daemon", "status", "--json"]).exits(3).json();
    assert_eq!(status["state"], "down", "{status}");
    project.run(&["daemon", "down"]).exits(0);
    untouched();
    let cold = project.run(&["status", "--json", "--no-spawn"]).exits(0).json();
    assert_eq!(cold["services"][0]["pid"], serde_json::Value::Null, "{cold}");
    untouched();
    // A new agent. It shows what was until it has seen that nothing of it can be left.
    project.run(&["daemon", "up"]).exits(0);
    await_file(&project.home.path("agent.log"), |log| log.contains("nobody saw how"));
    untouched();
    let row = project.row("s");
    assert_eq!(row["pid"], serde_json::Value::Null, "{row}");
    assert!(["starting", "failed"].contains(&row["state"].as_str().unwrap()), "{row}");
    untouched();
    project.run(&["up"]).exits(0);
    let pid = project.pid("s");
    assert_eq!(project.read("pids"), format!("{leader}\n{pid}\n"));
    untouched();
    project.run(&["down"]).exits(0);
    assert!(!runs(pid));
    untouched();
    project.run(&["daemon", "down"]).exits(0);
    untouched();
}

#[test]
fn shim_and_leader_are_others_when_a_living_agent_looks_up() {
    if !is_root("shim_and_leader_are_others_when_a_living_agent_looks_up") {
        return;
    }
    let project = service("always");
    project.run(&["up"]).exits(0);
    let leader = project.pid("s");
    let shim = facts::parent_of(leader).unwrap();
    project.home.signal_agent(Signal::STOP);
    for pid in [shim, leader] {
        send(pid, Signal::KILL);
        await_end(pid);
    }
    let innocent = [shim, leader].map(Innocent::with_pid_of);
    project.home.signal_agent(Signal::CONT);
    let lives = project.await_lines("pids", 2);
    project.run(&["up"]).exits(0);
    assert_eq!(project.pid("s").to_string(), lives[1]);
    innocent.iter().for_each(Innocent::is_untouched);
    project.run(&["restart", "s"]).exits(0);
    project.run(&["down"]).exits(0);
    innocent.iter().for_each(Innocent::is_untouched);
    assert_eq!(project.read("pids").lines().count(), 3);
}

#[test]
fn the_shim_alone_is_another_when_an_agent_looks_up() {
    if !is_root("the_shim_alone_is_another_when_an_agent_looks_up") {
        return;
    }
    for agent_dies in [false, true] {
        let project = service("always");
        project.run(&["up"]).exits(0);
        let leader = project.pid("s");
        let shim = facts::parent_of(leader).unwrap();
        project.home.signal_agent(Signal::STOP);
        send(shim, Signal::KILL);
        await_end(shim);
        let innocent = Innocent::with_pid_of(shim);
        assert!(runs(leader), "nobody has looked yet");
        if agent_dies {
            project.home.kill_agent();
            project.run(&["up"]).exits(0);
        } else {
            project.home.signal_agent(Signal::CONT);
        }
        project.await_lines("pids", 2);
        assert!(!runs(leader), "two copies at once");
        innocent.is_untouched();
        project.run(&["up"]).exits(0);
        project.run(&["down"]).exits(0);
        innocent.is_untouched();
        assert_eq!(project.read("pids").lines().count(), 2);
    }
}
