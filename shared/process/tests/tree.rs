//! Everything below a process, and nobody else.
#![cfg(target_os = "linux")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};

use hearth_process::tree::{self, Member};
use hearth_process::{ProcessHandle, Signal};

/// The whole test process is the subreaper, so its tests take turns.
static TURN: Mutex<()> = Mutex::new(());

struct Tree {
    shell: Child,
    lines: BufReader<std::process::ChildStdout>,
    _turn: MutexGuard<'static, ()>,
}

impl Tree {
    fn grow(script: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
        tree::become_subreaper().unwrap();
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(shell.stdout.take().unwrap());
        Self { shell, lines, _turn: turn }
    }

    /// Every process of the scripts tells its pid once it is there.
    fn pids<const N: usize>(&mut self) -> [u32; N] {
        let mut pids: Vec<u32> = (0..N).map(|_| self.pid()).collect();
        pids.sort_unstable();
        pids.try_into().unwrap()
    }

    fn pid(&mut self) -> u32 {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    fn tell(&mut self) {
        self.shell.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        empty();
        let _ = self.shell.wait();
        assert_eq!(below(&[]), []);
    }
}

/// Ends all that is below this test process, as a shim does: signal, reap, look again.
fn empty() {
    loop {
        let members = below(&[]);
        if members.is_empty() {
            return;
        }
        for member in &members {
            if let Ok(handle) = ProcessHandle::open(&member.id) {
                let _ = handle.signal(Signal::KILL);
            }
        }
        for member in members {
            if member.parent == std::process::id() {
                // SAFETY: a number; no status is wanted.
                unsafe { libc::waitpid(member.id.pid as i32, std::ptr::null_mut(), 0) };
            }
        }
    }
}

fn below(excluded: &[u32]) -> Vec<Member> {
    tree::below(std::process::id(), &|pid| excluded.contains(&pid)).unwrap()
}

fn pids(members: &[Member]) -> Vec<u32> {
    let mut pids: Vec<u32> = members.iter().map(|member| member.id.pid).collect();
    pids.sort_unstable();
    pids
}

#[test]
fn a_double_forked_grandchild_with_a_session_of_its_own_is_found() {
    let mut tree = Tree::grow("(setsid sh -c 'echo $$; exec sleep 1000' &); echo $$; read line");
    let [first, second] = tree.pids();
    let orphan = if first == tree.shell.id() { second } else { first };
    let members = below(&[]);
    assert_eq!(pids(&members), [first, second]);
    let member = members.iter().find(|m| m.id.pid == orphan).unwrap();
    assert_eq!(member.parent, std::process::id(), "it came back to the subreaper");
    assert_eq!((member.sid, member.pgid), (orphan, orphan));
    // Nothing of it hangs on the shell that started it.
    assert_eq!(tree::below(tree.shell.id(), &|_| false).unwrap(), []);
    // And it stays when that shell has gone.
    tree.tell();
    tree.shell.wait().unwrap();
    assert_eq!(pids(&below(&[])), [orphan]);
}

#[test]
fn what_is_excluded_is_left_out_with_all_below_it() {
    // No exec after a pid is told: a name that changes meanwhile would be another member.
    let script = "exec 3<&0; \
                  sh -c 'sh -c \"echo \\$\\$; read line <&3\" & echo $$; wait' & \
                  echo $!; echo $$; read line";
    let mut tree = Tree::grow(script);
    let mut told: Vec<u32> = (0..4).map(|_| tree.pid()).collect();
    told.sort_unstable();
    told.dedup();
    let shell = tree.shell.id();
    let members = below(&[]);
    assert_eq!(pids(&members), told);
    let [shell_member, middle, leaf] = &members[..] else {
        panic!("{members:?}");
    };
    assert_eq!(shell_member.id.pid, shell);
    assert_eq!(middle.parent, shell, "parents stand before their children");
    assert_eq!(leaf.parent, middle.id.pid);
    assert_eq!(leaf.command, "sh");

    assert_eq!(pids(&below(&[middle.id.pid])), [shell]);
    assert_eq!(pids(&below(&[leaf.id.pid])), pids(&members[..2]));
    assert_eq!(below(&[shell]), []);
    let under = tree::below(shell, &|_| false).unwrap();
    // Their states may have changed meanwhile.
    assert_eq!(pids(&under), pids(&members[1..]));
}

#[test]
fn children_of_other_threads_are_found_and_zombies_too() {
    let mut tree = Tree::grow("echo $$; read line");
    let [shell] = tree.pids();
    let thread = std::thread::spawn(|| {
        let mut child = Command::new("true").spawn().unwrap();
        let id = hearth_process::ProcessId::of(child.id()).unwrap();
        ProcessHandle::open(&id).unwrap().wait().unwrap();
        let members = below(&[]);
        let state = members.iter().find(|m| m.id == id).map(|m| m.state);
        child.wait().unwrap();
        (state, pids(&members))
    });
    let (state, all) = thread.join().unwrap();
    assert_eq!(state, Some('Z'));
    assert!(all.contains(&shell), "of the first thread, read by the second");
}

#[test]
fn nothing_is_below_who_is_not_there() {
    assert_eq!(tree::below(i32::MAX as u32, &|_| false).unwrap(), []);
}
