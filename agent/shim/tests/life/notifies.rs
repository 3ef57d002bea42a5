//! What a service says of itself by its notify socket.
//!
//! `life say MESSAGE...` and `life flood COUNT` speak; this executable is both.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use hearth_shim::frames::*;

use crate::agent::{Home, Running, wait_for_log, wait_until};

pub const TESTS: crate::Tests = &[
    ("ready_and_status_are_told", ready_and_status_are_told),
    (
        "what_was_said_while_no_agent_listened_is_kept",
        what_was_said_while_no_agent_listened_is_kept,
    ),
    ("a_barrier_is_closed", a_barrier_is_closed),
    ("a_service_of_another_user_can_speak", a_service_of_another_user_can_speak),
    ("a_stranger_is_not_listened_to", a_stranger_is_not_listened_to),
    ("a_flood_is_told_a_few_times_a_second", a_flood_is_told_a_few_times_a_second),
    ("a_start_that_fails_leaves_no_socket", a_start_that_fails_leaves_no_socket),
];

/// The socket that `NOTIFY_SOCKET` names.
fn speaker() -> UnixDatagram {
    let name = std::env::var("NOTIFY_SOCKET").expect("NOTIFY_SOCKET");
    let socket = UnixDatagram::unbound().unwrap();
    match name.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap(),
        None => socket.connect(name).unwrap(),
    }
    socket
}

/// Each argument one message.
pub fn say(messages: impl Iterator<Item = String>) {
    let socket = speaker();
    for message in messages {
        match message.as_str() {
            "BARRIER" => barrier(&socket),
            "LONG" => drop(socket.send(format!("READY=1\nX={}", "x".repeat(8192)).as_bytes())),
            message => drop(socket.send(message.as_bytes()).unwrap()),
        }
    }
}

pub fn flood(count: u32) {
    let socket = speaker();
    for number in 1..=count {
        socket.send(format!("STATUS={number}").as_bytes()).unwrap();
    }
}

/// `sd_notify_barrier(3)`: returns when the receiver has closed its end of a pipe.
fn barrier(socket: &UnixDatagram) {
    let (mut read, write) = std::io::pipe().unwrap();
    hearth_process::pass::send(socket, b"BARRIER=1", &[write.as_fd()]).unwrap();
    drop(write);
    assert_eq!(read.read(&mut [0]).unwrap(), 0);
}

fn me() -> String {
    std::env::current_exe().unwrap().display().to_string()
}

fn notifying(home: &Home, line: &str) -> Spec {
    let mut spec = home.shell(line);
    spec.notify_path = Some(home.path("shims/00ff.ntf"));
    spec.env.insert("NOTIFY_SOCKET".into(), "/of/somebody/else".into());
    spec
}

fn notified(running: &mut Running) -> Notify {
    match running.agent.next() {
        FromShim::Notified { notify } => notify,
        other => panic!("not notified: {other:?}"),
    }
}

fn status(words: &str) -> Option<String> {
    Some(words.into())
}

fn ready_and_status_are_told() {
    let home = Home::new();
    // A grandchild in a session of its own speaks; a message that is too long does not count.
    let line = format!(
        "{me} say LONG MAINPID=1 'STATUS=at work'; read word < go; \
         (setsid {me} say \"READY=1\nSTATUS=up\") & wait; read word < go; {me} say STOPPING=1; exec sleep 1000",
        me = me()
    );
    home.fifo("go");
    let mut running = home.started(&notifying(&home, &line));
    let path = home.path("shims/00ff.ntf");
    let said = Notify { ready: false, stopping: false, status: status("at work") };
    assert_eq!(notified(&mut running), said);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0);
    // A probe is not the service, and has nothing to say.
    let run = Run::Shell("echo socket: ${NOTIFY_SOCKET-none}".into());
    running.agent.send(&ToShim::Probe { id: 1, run, timeout_ms: 10_000 });
    let FromShim::Probed { last_line, .. } = running.agent.next() else { panic!("no probe") };
    assert_eq!(last_line, "socket: none");
    std::fs::write(home.path("go"), "on\n").unwrap();
    assert_eq!(
        notified(&mut running),
        Notify { ready: true, stopping: false, status: status("up") }
    );
    std::fs::write(home.path("go"), "on\n").unwrap();
    assert_eq!(
        notified(&mut running),
        Notify { ready: true, stopping: true, status: status("up") }
    );
    running.agent.send(&ToShim::Kill);
    while running.agent.next() != FromShim::Emptied {}
    assert!(!path.exists());
    running.agent.acknowledge();
}

fn what_was_said_while_no_agent_listened_is_kept() {
    let home = Home::new();
    home.fifo("go");
    let line = format!("read word < go; {} say READY=1 BARRIER; echo said; exec sleep 1000", me());
    let running = home.started(&notifying(&home, &line));
    drop(running.agent);
    std::fs::write(home.path("go"), "on\n").unwrap();
    wait_for_log(&home, "said");
    let mut next = home.connect();
    assert!(next.state().notify.ready);
    next.finish();
}

