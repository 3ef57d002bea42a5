//! The races of getting an agent, each by its name, with real processes.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Home, copy_program, is_root, told};
use hearth_process::Signal;
use hearth_process::locked::LockedFile;
use hearth_process::watch::{ChangeKind, DirWatch};

#[test]
fn many_verbs_at_one_instant_start_one_agent() {
    let home = Home::new();
    let verbs: Vec<_> = (0..60).map(|_| home.spawn(&["get"])).collect();
    let told: Vec<_> =
        verbs.into_iter().map(|verb| told(&verb.wait_with_output().unwrap())).collect();
    let mut agents: Vec<_> =
        told.iter().map(|told| told.pid.expect("every verb has its agent")).collect();
    agents.sort_unstable();
    agents.dedup();
    assert_eq!(agents.len(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|told| told.state == "started").count(), 1);
    assert!(told.iter().all(|told| told.code == Some(0)));
}

#[test]
fn a_silent_agent_keeps_its_socket_and_heals() {
    let home = Home::new();
    let agent = home.get().pid;
    let inode = fs::metadata(home.socket()).unwrap().ino();
    home.signal(Signal::STOP);
    let late = told(&home.run(&["get", "--timeout-ms=1200"]));
    assert_eq!((late.state.as_str(), late.code), ("unresponsive", Some(3)));
    assert!(late.reason.contains(&format!("pid {}", agent.unwrap())), "{}", late.reason);
    assert!(late.reason.contains("stopped by a signal"), "{}", late.reason);
    assert!(late.reason.contains("agent.log"), "{}", late.reason);
    assert!(late.hint.contains("kill -CONT"), "{}", late.hint);
    assert_eq!(fs::metadata(home.socket()).unwrap().ino(), inode, "nobody touched its socket");
    let waiting = home.spawn(&["get"]);
    home.signal(Signal::CONT);
    let healed = told(&waiting.wait_with_output().unwrap());
    assert_eq!((healed.state.as_str(), healed.pid), ("up", agent));
}

