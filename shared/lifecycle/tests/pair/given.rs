//! A listener that a service manager gives. The manager is the test: it listens, has the agent told
//! when it starts one, and hears what that says.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use hearth_process::Signal;
use hearth_process::locked::{self, LockedFile};

use crate::support::{Home, told};

const HELLO: &str = "GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

struct Manager {
    home: Home,
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    notify: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        Self::at("agent.sock")
    }

    /// Listens at `name` in the home.
    fn at(name: &str) -> Self {
        let home = Home::new();
        home.make();
        let path = home.path(name);
        let listener = UnixListener::bind(&path).unwrap();
        let notify = UnixDatagram::bind(home.root.path().join("notify")).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        Self { home, listener, path, inode, notify }
    }

    /// `pair run`, with the listener as its descriptor 3.
    fn start(&self) -> Child {
        self.command().spawn().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        let announce = "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=agent; exec \"$0\" run";
        command.args(["-c", announce]).arg(&self.home.program);
        command.env("PAIR_HOME", &self.home.dir).stdin(Stdio::null()).stderr(Stdio::piped());
        command.env("NOTIFY_SOCKET", self.home.root.path().join("notify"));
        let listener = self.listener.as_raw_fd();
        // SAFETY: system calls alone, with numbers of descriptors that are open.
        unsafe {
            command.pre_exec(move || {
                match listener {
                    3 => libc::fcntl(3, libc::F_SETFD, 0),
                    other => libc::dup2(other, 3),
                };
                Ok(())
            });
        }
        command
    }

    /// What is told next.
    fn heard(&self) -> String {
        let mut message = [0; 4096];
        let length = self.notify.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    fn start_ready(&self) -> Child {
        let agent = self.start();
        assert_eq!(self.heard(), "READY=1\nSTATUS=ready\n");
        agent
    }

    /// A connection with this written on it.
    fn ask(&self, request: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.path).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn stop(&self, mut agent: Child) -> ExitStatus {
        self.home.signal(Signal::TERM);
        agent.wait().unwrap()
    }

    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(fs::metadata(&self.path).unwrap().ino(), self.inode);
        // shutdown(2) would show here, for it is the same socket.
        drop(UnixStream::connect(&self.path).unwrap());
    }
}

