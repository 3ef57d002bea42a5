//! What the end of an agent costs those who wait: one that is killed with a hundred services, and one
//! that is replaced under eight clients. Beside each, in the same run, a cold start with no service.
//!
//! `cargo bench -p hearth-tests --bench survival`; `-- adoption replacement shims` chooses,
//! `HEARTH_BENCH_ROUNDS` sets the number of rounds.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hearth_process::Signal;
use hearth_tests::measure::{build, cost, in_project, line, median, ms, number, rounds, wanted};
use hearth_tests::{Project, send};

const SERVICES: usize = 100;
const CLIENTS: usize = 8;

fn main() {
    build();
    if wanted("adoption") {
        adoption();
    }
    if wanted("replacement") {
        replacement();
    }
    if wanted("shims") {
        shims();
    }
}

fn hundred() -> Project {
    let service = |n| {
        format!("[services.s{n}]\nrun = [\"sleep\", \"100000\"]\nready = {{ settle = \"0s\" }}\n")
    };
    let project = Project::new(&(0..SERVICES).map(service).collect::<String>());
    project.run(&["up"]).exits(0);
    project
}

/// From no agent to the verb's exit, in a home with nothing in it.
fn cold_start(empty: &Project) -> Duration {
    let verb = cost(&mut in_project(empty, &["status", "--json"]));
    assert!(verb.status.success());
    empty.home.run(&["daemon", "down"]).exits(0);
    verb.wall
}

/// From the agent's death to the answer that knows all services.
fn adoption() {
    let (project, empty) = (hundred(), Project::new(""));
    let pids = |project: &Project| -> Vec<u64> {
        let status = project.run(&["status", "--json"]).exits(0).json();
        let rows = status["services"].as_array().expect("rows").clone();
        rows.iter().filter_map(|row| row["pid"].as_u64()).collect()
    };
    let before = pids(&project);
    assert_eq!(before.len(), SERVICES);
    let (mut ours, mut base) = (Vec::new(), Vec::new());
    for _ in 0..rounds(21) {
        base.push(cold_start(&empty));
        let agent = project.home.agent_pid().expect("an agent lives");
        let begun = Instant::now();
        send(agent, Signal::KILL);
        let verb = in_project(&project, &["status", "--json"])
            .env_remove("LD_LIBRARY_PATH")
            .output()
            .expect("it runs");
        ours.push(begun.elapsed());
        let status: serde_json::Value = serde_json::from_slice(&verb.stdout).expect("JSON");
        let rows = status["services"].as_array().expect("rows");
        let ready = rows.iter().filter(|row| row["state"] == "ready" && row["pid"].is_u64());
        assert_eq!(ready.count(), SERVICES, "all adopted in the first answer");
    }
    assert_eq!(pids(&project), before);
    let worst = ours.iter().max().copied().unwrap_or_default();
    let (ours, base) = (median(&mut ours), median(&mut base));
    line(
        "agent killed, to an answer with 100 adopted",
        &format!(
            "{:.1} ms (worst {:.1}), cold start {:.2} ms: {:.2} x",
            ms(ours),
            ms(worst),
            ms(base),
            ours.as_secs_f64() / base.as_secs_f64()
        ),
        "at most 5 x",
    );
}

/// One request of a client that knows nothing of agents that come and go.
fn ask(socket: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(b"GET /v1/services HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    if reply.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err(std::io::Error::other("no 200")) }
}

/// Eight clients in a loop while the agent is replaced.
fn replacement() {
    let (project, empty) = (hundred(), Project::new(""));
    let (socket, done) = (project.home.path("agent.sock"), AtomicBool::new(false));
    let mut base: Vec<_> = (0..rounds(11)).map(|_| cold_start(&empty)).collect();
    let (mut slowest, mut errors, mut count, mut took) = (Duration::ZERO, 0, 0, Vec::new());
    let mut usual = Vec::new();
    std::thread::scope(|scope| {
        let client = || {
            let (mut waits, mut errors) = (Vec::new(), 0);
            while !done.load(Ordering::Relaxed) {
                let begun = Instant::now();
                errors += usize::from(ask(&socket).is_err());
                waits.push(begun.elapsed());
            }
            (waits, errors)
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        for _ in 0..rounds(11) {
            let verb = cost(&mut in_project(&project, &["daemon", "restart"]));
            assert!(verb.status.success());
            took.push(verb.wall);
        }
        done.store(true, Ordering::Relaxed);
        for client in clients {
            let (mut waits, failed) = client.join().expect("a client ends");
            errors += failed;
            count += waits.len();
            slowest = slowest.max(waits.iter().max().copied().unwrap_or_default());
            usual.push(median(&mut waits));
        }
    });
    let base = median(&mut base);
    line(
        "replaced with 100 services under 8 clients: errors",
        &format!("{errors} of {count} requests"),
        "0",
    );
    line(
        "  the slowest request",
        &format!(
            "{:.1} ms (median {:.2}), cold start {:.2} ms: {:.2} x",
            ms(slowest),
            ms(median(&mut usual)),
            ms(base),
            slowest.as_secs_f64() / base.as_secs_f64()
        ),
        "at most 10 x",
    );
    line("  `daemon restart` itself", &format!("{:.1} ms", ms(median(&mut took))), "");
}

/// What a hundred shims cost.
fn shims() {
    let project = hundred();
    let processes = project.home.processes();
    let shims = processes.iter().filter(|process| process.command.starts_with("hearth shim "));
    let mut anonymous: Vec<_> = shims.map(|shim| number(shim.id.pid, "RssAnon:")).collect();
    assert_eq!(anonymous.len(), SERVICES);
    let worst = anonymous.iter().max().copied().unwrap_or_default();
    line(
        "RssAnon of a shim, 100 of them",
        &format!("{} KB (worst {worst})", median(&mut anonymous)),
        "at most 300 KB",
    );
}