#[test]
fn the_socket_appears_bound_and_listening_at_once() {
    let home = Home::new();
    let watch = DirWatch::names(&home.make().dir).unwrap();
    assert_eq!(home.get().state, "started");
    let changes: Vec<_> = watch
        .drain()
        .unwrap()
        .into_iter()
        .filter(|change| change.name.as_deref().is_some_and(|name| name == "agent.sock"))
        .map(|change| change.kind)
        .collect();
    if cfg!(target_os = "linux") {
        assert_eq!(
            changes,
            [ChangeKind::MovedIn],
            "it was never made at its path, only renamed to it"
        );
    }
    assert_eq!(fs::metadata(home.socket()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_stopping_agent_leaves_a_socket_that_is_not_its_own() {
    let home = Home::new();
    home.get();
    home.signal(Signal::STOP);
    let path = home.socket();
    fs::remove_file(&path).unwrap();
    let successor = UnixListener::bind(&path).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    home.signal(Signal::CONT);
    // It sees that somebody else listens at its path, and steps down.
    home.wait_until_free();
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    drop(successor);
}

#[test]
fn stopped_means_that_the_lock_is_free() {
    let home = Home::new();
    for _ in 0..10 {
        assert_eq!(home.get().state, "started");
        assert_eq!(home.stop(), "Stopped");
        assert!(!home.lives());
        assert!(!home.path("agent.sock").exists());
    }
    assert_eq!(home.stop(), "WasDown");
}

#[test]
fn a_home_that_is_removed_while_an_agent_starts_is_nobodys_failed_start() {
    let home = Home::new();
    for _ in 0..30 {
        let verbs: Vec<_> = (0..3).map(|_| home.spawn(&["get"])).collect();
        // Its agents see it, and step down.
        let _ = fs::remove_dir_all(&home.dir);
        for verb in verbs {
            let told = told(&verb.wait_with_output().unwrap());
            assert_ne!(told.state, "spawn-suppressed", "{told:?}");
            assert!(!told.reason.contains("for the agent's own use"), "{told:?}");
        }
    }
    let _ = fs::remove_dir_all(&home.dir);
    assert!(["started", "up"].contains(&home.get().state.as_str()));
}

#[test]
fn a_living_pid_in_a_free_lock_is_no_agent() {
    let home = Home::new();
    home.get();
    home.kill();
    // What a recycled pid looks like: the record names a process that lives, and nobody holds L.
    // Waited for: a fork of another test's may have it from the wait above until it executes something.
    let file = hearth_process::locked::open(&home.lock(), false).unwrap();
    let lock = LockedFile::exclusive(file).unwrap();
    let mut record = home.record().unwrap();
    record["pid"] = std::process::id().into();
    record["stage"] = "running".into();
    lock.write(record.to_string().as_bytes()).unwrap();
    drop(lock);
    assert_eq!(home.get().state, "started");
}

#[test]
fn a_zombie_is_no_agent() {
    let home = Home::new();
    let mut zombie = home.spawn(&["run"]);
    // Nobody else may be faster than it: a verb would start an agent of its own.
    home.wait_for("agent.sock");
    assert_eq!(home.get().pid, Some(zombie.id()));
    zombie.kill().unwrap();
    home.wait_until_free();
    let next = home.get();
    assert_eq!(next.state, "started");
    assert_ne!(next.pid, Some(zombie.id()));
    zombie.wait().unwrap();
}

#[test]
fn a_command_substitution_returns_although_the_agent_lives_on() {
    let home = Home::new();
    let script = format!("x=$('{}' get); echo \"got $?\"", home.program.display());
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("PAIR_HOME", &home.dir)
        .output() // reads stdout and stderr to their ends
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "got 0");
    assert!(home.lives());
}

#[test]
fn a_caller_with_closed_descriptors_gets_a_sound_agent() {
    for redirection in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let home = Home::new();
        let script = format!("'{}' get {redirection}", home.program.display());
        let status = std::process::Command::new("sh")
            .args(["-c", &script])
            .env("PAIR_HOME", &home.dir)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success() || redirection.contains(">&-"), "{redirection}");
        let next = home.get();
        assert_eq!(next.state, "up", "{redirection}");
        let fds = format!("/proc/{}/fd", next.pid.unwrap());
        if cfg!(target_os = "linux") {
            for fd in 0..3 {
                let target = fs::read_link(format!("{fds}/{fd}")).unwrap();
                let expected = if fd == 0 { "/dev/null".into() } else { home.path("agent.log") };
                assert_eq!(target, expected, "{redirection}, fd {fd}");
            }
        }
    }
}

#[test]
fn a_caller_with_blocked_signals_umask_and_nohup_gets_an_ordinary_agent() {
    let home = Home::new();
    let mut command = home.command(&["get"]);
    // SAFETY: async-signal-safe calls only.
    unsafe {
        command.pre_exec(|| {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            libc::signal(libc::SIGTERM, libc::SIG_IGN);
            libc::umask(0o077);
            Ok(())
        });
    }
    let first = told(&command.output().unwrap());
    assert_eq!(first.state, "started");
    assert_eq!(fs::metadata(home.path("agent.log")).unwrap().permissions().mode() & 0o777, 0o600);
    // It hears SIGTERM although its caller did not.
    home.signal(Signal::TERM);
    home.wait_until_free();
    assert_eq!(home.record().unwrap()["stage"], "stopped");
}