fn a_barrier_is_closed() {
    let home = Home::new();
    // All before it has been heard when it returns: what a service that exits at once needs.
    let line = format!("{} say READY=1 BARRIER STATUS=last BARRIER", me());
    let mut running = home.started(&notifying(&home, &line));
    let mut last = notified(&mut running);
    loop {
        match running.agent.next() {
            FromShim::Notified { notify } => last = notify,
            FromShim::Exited { exit } => break assert_eq!(exit.code, Some(0)),
            other => panic!("{other:?}"),
        }
    }
    running.agent.emptied();
    assert!(last.ready);
    let mut next = home.connect();
    assert_eq!(
        next.state().notify,
        Notify { ready: true, stopping: false, status: status("last") }
    );
    next.acknowledge();
}

/// This executable, where everybody can execute it.
fn for_everybody(dir: &Path) -> String {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.join("life");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    copy.display().to_string()
}

fn a_service_of_another_user_can_speak() {
    if !rustix::process::geteuid().is_root() {
        println!("  skipped: only root can become somebody else");
        return;
    }
    let (home, dir) = (Home::new(), tempfile::tempdir().unwrap());
    let me = for_everybody(dir.path());
    let mut spec = notifying(&home, &format!("id -u; {me} say READY=1; exec sleep 1000"));
    spec.dir = "/".into();
    spec.user = Some(User { uid: 65534, gid: 65534, groups: vec![] });
    let mut running = home.started(&spec);
    assert!(notified(&mut running).ready);
    assert_eq!(home.log(), "65534\n");
    running.agent.finish();
}

fn a_stranger_is_not_listened_to() {
    if !rustix::process::geteuid().is_root() {
        println!("  skipped: only root can become somebody else");
        return;
    }
    let (home, dir) = (Home::new(), tempfile::tempdir().unwrap());
    let me = for_everybody(dir.path());
    let line = format!(
        "echo $NOTIFY_SOCKET; read word < {}/go; {me} say STATUS=mine; exec sleep 1000",
        dir.path().display()
    );
    let made = std::process::Command::new("mkfifo").arg(dir.path().join("go")).status();
    assert!(made.unwrap().success());
    std::fs::set_permissions(dir.path().join("go"), std::fs::Permissions::from_mode(0o666))
        .unwrap();
    let mut spec = notifying(&home, &line);
    spec.dir = "/".into();
    spec.user = Some(User { uid: 65534, gid: 65534, groups: vec![] });
    let mut running = home.started(&spec);
    wait_for_log(&home, "\n");
    let name = home.log().trim().to_owned();
    assert!(name.starts_with('@'), "{name}");
    use std::os::unix::process::CommandExt;
    let mut stranger = std::process::Command::new(&me);
    stranger.args(["say", "READY=1"]).env("NOTIFY_SOCKET", &name).uid(65533).current_dir("/");
    assert!(stranger.status().unwrap().success());
    std::fs::write(dir.path().join("go"), "on\n").unwrap();
    // Told together with what was heard before, if that had been.
    assert_eq!(
        notified(&mut running),
        Notify { ready: false, stopping: false, status: status("mine") }
    );
    running.agent.finish();
}

fn a_flood_is_told_a_few_times_a_second() {
    let home = Home::new();
    let line = format!("{me} flood 50000; {me} say READY=1; exec sleep 1000", me = me());
    let start = std::time::Instant::now();
    let mut running = home.started(&notifying(&home, &line));
    let mut told = 0;
    loop {
        told += 1;
        let notify = notified(&mut running);
        if notify.ready {
            break assert_eq!(notify.status, status("50000"));
        }
    }
    let most = start.elapsed().as_millis() / 100 + 3;
    assert!(told <= most, "{told} times in {:?}", start.elapsed());
    // And it is idle again.
    let pid = running.shim.pid;
    wait_until("it sleeps", || hearth_process::facts::state_of(pid) == Some('S'));
    running.agent.finish();
}

fn a_start_that_fails_leaves_no_socket() {
    let home = Home::new();
    let mut spec = notifying(&home, "");
    spec.run = Run::List(vec!["/nowhere".into()]);
    let mut agent = home.start(&spec);
    agent.state();
    assert!(matches!(agent.next(), FromShim::StartFailed { .. }));
    assert!(!home.path("shims/00ff.ntf").exists());
    agent.acknowledge();
    // A path that can't be bound is told as such.
    spec.notify_path = Some(home.path(&"n".repeat(120)));
    spec.run = Run::List(vec!["sleep".into(), "1000".into()]);
    let mut agent = home.start(&spec);
    agent.state();
    let FromShim::StartFailed { reason } = agent.next() else { panic!("started") };
    assert!(reason.starts_with("its notify socket can't be made: "), "{reason}");
    agent.acknowledge();
}
