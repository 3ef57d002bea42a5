//! What a session's end costs, and what ten thousand sessions cost that do nothing.
//!
//! `cargo bench -p hearth-tests --bench sessions`; `-- end many` chooses, `HEARTH_BENCH_ROUNDS` sets the
//! number of ends, `HEARTH_BENCH_SESSIONS` that of sessions, `HEARTH_BENCH_IDLE` the seconds in which
//! they do nothing. Beside, in the same run, the floor (one warm exchange with a small agent).
//!
//! A session is a fork of the benchmark that registers itself by the API and then sleeps.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use hearth_tests::http::request;
use hearth_tests::measure::{build, cost, floor_command, line, median, ms, number, rounds, wanted};
use hearth_tests::{Gate, Project};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// So many sessions are about to register at once.
const TOGETHER: usize = 64;
/// One session of so many has a lease.
const LEASED: usize = 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("told") {
        return serve(Path::new(&arguments.next().expect("a path")));
    }
    let floor = build().join("floor");
    if wanted("end") {
        end(&floor);
    }
    if wanted("many") {
        many(&floor);
    }
}

/// The service: it says by what time it was told to go.
fn serve(path: &Path) {
    // SAFETY: a set of our own, filled by sigemptyset(3); the mask is this thread's, and there is no
    // other.
    let set = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        set
    };
    let mut told = OpenOptions::new().write(true).open(path).expect("somebody reads");
    println!("up");
    let mut signal = 0;
    // SAFETY: the set is filled, and the number is written to a place of ours.
    unsafe { libc::sigwait(&raw const set, &raw mut signal) };
    let now = nanoseconds();
    told.write_all(format!("{now}\n").as_bytes()).expect("there is room");
}

/// Of CLOCK_MONOTONIC, which all processes share.
fn nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).expect("after the boot")
}

/// A project whose one service says when it is told to go, and what it says.
fn project() -> (Project, Gate, BufReader<File>) {
    let project = Project::empty();
    let program = std::env::current_exe().expect("a benchmark knows where it is");
    let fifo = project.dir().join("told.fifo");
    // Open for both directions, so that opening it never blocks.
    let gate = project.gate("told.fifo");
    project.write(
        "hearth.toml",
        &format!(
            "[services.s]\nrun = [{program:?}, \"told\", {fifo:?}]\nready = {{ log = \"^up$\" }}\n\
             linger = \"0s\"\n"
        ),
    );
    let told = BufReader::new(File::open(fifo).expect("it is there"));
    (project, gate, told)
}

fn floor_now(floor: &Path, project: &Project) -> Duration {
    let one = |_| {
        let cost = cost(&mut floor_command(floor, project));
        assert!(cost.status.success());
        cost.wall
    };
    median(&mut (0..101).map(one).collect::<Vec<_>>())
}

/// Forks a process that does `work`, writes one byte to `done` and sleeps.
fn fork(done: &OwnedFd, work: impl FnOnce()) -> Pid {
    // SAFETY: the benchmark has one thread, so the child may do what it could have done.
    match unsafe { libc::fork() } {
        0 => {
            work();
            let _ = rustix::io::write(done, b"!");
            loop {
                // SAFETY: it waits for a signal.
                unsafe { libc::pause() };
            }
        }
        pid => Pid::from_raw(pid).expect("it can be forked"),
    }
}

fn register(socket: &Path) -> Value {
    let reply = request(socket, "POST", "/v1/sessions", &[], "{\"kind\":\"agent\"}");
    assert_eq!(reply.status, 201);
    reply.json()
}