#[test]
fn a_crash_at_the_start_is_told_and_then_suppressed_and_healed() {
    let home = Home::new();
    home.write("agent.toml", "idle_timeout = \"10m\"\nshutdown_timeout = 5\n");
    let first = home.get();
    assert_eq!((first.state.as_str(), first.code), ("spawn-failed", Some(3)));
    for part in ["agent.toml", "line 2", "^"] {
        assert!(first.reason.contains(part), "{part} in {}", first.reason);
    }
    let second = home.get();
    assert_eq!(second.state, "spawn-suppressed");
    for part in ["agent.toml", "line 2", "next try in"] {
        assert!(second.reason.contains(part), "{part} in {}", second.reason);
    }
    assert!(second.hint.contains("daemon up"), "{}", second.hint);
    assert_eq!(told(&home.run(&["retry"])).state, "spawn-failed", "goes round the backoff");
    home.write("agent.toml", "");
    assert_eq!(home.get().state, "spawn-suppressed", "mending alone is not seen");
    assert_eq!(told(&home.run(&["retry"])).state, "started");
    home.kill();
    assert_eq!(home.get().state, "started", "a kill after ready is no failure of the start");
}

#[test]
fn an_agent_that_dies_without_a_word_shows_its_exit_and_its_log() {
    let home = Home::new();
    home.write("fault", "die");
    let first = home.get();
    assert_eq!(first.state, "spawn-failed");
    assert!(first.reason.contains("exited with code 7"), "{}", first.reason);
    assert!(first.reason.contains("as good as dead"), "{}", first.reason);
    home.write("fault", "refuse");
    let refused = told(&home.run(&["retry"]));
    assert!(refused.reason.contains("it is my day off"), "{}", refused.reason);
}

#[test]
fn an_agent_that_is_slow_to_start_is_left_alone() {
    let home = Home::new();
    home.write("fault", "hang");
    let first = told(&home.run(&["get", "--timeout-ms=300"]));
    assert_eq!(first.state, "still-starting");
    assert!(home.lives(), "it was not killed");
    let second = told(&home.run(&["get", "--timeout-ms=300"]));
    assert_eq!(second.state, "still-starting");
    assert!(!home.path("failures.json").exists(), "an attempt without an outcome is no failure");
}

#[test]
fn a_waiter_wakes_at_the_moment_at_which_a_starting_agent_dies() {
    let home = Home::new();
    home.write("fault", "hang");
    assert_eq!(told(&home.run(&["get", "--timeout-ms=200"])).state, "still-starting");
    let waiting = home.spawn(&["get"]);
    home.write("fault", "");
    home.signal(Signal::KILL);
    assert_eq!(told(&waiting.wait_with_output().unwrap()).state, "started");
}

#[test]
fn a_torn_record_under_a_held_lock_means_starting() {
    let home = Home::new();
    let file = hearth_process::locked::open(&home.make().lock(), true).unwrap();
    let lock = LockedFile::try_exclusive(file).unwrap();
    let told = told(&home.run(&["get", "--timeout-ms=300"]));
    assert_eq!(told.state, "still-starting");
    drop(lock);
}

#[test]
fn a_socket_path_too_long_falls_back_to_a_short_one() {
    let home = Home::below(&"deep/".repeat(40));
    assert_eq!(home.get().state, "started");
    assert!(home.socket().starts_with("/tmp"), "{}", home.socket().display());
    assert_eq!(home.get().state, "up");
    assert_eq!(home.stop(), "Stopped");
    assert!(!home.lives());
}

#[test]
fn an_idle_agent_goes_and_no_client_is_lost_by_it() {
    let home = Home::new();
    home.write("agent.toml", "idle_timeout = \"1ms\"\n");
    for round in 0..60 {
        let verbs: Vec<_> = (0..3).map(|_| home.spawn(&["get"])).collect();
        for verb in verbs {
            let told = told(&verb.wait_with_output().unwrap());
            assert_eq!(told.code, Some(0), "round {round}: {told:?}");
        }
    }
    home.wait_until_free();
    assert!(!home.path("agent.sock").exists());
    assert_eq!(home.record().unwrap()["stage"], "stopped");
}

