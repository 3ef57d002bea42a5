//! The agent's disk full at every one of its writes, each in turn, while a service that it adopted
//! lives on, another one crashes, and verbs come and go.
//!
//! strace(1) makes the n-th call of its kind fail with ENOSPC, in the agent alone and on the files of
//! its home alone: not on sockets, and not in shims, which it lets go as they are executed. The run in
//! which no call was the n-th any more is the last.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;

use hearth_process::watch::DirWatch;
use hearth_process::{ProcessHandle, ProcessId, Signal};
use hearth_tests::{
    Project, Ran, Verb, await_end, await_file, files_below, has_program, runs, send,
};
use rustix::event::{PollFd, PollFlags, poll};

/// No scenario has more calls of one kind than this.
const MOST: u32 = 200;

const TOML: &str = r#"
    [services.steady]
    run = "echo $$ >> steady; echo up; exec sleep 1000"
    ready = { log = "^up$" }
    [services.crashing]
    run = "echo $$ >> crashing; echo up; exec sleep 1000"
    ready = { log = "^up$" }
    backoff = { min = "1ms", max = "10ms" }
    give_up = { failures = 0 }
"#;

/// Calls that are to fail.
#[derive(Clone, Copy, Debug)]
struct Fault {
    call: &'static str,
    /// The first of them.
    n: u32,
    /// And all that come after it.
    and_after: bool,
    /// Files of the home, relative; empty: whatever the call is about.
    files: &'static [&'static str],
}

const WRITTEN: &[&str] = &["agent.log", "agent.lock", "state.json.new", "failures.json"];

/// A traced agent in the foreground.
struct Agent {
    tracer: Verb,
    trace: PathBuf,
}