/// From SIGKILL at a session's process to SIGTERM at the service that it alone holds.
fn end(floor: &Path) {
    let (project, _gate, mut told) = project();
    let socket = project.socket();
    let (ready, done) = rustix::pipe::pipe().expect("a pipe");
    let mut ready = File::from(ready);
    let least = floor_now(floor, &project);
    let mut took = Vec::new();
    for _ in 0..rounds(1000) {
        let pid = fork(&done, || {
            let session = register(&socket);
            let up = project.asks(json!({ "session": session["id"] }));
            let mut reply = request(&socket, "POST", "/v1/up", &[], &up);
            let last = std::iter::from_fn(|| reply.line()).last().expect("an outcome");
            assert_eq!(last["result"], "ready", "{last}");
        });
        ready.read_exact(&mut [0]).expect("it comes up");
        let killed = nanoseconds();
        kill_process(pid, Signal::KILL).expect("it is ours");
        let mut line = String::new();
        told.read_line(&mut line).expect("it is told");
        let at: u64 = line.trim().parse().expect("a time");
        took.push(Duration::from_nanos(at - killed));
        waitpid(Some(pid), WaitOptions::empty()).expect("it is ours");
    }
    let least = least.min(floor_now(floor, &project));
    let middle = median(&mut took);
    let p99 = took[took.len() * 99 / 100];
    let ratio = middle.as_secs_f64() / least.as_secs_f64();
    line(
        &format!("SIGKILL of a session to its service's SIGTERM, {}", took.len()),
        &format!("{:.3} ms, floor {:.3} ms: {ratio:.2} x", ms(middle), ms(least)),
        "at most 3 x",
    );
    let worst = took.last().copied().unwrap_or_default();
    line("  p99, worst", &format!("{:.3} ms, {:.3} ms", ms(p99), ms(worst)), "shown");
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Processes that are sessions and do nothing, and then are all killed.
fn many(floor: &Path) {
    let count = setting("HEARTH_BENCH_SESSIONS", 10_000);
    let (project, _gate, mut told) = project();
    let socket = project.socket();
    let least = floor_now(floor, &project);
    let agent = project.home.agent_pid().expect("an agent lives");
    let (ready, done) = rustix::pipe::pipe().expect("a pipe");
    let mut ready = File::from(ready);
    // What the first ones make it load is not what each costs.
    let mut pids = begin(&mut ready, &done, 100, &socket);
    let memory = || (number(agent, "VmRSS:"), number(agent, "RssAnon:"));
    let before = memory();
    let begun = Instant::now();
    pids.extend(begin(&mut ready, &done, count.saturating_sub(pids.len()), &socket));
    let registered = begun.elapsed();
    let sessions = listed(&socket);
    assert_eq!(sessions.len(), pids.len());
    let after = memory();
    // What follows the last request is over when the agent sleeps.
    std::thread::sleep(Duration::from_secs(2));
    let switches =
        || number(agent, "voluntary_ctxt_switches:") + number(agent, "nonvoluntary_ctxt_switches:");
    let (slept, seconds) = (switches(), setting("HEARTH_BENCH_IDLE", 30));
    std::thread::sleep(Duration::from_secs(seconds as u64));
    let wakeups = switches() - slept;
    line(&format!("{count} sessions, idle {seconds} s"), &format!("{wakeups} wakeups"), "0");
    let each = |after: u64, before: u64| {
        after.saturating_sub(before) as f64 * 1024.0 / (pids.len() - 100) as f64
    };
    line(
        "  agent's memory a session",
        &format!("RSS {:.0} B, RssAnon {:.0} B", each(after.0, before.0), each(after.1, before.1)),
        "at most 2 KB",
    );
    let per_second = pids.len() as f64 / registered.as_secs_f64();
    line(
        "  registered, each by a process of its own",
        &format!("{per_second:.0} a second"),
        "shown",
    );
    for id in sessions.iter().step_by(LEASED) {
        let body = project.asks(json!({ "session": id }));
        let reply = request(&socket, "POST", "/v1/leases", &[], &body);
        assert_eq!(reply.status, 201);
    }
    let wait = format!("/v1/wait?project={}", project.dir().display());
    let mut reply = request(&socket, "GET", &wait, &[], "");
    while reply.line().is_some() {}
    all_end(&socket, pids, &mut told, least);
}

/// Begins so many, some at once.
fn begin(ready: &mut File, done: &OwnedFd, count: usize, socket: &Path) -> Vec<Pid> {
    let mut pids = Vec::with_capacity(count);
    for number in 0..count {
        if number >= TOGETHER {
            ready.read_exact(&mut [0]).expect("one is done");
        }
        pids.push(fork(done, || drop(register(socket))));
    }
    let mut rest = vec![0; count.min(TOGETHER)];
    ready.read_exact(&mut rest).expect("all are done");
    pids
}

fn listed(socket: &Path) -> Vec<Value> {
    let listed = request(socket, "GET", "/v1/sessions", &[], "").json();
    let rows = listed["sessions"].as_array().expect("rows");
    rows.iter().map(|row| row["id"].clone()).collect()
}

/// All are killed, and it is asked until none is there any more.
fn all_end(socket: &Path, pids: Vec<Pid>, told: &mut BufReader<File>, least: Duration) {
    let begun = nanoseconds();
    for pid in &pids {
        kill_process(*pid, Signal::KILL).expect("it is ours");
    }
    let killed = nanoseconds();
    let mut line_of = String::new();
    told.read_line(&mut line_of).expect("it is told");
    let at: u64 = line_of.trim().parse().expect("a time");
    // Of a process that has ended nobody waits for its parent to take note.
    while !listed(socket).is_empty() {}
    let reaped = nanoseconds();
    let seconds = |from: u64, to: u64| Duration::from_nanos(to.saturating_sub(from));
    line(
        &format!("{} killed in {:.0} ms", pids.len(), ms(seconds(begun, killed))),
        &format!("all reaped {:.0} ms after the last", ms(seconds(killed, reaped))),
        "within a second",
    );
    line(
        &format!("  the service that {} of them held", pids.len().div_ceil(LEASED)),
        &format!("told {:.1} ms after the last", ms(seconds(killed, at))),
        &format!("floor {:.3} ms", ms(least)),
    );
    for pid in pids {
        waitpid(Some(pid), WaitOptions::empty()).expect("it is ours");
    }
}
