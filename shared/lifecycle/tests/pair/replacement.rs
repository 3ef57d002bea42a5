//! One agent takes the place of another, or fails to, and no client notices either.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hearth_process::watch::DirWatch;
use hearth_process::{ProcessHandle, ProcessId, Signal};
use rustix::event::{PollFd, PollFlags, poll};

use crate::support::{Home, Told, copy_program, told};

impl Home {
    fn replace(&self) -> Told {
        told(&self.run(&["replace"]))
    }

    fn pid(&self) -> u32 {
        u32::try_from(self.record().unwrap()["pid"].as_u64().unwrap()).unwrap()
    }

    /// The same home, with an executable that is of a later version and speaks another API.
    fn next(&self) -> std::path::PathBuf {
        let next = self.root.path().join("pair-next");
        copy_program(&self.program, &next);
        next
    }
}

fn process(pid: u32) -> ProcessHandle {
    ProcessHandle::open(&ProcessId::of(pid).unwrap()).unwrap()
}

#[test]
fn a_new_agent_takes_over_socket_lock_and_luggage() {
    let home = Home::new();
    let first = home.get().pid.unwrap();
    let (inode, old) = (fs::metadata(home.socket()).unwrap().ino(), process(first));
    let second = home.replace();
    assert_eq!((second.state.as_str(), second.code), ("started", Some(0)), "{second:?}");
    assert!(old.wait_timeout(Duration::from_secs(10)).unwrap(), "the old one ends");
    assert_eq!(home.pid(), second.pid.unwrap());
    assert_eq!(home.record().unwrap()["stage"], "running");
    assert_eq!(fs::metadata(home.socket()).unwrap().ino(), inode, "the same socket");
    let third = home.replace().pid.unwrap();
    // What one hands over is what the next gets: each names those before it.
    let now = home.get();
    assert_eq!((now.state.as_str(), now.pid), ("up", Some(third)));
    let line: Vec<String> = now.body.split(' ').skip(1).map(str::to_owned).collect();
    let pids = [first, second.pid.unwrap(), third].map(|pid| pid.to_string());
    assert_eq!(line[..3], pids);
    assert!(!home.path("failures.json").exists());
    // A listener that was handed over is taken away like any other at the end.
    assert_eq!(home.stop(), "Stopped");
    assert!(!home.path("agent.sock").exists());
    assert_eq!(home.get().state, "started");
}

#[test]
fn where_none_lives_one_is_started() {
    let home = Home::new();
    let first = home.replace();
    assert_eq!((first.state.as_str(), first.code), ("started", Some(0)));
}

#[test]
fn no_client_is_refused_and_the_lock_is_never_free_meanwhile() {
    let home = Home::new();
    home.get();
    let (socket, done) = (home.socket(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut answered = 0;
                    while !done.load(Ordering::Relaxed) {
                        // A raw client, which comes again for nobody's sake.
                        let mut stream = UnixStream::connect(&socket).expect("never refused");
                        stream
                            .write_all(
                                b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
                            )
                            .unwrap();
                        let mut reply = String::new();
                        stream.read_to_string(&mut reply).unwrap();
                        assert!(reply.starts_with("HTTP/1.1 200"), "{reply:?}");
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        for _ in 0..10 {
            assert_eq!(home.replace().state, "started");
            assert!(home.lives());
        }
        done.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().unwrap() > 0);
        }
    });
}

/// Asks what takes so long, replaces the agent meanwhile, and tells who has answered.
fn asked_meanwhile(time: &str) -> (String, String, Told) {
    let home = Home::new();
    let old = home.get().body;
    let old = old.split(' ').next().unwrap().to_owned();
    let slow = home.spawn(&["late", time]);
    home.wait_for("begun");
    let new = home.replace();
    assert_eq!(new.state, "started");
    let new = home.get().body;
    let new = new.split(' ').next().unwrap().to_owned();
    (old, new, told(&slow.wait_with_output().unwrap()))
}

#[test]
fn what_is_under_way_is_answered_before_anything_is_handed_over() {
    let (old, _, slow) = asked_meanwhile("150");
    assert_eq!((slow.state.as_str(), &slow.body), ("up", &old));
}