/// A verb that waited for L and then found it free kept its place in the queue for it, got it behind
/// the back of the agent that it had started, and waited for S: 10 s of nothing, S's holder waiting
/// for L. It takes a busy machine to see it, hence the many homes.
#[test]
fn agents_that_come_and_go_on_a_busy_machine_cost_no_verb_its_deadline() {
    let verbs = |home: &Home| {
        home.write("agent.toml", "idle_timeout = \"1ms\"\n");
        for round in 0..20 {
            let verbs: Vec<_> = (0..3).map(|_| home.spawn(&["get"])).collect();
            for verb in verbs {
                let told = told(&verb.wait_with_output().unwrap());
                assert_eq!(told.code, Some(0), "round {round}: {told:?}");
            }
        }
        home.wait_until_free();
    };
    let homes: Vec<_> = (0..6).map(|_| Home::new()).collect();
    std::thread::scope(|scope| {
        for home in &homes {
            scope.spawn(|| verbs(home));
        }
    });
}

#[test]
fn a_verb_killed_at_any_moment_leaves_no_wrong_answer() {
    let home = Home::new();
    for micros in (0..40).map(|step| step * 250) {
        let mut verb = home.spawn(&["get"]);
        let until = Instant::now() + Duration::from_micros(micros);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        verb.kill().unwrap();
        verb.wait().unwrap();
        let next = home.get();
        assert_eq!(next.code, Some(0), "killed after {micros} us: {next:?}");
        home.kill();
    }
}

#[test]
fn an_agent_killed_again_and_again_is_never_suppressed() {
    let home = Home::new();
    for round in 0..10 {
        let verbs: Vec<_> = (0..20).map(|_| home.spawn(&["get"])).collect();
        assert_eq!(home.get().code, Some(0));
        home.signal(Signal::KILL);
        for verb in verbs {
            let told = told(&verb.wait_with_output().unwrap());
            assert_eq!(told.code, Some(0), "round {round}: {told:?}");
        }
    }
}

#[test]
fn what_a_killed_agent_has_not_read_is_asked_of_the_next_one() {
    let home = Home::new();
    let own = std::process::id().to_string();
    // It may be done once only: a connection that has not been taken in yet is reset by the kill.
    let ask = ["session", own.as_str()];
    let old = told(&home.run(&ask));
    home.signal(Signal::STOP);
    let verb = home.spawn(&ask);
    home.wait_for_waiter("agent.lock");
    home.signal(Signal::KILL);
    let next = told(&verb.wait_with_output().unwrap());
    assert_eq!((next.state.as_str(), next.body.is_empty()), ("started", false), "{next:?}");
    assert_ne!(next.pid, old.pid);
    // Right behind a kill its socket may still be there, or half of it.
    for _ in 0..20 {
        home.signal(Signal::KILL);
        let next = told(&home.run(&ask));
        assert_eq!(next.state, "started", "{next:?}");
    }
}

#[test]
fn a_foreground_run_and_a_spawn_make_one_agent() {
    let home = Home::new();
    assert_eq!(home.get().state, "started");
    let second = home.run(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("runs in this home already (pid"));
    home.stop();
    let mut runs: Vec<_> = (0..3).map(|_| home.spawn(&["run"])).collect();
    let verbs: Vec<_> = (0..10).map(|_| home.spawn(&["get"])).collect();
    let mut pids: Vec<_> = verbs
        .into_iter()
        .map(|verb| told(&verb.wait_with_output().unwrap()).pid.unwrap())
        .collect();
    pids.dedup();
    assert_eq!(pids.len(), 1);
    // One that still waits for L may become the next agent: stop until all of them have ended.
    for run in &mut runs {
        while run.try_wait().unwrap().is_none() {
            home.stop();
        }
    }
}

#[test]
fn an_unlinked_socket_is_published_again() {
    let home = Home::new();
    let agent = home.get().pid;
    fs::remove_file(home.socket()).unwrap();
    let again = home.get();
    assert_eq!((again.state.as_str(), again.pid), ("up", agent));
}

#[test]
fn an_agent_whose_home_was_removed_steps_down() {
    let home = Home::new();
    home.get();
    let gone = hearth_process::locked::open(&home.lock(), false).unwrap();
    fs::remove_dir_all(&home.dir).unwrap();
    assert_eq!(home.get().state, "started", "the next verb makes a new home");
    // The old one has let go of its lock, or will.
    drop(LockedFile::exclusive(gone).unwrap());
}