fn answer(mut stream: UnixStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn said(mut agent: Child) -> (Option<i32>, String) {
    let code = agent.wait().unwrap().code();
    let mut said = String::new();
    agent.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (code, said)
}

#[test]
fn it_is_served_and_never_touched() {
    let manager = Manager::new();
    let agent = manager.start_ready();
    let told = manager.home.get();
    // Who asks is told by the kernel that the manager listens; the agent's pid is its own word.
    assert_eq!((told.state.as_str(), told.pid), ("up", Some(agent.id())));
    assert_eq!(manager.home.record().unwrap()["pid"], agent.id());
    manager.is_untouched();
    assert!(manager.stop(agent).success());
    assert_eq!(manager.heard(), "STOPPING=1\nSTATUS=stopping: SIGTERM\n");
    manager.is_untouched();
    assert_eq!(manager.home.record().unwrap()["stage"], "stopped");
}

#[test]
fn who_comes_between_two_agents_is_answered_by_the_second() {
    let manager = Manager::new();
    let first = manager.start_ready();
    assert!(manager.stop(first).success());
    let (early, other) = (manager.ask(HELLO), manager.ask(HELLO));
    let second = manager.start();
    for reply in [answer(early), answer(other)] {
        assert!(reply.contains("200 OK") && reply.contains(&second.id().to_string()), "{reply}");
    }
    assert!(manager.stop(second).success());
}

#[test]
fn who_comes_while_one_stops_waits_for_the_next_and_who_was_taken_in_is_answered() {
    let manager = Manager::new();
    manager.home.write("fault", "hook").write("agent.toml", "shutdown_timeout = \"1s\"\n");
    let mut first = manager.start_ready();
    let mut taken_in = manager.ask("");
    // The queue is in order: when this one is answered, that one has been taken.
    assert!(answer(manager.ask(HELLO)).contains("200 OK"));
    manager.home.signal(Signal::TERM);
    assert_eq!(manager.heard(), "STOPPING=1\nSTATUS=stopping: SIGTERM\n");
    let late = manager.ask(HELLO);
    taken_in.write_all(HELLO.as_bytes()).unwrap();
    let refused = answer(taken_in);
    assert!(refused.contains(" 503 ") && refused.contains("\"stopping\""), "{refused}");
    assert_eq!(first.wait().unwrap().code(), Some(1), "its hook hung");
    manager.home.write("fault", "");
    let second = manager.start();
    let reply = answer(late);
    assert!(reply.contains("200 OK") && reply.contains(&second.id().to_string()), "{reply}");
    assert!(manager.stop(second).success());
}

#[test]
fn an_idle_agent_leaves_it_as_it_was() {
    let manager = Manager::new();
    manager.home.write("agent.toml", "idle_timeout = \"1ms\"\n");
    let mut agent = manager.start_ready();
    assert!(agent.wait().unwrap().success());
    assert_eq!(manager.heard(), "STOPPING=1\nSTATUS=stopping: nothing to do\n");
    manager.is_untouched();
    // Two at once: one that was idle, and the next one.
    let waiting = manager.ask(HELLO);
    let mut next = manager.start();
    assert!(answer(waiting).contains("200 OK"));
    assert!(next.wait().unwrap().success());
}

#[test]
fn a_file_that_is_faulty_is_told_to_who_waits_and_the_next_one_may_mend_it() {
    let manager = Manager::new();
    manager.home.write("agent.toml", "idle_timeout = 5\n");
    let waiting = [manager.ask(HELLO), manager.ask(HELLO), manager.ask("GET /v1/ver")];
    let (code, said) = said(manager.start());
    assert_eq!(code, Some(1), "{said}");
    for reply in waiting.map(answer) {
        assert!(reply.starts_with("HTTP/1.1 503 "), "{reply}");
        assert!(reply.contains("spawn-failed") && reply.contains("agent.toml"), "{reply}");
        assert!(reply.contains("mend that file"), "{reply}");
    }
    assert!(manager.heard().starts_with("STATUS=") && said.contains("agent.toml"), "{said}");
    manager.is_untouched();
    manager.home.write("agent.toml", "");
    let mended = manager.start_ready();
    assert!(answer(manager.ask(HELLO)).contains("200 OK"));
    assert!(manager.stop(mended).success());
}

#[test]
fn another_agent_that_lives_is_told_to_who_waits() {
    let manager = Manager::new();
    let lock = LockedFile::exclusive(locked::open(&manager.home.lock(), true).unwrap()).unwrap();
    let waiting = manager.ask(HELLO);
    let (code, said) = said(manager.start());
    assert_eq!(code, Some(1), "{said}");
    let reply = answer(waiting);
    assert!(reply.contains(" 503 ") && reply.contains("already-running"), "{reply}");
    drop(lock);
    manager.is_untouched();
}

#[test]
fn a_home_that_may_not_be_used_is_told_to_who_waits() {
    use std::os::unix::fs::PermissionsExt;
    let manager = Manager::new();
    fs::set_permissions(&manager.home.dir, fs::Permissions::from_mode(0o755)).unwrap();
    let waiting = manager.ask(HELLO);
    assert_eq!(said(manager.start()).0, Some(1));
    let reply = answer(waiting);
    assert!(reply.contains("spawn-failed") && reply.contains("0755"), "{reply}");
    fs::set_permissions(&manager.home.dir, fs::Permissions::from_mode(0o700)).unwrap();
    manager.is_untouched();
}

#[test]
fn one_that_listens_elsewhere_is_refused_and_not_served() {
    let manager = Manager::at("other.sock");
    let waiting = manager.ask(HELLO);
    let (code, said) = said(manager.start());
    assert_eq!(code, Some(1), "{said}");
    let both = |text: &str| text.contains("other.sock") && text.contains("agent.sock");
    let reply = answer(waiting);
    assert!(both(&reply) && both(&said), "{reply} {said}");
    assert!(!manager.home.path("agent.sock").exists() && !manager.home.lives());
    manager.is_untouched();
}

#[test]
fn what_is_announced_to_another_process_is_not_taken() {
    let manager = Manager::at("other.sock");
    let mut command = manager.home.command(&["run"]);
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1").env("LISTEN_FDS_FIRST_FD", "0");
    command.env("NOTIFY_SOCKET", manager.home.root.path().join("notify"));
    let agent = command.spawn().unwrap();
    assert_eq!(manager.heard(), "READY=1\nSTATUS=ready\n");
    assert_eq!(manager.home.get().pid, Some(agent.id()), "it listens by itself");
    assert!(manager.stop(agent).success());
}

#[test]
fn nothing_of_it_reaches_a_child() {
    let manager = Manager::new();
    let theirs = ["WATCHDOG_USEC", "WATCHDOG_PID", "INVOCATION_ID", "JOURNAL_STREAM", "MANAGERPID"];
    let mut command = manager.command();
    for name in theirs {
        command.env(name, "1");
    }
    command.env("SYSTEMD_EXEC_PID", "1").env("KEPT", "yes");
    let agent = command.spawn().unwrap();
    assert!(manager.heard().starts_with("READY=1\n"));
    let inherits = told(&manager.home.run(&["child"])).body;
    assert!(inherits.contains("KEPT=yes"), "{inherits}");
    let names = inherits.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let managers = ["LISTEN_", "NOTIFY_", "SYSTEMD_"];
    let leaked: Vec<_> = names
        .filter(|name| theirs.contains(name) || managers.iter().any(|it| name.starts_with(it)))
        .collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    let sockets = inherits.lines().filter(|line| line.starts_with("socket:")).count();
    assert_eq!(sockets, 0, "{inherits}");
    assert!(manager.stop(agent).success());
}

#[test]
fn no_other_agent_takes_its_place() {
    let manager = Manager::new();
    let agent = manager.start_ready();
    let request = "POST /v1/replace HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let reply = answer(manager.ask(request));
    assert!(reply.contains(" 403 ") && reply.contains("service manager"), "{reply}");
    let told = told(&manager.home.run(&["replace"]));
    assert_eq!(told.code, Some(3), "{told:?}");
    assert!(told.reason.contains("unit"), "{told:?}");
    assert_eq!(manager.home.get().pid, Some(agent.id()));
    assert!(manager.stop(agent).success());
}

#[test]
fn an_agent_at_whose_path_a_manager_begins_to_listen_steps_down_for_the_managers() {
    let home = Home::new();
    let own = home.get().pid.unwrap();
    // As systemd does: the path is freed, bound and listened on.
    let path = home.path("agent.sock");
    fs::remove_file(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    let notify = UnixDatagram::bind(home.root.path().join("notify")).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let manager = Manager { home, listener, path, inode, notify };
    let waiting = manager.ask(HELLO);
    let agent = manager.start_ready();
    let reply = answer(waiting);
    assert!(
        reply.contains(&agent.id().to_string()) && !reply.contains(&own.to_string()),
        "{reply}"
    );
    let log = fs::read_to_string(manager.home.path("agent.log")).unwrap_or_default();
    assert_eq!(manager.home.get().pid, Some(agent.id()), "{log}");
    manager.is_untouched();
    assert!(manager.stop(agent).success());
}