#[test]
fn what_takes_longer_is_not_answered_by_who_has_handed_over_but_asked_again() {
    let (_, new, slow) = asked_meanwhile("1200");
    assert_eq!((slow.state.as_str(), &slow.body), ("up", &new));
}

#[test]
fn many_who_replace_at_once_leave_one_agent() {
    let home = Home::new();
    home.get();
    let verbs: Vec<_> = (0..6).map(|_| home.spawn(&["replace"])).collect();
    for verb in verbs {
        let told = told(&verb.wait_with_output().unwrap());
        assert!(matches!(told.state.as_str(), "started" | "up"), "{told:?}");
    }
    assert_eq!(home.get().pid, Some(home.pid()));
}

/// The old one answers as before, and nothing keeps the next from trying.
#[track_caller]
fn stays(home: &Home, old: u32, failed: &Told) {
    assert_eq!((failed.state.as_str(), failed.code), ("spawn-failed", Some(3)), "{failed:?}");
    assert!(failed.reason.contains(&format!("pid {old}")), "{}", failed.reason);
    assert!(failed.reason.contains("goes on"), "{}", failed.reason);
    let now = home.get();
    assert_eq!((now.state.as_str(), now.pid), ("up", Some(old)));
    assert_eq!(home.pid(), old);
    assert_eq!(home.record().unwrap()["stage"], "running");
    assert!(!home.path("failures.json").exists());
    fs::remove_file(home.path("fault")).unwrap();
    assert_eq!(home.replace().state, "started");
    assert_eq!(home.stop(), "Stopped");
}

#[test]
fn one_that_dies_at_its_start_leaves_the_old_one() {
    let home = Home::new();
    let old = home.get().pid.unwrap();
    home.write("fault", "die");
    let failed = home.replace();
    assert!(failed.reason.contains("exited with code 7"), "{}", failed.reason);
    assert!(failed.reason.contains("as good as dead"), "its log is quoted: {}", failed.reason);
    stays(&home, old, &failed);
}

#[test]
fn one_that_refuses_leaves_the_old_one() {
    let home = Home::new();
    let old = home.get().pid.unwrap();
    home.write("fault", "refuse");
    let failed = home.replace();
    assert!(failed.reason.contains("day off"), "{}", failed.reason);
    stays(&home, old, &failed);
}

#[test]
fn one_that_hangs_is_ended_and_leaves_the_old_one() {
    let home = Home::new();
    let old = home.get().pid.unwrap();
    home.write("fault", "hang");
    let failed = told(&home.run(&["replace", "--timeout-ms=1000"]));
    assert!(failed.reason.contains("was ended"), "{}", failed.reason);
    stays(&home, old, &failed);
}

#[test]
fn one_that_dies_after_half_the_handover_leaves_the_old_one() {
    let home = Home::new();
    let old = home.get().pid.unwrap();
    home.write("fault", "half-die");
    let failed = home.replace();
    stays(&home, old, &failed);
}

#[test]
fn one_that_hangs_after_half_the_handover_is_ended_and_nobody_is_refused() {
    let home = Home::new();
    let old = home.get().pid.unwrap();
    home.write("fault", "half-hang");
    let watch = DirWatch::new(&home.dir).unwrap();
    let replacing = home.spawn(&["replace"]);
    // It holds everything when its record is in the lock, and will never answer.
    while home.pid() == old {
        let mut fds = [PollFd::new(&watch, PollFlags::IN)];
        poll(&mut fds, None).unwrap();
        watch.drain().unwrap();
    }
    let heir = process(home.pid());
    let waiting = home.spawn(&["get"]);
    let failed = told(&replacing.wait_with_output().unwrap());
    assert!(heir.wait_timeout(Duration::ZERO).unwrap(), "the one that hung is no more");
    let waited = told(&waiting.wait_with_output().unwrap());
    assert_eq!((waited.state.as_str(), waited.pid), ("up", Some(old)), "{waited:?}");
    stays(&home, old, &failed);
}