#[test]
fn a_hook_that_hangs_is_named_and_left() {
    let home = Home::new();
    home.write("fault", "hook").write("agent.toml", "shutdown_timeout = \"100ms\"\n");
    home.get();
    assert_eq!(home.stop(), "Hung([\"one that hangs\"])");
}

#[test]
fn a_request_while_it_stops_waits_for_the_next_agent() {
    let home = Home::new();
    home.write("fault", "hook").write("agent.toml", "shutdown_timeout = \"1s\"\n");
    let old = home.get().pid;
    let stop = home.spawn(&["stop"]);
    // Until it has begun to stop.
    loop {
        let mut stream = UnixStream::connect(home.socket()).unwrap();
        stream.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        if reply.starts_with("HTTP/1.1 503") {
            assert!(reply.contains("application/problem+json"), "{reply}");
            assert!(reply.contains("\"code\":\"stopping\""), "{reply}");
            break;
        }
    }
    let next = home.get();
    assert_eq!(next.state, "started");
    assert_ne!(next.pid, old);
    stop.wait_with_output().unwrap();
}

#[test]
fn one_that_stops_answers_all_that_was_asked_in_one_write() {
    let home = Home::new();
    home.write("fault", "hook").write("agent.toml", "shutdown_timeout = \"1s\"\n");
    home.get();
    let mut before = UnixStream::connect(home.socket()).unwrap();
    let stop = home.spawn(&["stop"]);
    // Verbs send the question for the version and their own together: a reply that is not sent because the
    // connection ends leaves a verb that may ask once only without an answer.
    let both = "GET /v1/version HTTP/1.1\r\nhost: x\r\n\r\n\
                POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n1";
    let ask = |stream: &mut UnixStream| {
        stream.write_all(both.as_bytes()).unwrap();
        let mut said = String::new();
        while said.matches("HTTP/1.1 ").count() < 2 {
            let mut bytes = [0; 4096];
            let got = stream.read(&mut bytes).unwrap();
            assert_ne!(got, 0, "the end after {said:?}");
            said.push_str(std::str::from_utf8(&bytes[..got]).unwrap());
        }
        said
    };
    loop {
        let said = ask(&mut UnixStream::connect(home.socket()).unwrap());
        if said.matches("HTTP/1.1 503").count() == 2 {
            break;
        }
        // Of two that are asked while it begins to stop, the first may still have been answered.
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    }
    assert_eq!(ask(&mut before).matches("HTTP/1.1 503").count(), 2, "it has not asked before");
    // And then it is closed.
    assert_eq!(before.read(&mut [0; 1]).unwrap(), 0);
    stop.wait_with_output().unwrap();
}

#[test]
fn the_executable_may_be_replaced_or_deleted_under_it() {
    let mut home = Home::new();
    let program = home.root.path().join("pair");
    copy_program(&home.program, &program);
    home.program = program.clone();
    let agent = home.get().pid;
    let aside = home.root.path().join("new");
    copy_program(crate::support::program(), &aside);
    fs::rename(&aside, &program).unwrap();
    assert_eq!(home.get().pid, agent);
    home.kill();
    assert_eq!(home.get().state, "started");
    fs::remove_file(&program).unwrap();
    let mut stream = UnixStream::connect(home.socket()).unwrap();
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}

#[test]
fn forbidden_to_start_is_down_and_leaves_no_trace() {
    let home = Home::new();
    let down = told(&home.run(&["get", "--no-spawn"]));
    assert_eq!((down.state.as_str(), down.code), ("down", Some(3)));
    let down = told(&home.command(&["get"]).env("PAIR_NO_AUTOSPAWN", "1").output().unwrap());
    assert_eq!(down.state, "down");
    assert!(down.reason.contains("PAIR_NO_AUTOSPAWN"), "{}", down.reason);
    assert!(!home.dir.exists());
}