impl Agent {
    /// Returns when it serves, or has ended.
    fn start(project: &Project, fault: Fault) -> Self {
        project.home.write("agent.toml", "");
        let trace = project.home.root().join("trace");
        let more = if fault.and_after { "+" } else { "" };
        let hearth = project.home.command(&["daemon", "run"]);
        let mut command = std::process::Command::new("strace");
        // Followed is who does not execute anything: the agent's threads.
        // The agent is our child, strace its own (-D): so that it can be killed and the agent lives.
        command.args(["-D", "-f", "-b", "execve", "-q", "-y", "-o"]).arg(&trace);
        for file in fault.files {
            command.arg("-P").arg(project.home.path(file));
        }
        command
            .args(["-e", &format!("trace={}", fault.call), "-e"])
            .arg(format!("inject={}:error=ENOSPC:when={}{more}", fault.call, fault.n))
            .arg(hearth.get_program())
            .args(hearth.get_args())
            .env("HEARTH_HOME", project.home.dir())
            .current_dir(project.home.root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let watch = DirWatch::new(project.home.dir()).expect("a directory can be watched");
        let child = command.spawn().expect("strace runs");
        let tracer = ProcessHandle::open(&ProcessId::of(child.id()).unwrap()).unwrap();
        let agent = Self { tracer: Verb::of(child), trace };
        while !project.home.path("agent.sock").exists() {
            let mut fds = [PollFd::new(&watch, PollFlags::IN), PollFd::new(&tracer, PollFlags::IN)];
            poll(&mut fds, None).unwrap();
            if !fds[1].revents().is_empty() {
                break;
            }
            let _ = watch.drain();
        }
        agent
    }

    /// The call that failed, as strace writes it.
    fn failed(&self) -> Option<String> {
        let trace = fs::read_to_string(&self.trace).unwrap_or_default();
        trace.lines().find(|line| line.contains("(INJECTED)")).map(str::to_owned)
    }
}

/// Done, or refused with the reason and what it is about.
#[track_caller]
fn done_or_refused(what: &str, ran: &Ran, project: &Project) {
    if ran.code == Some(0) {
        return;
    }
    let home = project.home.dir().to_str().unwrap();
    let told = ran.stderr.to_lowercase();
    assert!(
        (told.contains("no space left") || told.contains("disk full")) && told.contains(home),
        "`{what}` ended with {:?} and does not say why: {}",
        ran.code,
        ran.stderr
    );
}

fn lines(project: &Project, file: &str) -> Vec<String> {
    project.read(file).lines().map(str::to_owned).collect()
}

fn scenario(fault: Fault) -> Option<String> {
    let project = Project::new(TOML);
    project.run(&["up", "steady"]).exits(0);
    let steady = project.pid("steady");
    // It stays; the next agent adopts it.
    project.run(&["daemon", "down"]).exits(0);
    let agent = Agent::start(&project, fault);
    let pid = project.home.agent_pid();
    let refused = pid.is_none();

    let verbs: &[&[&str]] =
        &[&["up", "crashing"], &["restart", "crashing"], &["down", "crashing"], &["up"]];
    for (n, verb) in verbs.iter().enumerate() {
        let ran = project.run(verb);
        done_or_refused(&verb.join(" "), &ran, &project);
        // A life ends, and another one begins.
        if n == 0 && ran.code == Some(0) {
            let count = lines(&project, "crashing").len();
            let crashing: u32 = lines(&project, "crashing")[count - 1].parse().unwrap();
            send(crashing, Signal::KILL);
            await_end(crashing);
            project.await_lines("crashing", count + 1);
        }
    }
    // It was one fault, and is over.
    project.run(&["up"]).exits(0);
    assert_eq!(lines(&project, "steady"), [steady.to_string()], "it was not disturbed");
    assert!(runs(steady));
    let crashing = lines(&project, "crashing");
    let living: Vec<&String> = crashing.iter().filter(|pid| runs(pid.parse().unwrap())).collect();
    assert_eq!(living, [&project.pid("crashing").to_string()], "one copy of {crashing:?}");
    if !refused {
        assert_eq!(project.home.agent_pid(), pid, "the agent died");
    }
    project.run(&["down"]).exits(0);
    assert!(!runs(steady));
    project.run(&["daemon", "down"]).exits(0);
    let home = project.home.path("shims");
    let failed = agent.failed();
    let ran = agent.tracer.finish();
    if refused {
        let home = project.home.dir().to_str().unwrap();
        assert!(ran.stderr.contains("No space left") && ran.stderr.contains(home), "{ran:?}");
    }
    // A shim goes a moment after it was told to.
    await_file(&home.join("none"), |_| files_below(&home).is_empty());
    failed
}

/// Every call of one kind, until there is no n-th any more.
fn each(call: &'static str, files: &'static [&'static str]) {
    if !has_program("strace") {
        return;
    }
    for n in 1..MOST {
        let fault = Fault { call, n, and_after: false, files };
        let ran = thread::Builder::new().name(format!("{call} {n}"));
        let ran = ran.spawn(move || scenario(fault)).expect("a thread").join();
        match ran {
            Ok(Some(failed)) => println!("{call} {n}: held: {failed}"),
            Ok(None) => {
                println!("{} calls of {call}", n - 1);
                assert!(n > 1, "no call of {call}");
                return;
            }
            Err(_) => panic!("{fault:?} did not hold"),
        }
    }
    panic!("more than {MOST} calls of {call}");
}

/// Who traces a process (proc_pid_status(5)).
fn tracer_of(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn a_disk_that_stays_full_is_told_and_nothing_is_forgotten_when_there_is_room_again() {
    if !has_program("strace") {
        return;
    }
    let project = Project::new(TOML);
    project.run(&["up", "steady"]).exits(0);
    let steady = project.pid("steady");
    project.run(&["daemon", "down"]).exits(0);
    let saved = || fs::read_to_string(project.home.path("state.json")).unwrap();
    let before = saved();
    let files = &["state.json.new", "agent.log"];
    let fault = Fault { call: "write", n: 2, and_after: true, files };
    let agent = Agent::start(&project, fault);
    let pid = project.home.agent_pid().expect("it serves");

    for verb in [&["up", "crashing"][..], &["restart", "crashing"]] {
        done_or_refused(&verb.join(" "), &project.run(verb), &project);
    }
    project.run(&["up", "crashing"]).exits(0);
    project.run(&["down", "steady"]).exits(0);
    assert!(!runs(steady));
    assert_eq!(saved(), before, "it could not be written");
    let crashing = project.pid("crashing");

    // There is room again; nothing else happens.
    send(tracer_of(pid), Signal::KILL);
    await_file(&project.home.path("state.json"), |text| text != before);
    project.home.kill_agent();
    agent.tracer.finish();
    // What was asked for last is what the next agent goes by.
    assert_eq!(project.pid("crashing"), crashing);
    let row = project.row("steady");
    assert_eq!((&row["want"], &row["state"]), (&"down".into(), &"down".into()), "{row}");
    assert_eq!(lines(&project, "steady").len(), 1, "it was not started again");
    project.run(&["down"]).exits(0);
}

#[test]
fn at_every_write() {
    each("write", WRITTEN);
}

#[test]
fn at_every_write_at_a_place() {
    each("pwrite64", WRITTEN);
}

#[test]
fn at_every_file_that_is_made() {
    // Not every machine has both.
    each("?open,openat", &["agent.log", "state.json.new"]);
}

#[test]
fn at_every_renaming() {
    each("rename", &["state.json.new", "state.json", "agent.sock.new", "agent.sock"]);
}

#[test]
fn at_every_socket_that_gets_a_name() {
    each("bind", &[]);
}
