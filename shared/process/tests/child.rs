//! What a child finds after exec, and who is at the other end of a socket.
#![cfg(target_os = "linux")]

mod support;

use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;

use hearth_process::{OpenError, ProcessId, child, peer, peer_handle, peer_uid, stdio};

fn file(content: &str) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}

/// Prints what 3, 4 and 5 are, then which descriptors are open.
const SHOW: &str = "cat <&3; cat <&4; cat <&5; \
    for f in /proc/$$/fd/*; do [ -e $f ] && printf ' %s' ${f##*/}; done; echo";

#[test]
fn keep_only_renumbers_what_it_keeps_and_closes_the_rest_over_a_real_exec() {
    let (one, two, three) = (file("one "), file("two "), file("three "));
    let (first, second, third) = (one.as_raw_fd(), two.as_raw_fd(), three.as_raw_fd());
    // Each in another's place, one of them high, and much that nobody asked for.
    for places in [[5, 3, 4], [4, 3, 900], [3, 4, 5], [900, 5, 901]] {
        let mut command = Command::new("sh");
        command.args(["-c", SHOW]);
        // SAFETY: numbers only, between fork and exec.
        unsafe {
            command.pre_exec(move || {
                let sources = [first, second, third];
                let mut high = [0; 3];
                for (high, source) in high.iter_mut().zip(sources) {
                    *high = libc::fcntl(source, libc::F_DUPFD, 700);
                }
                for (high, place) in high.into_iter().zip(places) {
                    libc::dup2(high, place);
                }
                libc::dup2(2, 500);
                child::keep_only(&places)
            });
        }
        for mut file in [&one, &two, &three] {
            file.rewind().unwrap();
        }
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text, "one two three  0 1 2 3 4 5\n", "{places:?}");
    }
}

#[test]
fn keep_only_of_nothing_leaves_the_standard_three() {
    let mut command = Command::new("sh");
    command.args(["-c", "for f in /proc/$$/fd/*; do [ -e $f ] && echo ${f##*/}; done"]);
    // SAFETY: system calls only.
    unsafe { command.pre_exec(|| child::keep_only(&[])) };
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"0\n1\n2\n");
}

#[test]
fn default_signals_undoes_what_nohup_and_a_blocking_caller_did() {
    let mut command = Command::new("cat");
    command.arg("/proc/self/status");
    // SAFETY: system calls only, with pointers to what lives on this stack.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGPIPE, libc::SIGRTMIN() + 2] {
                libc::signal(signal, libc::SIG_IGN);
            }
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
            child::default_signals();
            Ok(())
        });
    }
    let output = command.output().unwrap();
    let status = String::from_utf8(output.stdout).unwrap();
    for field in ["SigBlk:", "SigIgn:", "SigCgt:"] {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        assert_eq!(line.unwrap().trim(), "0000000000000000", "{field}");
    }
}

#[test]
fn ensure_open_fills_the_holes_with_dev_null() {
    let mut command = Command::new("sh");
    // The shell's own 0 and 1, read from a subshell.
    let show = "a=$(readlink /proc/$$/fd/0 /proc/$$/fd/1); echo \"$a\" >&2";
    command.args(["-c", show]);
    // SAFETY: system calls only.
    unsafe {
        command.pre_exec(|| {
            libc::close(0);
            libc::close(1);
            stdio::ensure_open()?;
            stdio::ensure_open()
        });
    }
    let output = command.output().unwrap();
    assert_eq!(output.stderr, b"/dev/null\n/dev/null\n");
}

#[test]
fn the_peer_of_our_own_socket_is_us() {
    let (left, _right) = UnixStream::pair().unwrap();
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(peer_uid(&left).unwrap(), uid);
    let found = peer(&left).unwrap();
    assert_eq!((found.uid, found.pid), (uid, Some(std::process::id())));
    assert_eq!(peer_handle(&left).unwrap().id(), &ProcessId::current());
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(peer_uid(&file).is_err());
}

const SOCKET: &str = "HEARTH_TEST_SOCKET";

#[test]
fn a_peer_that_has_ended_is_gone_and_not_somebody_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut client = Command::new(std::env::current_exe().unwrap());
    support::inner(&mut client, "inner_client");
    client.env(SOCKET, &path).stdout(std::process::Stdio::null());
    let mut client = support::Kept(client.spawn().unwrap());
    let (mut connection, _) = listener.accept().unwrap();
    let handle = peer_handle(&connection).unwrap();
    assert_eq!(handle.id(), &ProcessId::of(client.pid()).unwrap());
    connection.write_all(b"!").unwrap();
    handle.wait().unwrap();
    assert!(client.0.wait().unwrap().success());
    assert!(matches!(peer_handle(&connection), Err(OpenError::Gone)));
    assert_eq!(peer(&connection).unwrap().pid, Some(handle.id().pid));
}

#[test]
#[ignore = "run by the test above, as the client"]
fn inner_client() {
    let Some(path) = std::env::var_os(SOCKET) else {
        return;
    };
    let mut stream = UnixStream::connect(path).unwrap();
    stream.read_exact(&mut [0]).unwrap();
}