#[test]
fn a_home_that_is_not_ours_alone_is_blocked() {
    let blocked = |home: &Home, words: &[&str]| {
        let told = home.get();
        assert_eq!((told.state.as_str(), told.code), ("blocked", Some(3)), "{told:?}");
        for word in words {
            assert!(told.reason.contains(word), "{word} in {}", told.reason);
        }
        assert!(!told.hint.is_empty());
    };
    let home = Home::new();
    fs::set_permissions(&home.make().dir, fs::Permissions::from_mode(0o777)).unwrap();
    blocked(&home, &["0777", "must have 0700"]);

    let home = Home::new();
    fs::create_dir(home.root.path().join("target")).unwrap();
    std::os::unix::fs::symlink("target", &home.dir).unwrap();
    blocked(&home, &["symlink"]);

    let home = Home::new();
    fs::write(&home.dir, "").unwrap();
    blocked(&home, &["not a directory"]);

    let home = Home::below("file/home");
    fs::write(home.root.path().join("file"), "").unwrap();
    blocked(&home, &["file"]);

    let home = Home::new();
    home.write("agent.sock", "no socket");
    blocked(&home, &["agent.sock", "no socket"]);
    assert_eq!(
        fs::read_to_string(home.path("agent.sock")).unwrap(),
        "no socket",
        "nothing is lost"
    );

    if is_root("a home of somebody else") {
        let home = Home::new();
        std::os::unix::fs::chown(&home.make().dir, Some(65534), Some(65534)).unwrap();
        blocked(&home, &["belongs to uid 65534", "uid 0"]);
    }
}