#[test]
fn where_the_old_one_dies_in_the_middle_the_new_one_is_the_agent() {
    let home = Home::new();
    let old = home.get().pid.unwrap();
    home.write("fault", "slow");
    let replacing = home.spawn(&["replace"]);
    home.wait_for("lent");
    home.signal(Signal::KILL);
    process_is_gone(old);
    assert!(home.lives(), "the lock is lent, and so held");
    home.write("go", "");
    let told = told(&replacing.wait_with_output().unwrap());
    assert_eq!(told.state, "started", "{told:?}");
    let now = home.get();
    assert_eq!((now.state.as_str(), now.pid), ("up", told.pid));
}

fn process_is_gone(pid: u32) {
    if let Ok(handle) =
        ProcessId::of(pid).map_err(drop).and_then(|id| ProcessHandle::open(&id).map_err(drop))
    {
        assert!(handle.wait_timeout(Duration::from_secs(10)).unwrap());
    }
}

#[test]
fn where_the_old_one_is_told_to_stop_in_the_middle_the_new_one_is_the_agent() {
    let home = Home::new();
    let old = home.get().pid.unwrap();
    home.write("fault", "slow");
    let replacing = home.spawn(&["replace"]);
    home.wait_for("lent");
    let gone = process(old);
    assert_eq!(home.stop(), "Stopped");
    assert!(gone.wait_timeout(Duration::from_secs(10)).unwrap());
    home.write("go", "");
    let told = told(&replacing.wait_with_output().unwrap());
    assert_eq!(told.state, "started", "{told:?}");
    assert_eq!(home.get().state, "up");
}

#[test]
fn one_that_does_not_answer_is_not_replaced() {
    let home = Home::new();
    let old = home.get().pid;
    home.signal(Signal::STOP);
    let began = Instant::now();
    let failed = told(&home.run(&["replace", "--timeout-ms=1200"]));
    assert_eq!((failed.state.as_str(), failed.code), ("unresponsive", Some(3)), "{failed:?}");
    assert!(began.elapsed() < Duration::from_secs(8));
    home.signal(Signal::CONT);
    assert_eq!(home.get().pid, old);
}

#[test]
fn a_newer_verb_replaces_an_agent_it_cannot_talk_to_and_an_older_one_never_does() {
    let mut home = Home::new();
    let old = home.get();
    let next = home.next();
    let program = std::mem::replace(&mut home.program, next);
    let refused = told(&home.run(&["get", "--no-spawn"]));
    assert_eq!(refused.state, "broken", "not where it may start none: {refused:?}");
    let newer = home.get();
    assert_eq!((newer.state.as_str(), newer.code), ("started", Some(0)), "{newer:?}");
    assert_eq!((old.version.as_str(), newer.version.as_str()), ("1.0.0", "2.0.0"));
    assert_ne!(newer.pid, old.pid);
    home.program = program;
    let older = home.get();
    assert_eq!(older.state, "broken");
    assert!(older.reason.contains("Version"), "{}", older.reason);
    assert_eq!(home.pid(), newer.pid.unwrap());
}

#[test]
fn many_newer_verbs_at_once_replace_it_once_or_follow_each_other() {
    let mut home = Home::new();
    home.get();
    home.program = home.next();
    let verbs: Vec<_> = (0..10).map(|_| home.spawn(&["get"])).collect();
    for verb in verbs {
        let told = told(&verb.wait_with_output().unwrap());
        assert_eq!((told.code, told.version.as_str()), (Some(0), "2.0.0"), "{told:?}");
    }
}

#[test]
fn a_question_that_is_none_is_refused_in_words() {
    let home = Home::new();
    home.get();
    let mut stream = UnixStream::connect(home.socket()).unwrap();
    stream
        .write_all(b"POST /v1/replace HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 400") && reply.contains("pair daemon restart"), "{reply}");
    // A successor that goes away again at once.
    for _ in 0..3 {
        let mut stream = UnixStream::connect(home.socket()).unwrap();
        stream
            .write_all(b"POST /v1/replace HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: hearth-handover/1\r\n\r\n")
            .unwrap();
    }
    assert_eq!(home.get().state, "up");
    assert_eq!(home.replace().state, "started");
}