#[test]
fn a_full_and_a_read_only_disk_are_told_as_such() {
    if !is_root("mounting a tmpfs") || cfg!(not(target_os = "linux")) {
        return;
    }
    let home = Home::new();
    // In a mount namespace of its own: 16 KiB hold the directory and one lock, not two. An agent that
    // has stopped has let go of L, and of its log (EBUSY) a moment later.
    let script = format!(
        "set -e; mount -t tmpfs -o size=16k,mode=700 none {dir}; \
         head -c 12288 /dev/zero > {dir}/filler; {pair} get || true; rm {dir}/filler; \
         mount -o remount,size=16m none {dir}; {pair} get; {pair} stop >&2; \
         until mount -o remount,ro none {dir} 2>/dev/null; do :; done; rm -f {dir}/x 2>/dev/null || true; {pair} get || true",
        dir = home.make().dir.display(),
        pair = home.program.display(),
    );
    let output = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .env("PAIR_HOME", &home.dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(lines.len(), 3, "{text} {errors}");
    assert_eq!(lines[0]["state"], "blocked", "{text}");
    assert!(lines[0]["reason"].as_str().unwrap().contains("cannot write"), "{text}");
    assert!(lines[0]["hint"].as_str().unwrap().contains("make room"), "{text}");
    assert_eq!(lines[1]["state"], "started", "{text}");
    assert_eq!(lines[2]["state"], "blocked", "{text}");
    assert!(lines[2]["reason"].as_str().unwrap().contains("Read-only"), "{text}");
}

#[test]
fn a_request_is_bounded_and_its_version_checked_before_anything_is_done() {
    let home = Home::new();
    home.get();
    let ask = |request: &[u8]| {
        let mut stream = UnixStream::connect(home.socket()).unwrap();
        let _ = stream.write_all(request);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        String::from_utf8_lossy(&reply).into_owned()
    };
    let head = "host: x\r\nconnection: close\r\n";
    let reply = ask(format!("GET /hello HTTP/1.1\r\n{head}pair-api: 7-9\r\n\r\n").as_bytes());
    assert!(reply.starts_with("HTTP/1.1 426") && reply.contains("\"code\":\"version\""), "{reply}");
    let reply = ask(format!("GET /hello HTTP/1.1\r\n{head}pair-api: 1-9\r\n\r\n").as_bytes());
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    let reply = ask(format!("GET /hello HTTP/1.1\r\n{head}pair-api: new\r\n\r\n").as_bytes());
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
    let reply =
        ask(format!("POST /v1/version HTTP/1.1\r\n{head}content-length: 0\r\n\r\n").as_bytes());
    assert!(reply.starts_with("HTTP/1.1 405"), "{reply}");
    let mut big =
        format!("POST /hello HTTP/1.1\r\n{head}content-length: 2000000\r\n\r\n").into_bytes();
    big.resize(big.len() + 2_000_000, b'x');
    let reply = ask(&big);
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    let reply = ask(b"GET /v1/version HTTP/1.1\r\nhost: x\r\n\r\nGET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!(reply.matches("HTTP/1.1 200").count(), 2, "two requests in one write: {reply}");
}

#[test]
fn headers_and_bodies_that_do_not_come_are_given_up() {
    let home = Home::new();
    home.get();
    let begun = Instant::now();
    let connect = |request: &[u8]| {
        let mut stream = UnixStream::connect(home.socket()).unwrap();
        stream.write_all(request).unwrap();
        stream
    };
    let mut headers = connect(b"GET /hello HTTP/1.1\r\nhost:");
    let mut body = connect(b"POST /hello HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab");
    let mut idle = connect(b"");
    let mut reply = Vec::new();
    let _ = headers.read_to_end(&mut reply);
    assert!(begun.elapsed() >= Duration::from_secs(9), "not before its time");
    let mut start = [0; 12];
    body.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 408");
    // One that has sent nothing owes nothing.
    idle.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    idle.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
}

#[test]
fn a_foreground_agent_that_is_stopped_is_not_down_although_nobody_ever_spawned() {
    let home = Home::new();
    let mut agent = home.spawn(&["run"]);
    while told(&home.run(&["get", "--no-spawn"])).pid != Some(agent.id()) {}
    home.signal(Signal::STOP);
    let late = told(&home.run(&["get", "--no-spawn", "--timeout-ms=700"]));
    assert_eq!(late.state, "unresponsive", "{late:?}");
    home.signal(Signal::CONT);
    assert_eq!(home.stop(), "Stopped");
    assert!(!home.lives(), "told only when the lock is free");
    agent.wait().unwrap();
}

#[test]
fn an_agent_of_another_api_is_told_by_its_version_and_not_taken_for_a_stranger() {
    let home = Home::new();
    home.get();
    let mut stream = UnixStream::connect(home.socket()).unwrap();
    stream
        .write_all(
            b"GET /v1/version HTTP/1.1\r\nhost: x\r\npair-api: 7-9\r\nconnection: close\r\n\r\n",
        )
        .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "whoever asks for the version gets it: {reply}");
}

#[test]
fn pipes_and_directories_in_place_of_files_hang_nobody() {
    let mkfifo = |path: &std::path::Path| {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
    };
    let home = Home::new();
    mkfifo(&home.make().path("failures.json"));
    assert_eq!(home.get().state, "started", "a record that is none suppresses nothing");

    for (name, state) in
        [("agent.log", "blocked"), ("agent.lock", "blocked"), ("agent.toml", "spawn-failed")]
    {
        let home = Home::new();
        mkfifo(&home.make().path(name));
        let told = home.get();
        assert_eq!(told.state, state, "{name}: {told:?}");
        assert!(told.reason.contains(name), "{}", told.reason);
        assert!(!home.lives());
    }

    let home = Home::new();
    fs::create_dir(home.make().path("failures.json")).unwrap();
    home.write("fault", "die");
    assert_eq!(home.get().state, "spawn-failed");
    assert!(!home.path("failures.new").exists(), "nothing is left behind");
}

#[test]
fn a_caller_that_ignores_sigchld_hears_why_the_agent_died() {
    let home = Home::new();
    home.write("fault", "refuse");
    let mut command = home.command(&["get"]);
    // SAFETY: an async-signal-safe call only.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
            Ok(())
        });
    }
    let first = told(&command.output().unwrap());
    assert_eq!(first.state, "spawn-failed", "{first:?}");
    assert!(first.reason.contains("it is my day off"), "{}", first.reason);
    assert_eq!(home.get().state, "spawn-suppressed");
}

#[test]
fn a_home_in_a_directory_that_hands_down_its_group_is_as_good_as_any() {
    let home = Home::new();
    fs::set_permissions(home.root.path(), fs::Permissions::from_mode(0o2755)).unwrap();
    assert_eq!(home.get().state, "started");
    home.kill();
    assert_eq!(home.get().state, "started", "the slow path looks at its mode");
}

#[test]
fn an_executable_that_cannot_be_executed_is_named() {
    if cfg!(not(target_os = "linux")) {
        return; // who waits for a lock is only listed there
    }
    let mut home = Home::new();
    let program = home.root.path().join("pair");
    copy_program(&home.program, &program);
    let broken = home.root.path().join("broken");
    fs::write(&broken, "this is no program").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    home.program = program.clone();
    let lock = LockedFile::try_exclusive(
        hearth_process::locked::open(&home.make().path("spawn.lock"), true).unwrap(),
    )
    .unwrap();
    let waiting = home.spawn(&["get"]);
    // It runs from the old file once it waits for S: its executable is looked up after that.
    home.wait_for_waiter("spawn.lock");
    fs::rename(&broken, &program).unwrap();
    drop(lock);
    let told = told(&waiting.wait_with_output().unwrap());
    assert_eq!(told.state, "spawn-failed", "{told:?}");
    assert!(told.reason.contains("cannot execute"), "{}", told.reason);
    assert!(told.reason.contains("Exec format error"), "{}", told.reason);
}

#[test]
fn an_agent_that_gives_up_after_its_verb_has_gone_is_on_record() {
    let home = Home::new();
    home.write("fault", "refuse");
    let mut verb = home.spawn(&["get"]);
    home.wait_for("agent.lock");
    verb.kill().unwrap();
    verb.wait().unwrap();
    // Whatever of the two was faster: there is one failure at most, and it has the agent's words.
    let next = home.get();
    assert!(next.reason.contains("it is my day off"), "{next:?}");
    let record = fs::read_to_string(home.path("failures.json")).unwrap();
    assert!(record.contains("\"count\":1") && record.contains("day off"), "{record}");
}

#[test]
fn an_agent_stopped_in_the_middle_of_its_answer_is_given_up() {
    let home = Home::new();
    let file = hearth_process::locked::open(&home.make().lock(), true).unwrap();
    let lock = LockedFile::try_exclusive(file).unwrap();
    let listener = UnixListener::bind(home.path("agent.sock")).unwrap();
    let verb = home.spawn(&["get", "--timeout-ms=900"]);
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-len").unwrap();
    let told = told(&verb.wait_with_output().unwrap());
    assert_eq!(told.code, Some(3), "{told:?}");
    drop((stream, lock));
}

#[test]
fn a_client_that_has_said_all_still_gets_its_reply() {
    let home = Home::new();
    home.get();
    let mut stream = UnixStream::connect(home.socket()).unwrap();
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}

#[test]
fn an_agent_that_freezes_after_its_version_holds_a_question_for_its_deadline_alone() {
    let home = Home::new();
    let lock = LockedFile::try_exclusive(LockedFile::open(&home.make().lock(), true).unwrap());
    let _lock = lock.map_err(|_| "held").unwrap();
    let listener = UnixListener::bind(home.path("agent.sock")).unwrap();
    fs::set_permissions(home.path("agent.sock"), fs::Permissions::from_mode(0o600)).unwrap();
    std::thread::spawn(move || {
        let version = "{\"name\":\"pair\",\"version\":\"1.0.0\",\"api\":{\"min\":1,\"max\":1},\
                       \"instance\":\"x\",\"pid\":1,\"started_at\":\"2026-01-01T00:00:00Z\"}";
        let reply =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{version}", version.len());
        let mut frozen = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(reply.as_bytes());
            frozen.push(stream);
        }
    });
    let began = Instant::now();
    let told = told(&home.run(&["get"]));
    assert_eq!(told.code, Some(3), "{told:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
}
