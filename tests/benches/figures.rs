//! What hearth promises about time and memory, measured against a floor in the same run.
//!
//! `cargo bench -p hearth-tests` builds `hearth` and the floor with the release profile and prints a
//! line a figure: the measure, the goal, and the ratio. Nothing here fails on a slow machine: medians
//! and ratios are to be read, not asserted. A peer that is installed (tmux) is measured beside.
//!
//! `cargo bench -p hearth-tests -- warm cold` runs only what is named; `HEARTH_BENCH_ROUNDS` sets the
//! number of pairs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hearth_tests::Project;
use hearth_tests::measure::{
    build, cost, floor_command, in_project, line, median, ms, number, rounds, wanted,
};

const THREE: &str = "[services.a]\nrun = [\"sleep\", \"100000\"]\nready = { settle = \"0s\" }\n\
[services.b]\nrun = [\"sleep\", \"100000\"]\nneeds = [\"a\"]\nready = { settle = \"0s\" }\n\
[services.c]\nrun = [\"sleep\", \"100000\"]\nneeds = [\"b\"]\nready = { settle = \"0s\" }\n";

fn main() {
    let floor = build().join("floor");
    if wanted("warm") {
        warm(&floor);
    }
    if wanted("cold") {
        cold(&floor);
    }
    if wanted("herd") {
        herd();
    }
    if wanted("idle") {
        idle();
    }
}

/// A warm verb, in turn with the floor.
fn warm(floor: &Path) {
    let project = Project::new(THREE);
    project.run(&["up"]).exits(0);
    let (mut ours, mut least, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut our_faults, mut least_faults) = (Vec::new(), Vec::new());
    for round in 0..rounds(500) + 20 {
        let verb = cost(&mut in_project(&project, &["status", "--json"]));
        let base = cost(&mut floor_command(floor, &project));
        assert!(verb.status.success() && base.status.success());
        if round < 20 {
            continue; // warm-up
        }
        ratios.push((verb.wall.as_secs_f64() / base.wall.as_secs_f64() * 1000.0) as u64);
        ours.push(verb.wall);
        least.push(base.wall);
        our_faults.push(verb.faults);
        least_faults.push(base.faults);
    }
    let (verb, base) = (median(&mut ours), median(&mut least));
    line(
        "warm `hearth status --json`, 3 services",
        &format!(
            "{:.3} ms, floor {:.3} ms: {:.2} x ({:.2} x pairwise)",
            ms(verb),
            ms(base),
            verb.as_secs_f64() / base.as_secs_f64(),
            median(&mut ratios) as f64 / 1000.0
        ),
        "at most 1.3 x",
    );
    let (verb, base) = (median(&mut our_faults), median(&mut least_faults));
    line("  page faults", &format!("{verb}, floor {base}: +{}", verb - base), "at most +80");
    match (
        calls(&in_project(&project, &["status", "--json"])),
        calls(&floor_command(floor, &project)),
    ) {
        (Some(verb), Some(base)) => {
            line(
                "  system calls",
                &format!("{verb}, floor {base}: +{}", verb as i64 - base as i64),
                "at most +60",
            );
        }
        _ => line("  system calls", "strace is not installed", "at most +60"),
    }
    peer_warm();
}

/// System calls after exec, counted by strace.
fn calls(command: &Command) -> Option<usize> {
    let trace = tempfile::NamedTempFile::new().ok()?;
    let mut strace = Command::new("strace");
    strace
        .arg("-f")
        .arg("-o")
        .arg(trace.path())
        .arg(command.get_program())
        .args(command.get_args());
    strace
        .env_remove("LD_LIBRARY_PATH")
        .current_dir(command.get_current_dir().unwrap_or(Path::new("/")));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    let status =
        strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    let text = fs::read_to_string(trace.path()).ok()?;
    let calls = text.lines().filter(|line| line.contains('(') && !line.contains("execve(")).count();
    status.success().then_some(calls)
}

fn tmux(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("tmux");
    command
        .arg("-f/dev/null")
        .arg("-S")
        .arg(directory.join("tmux"))
        .args(arguments)
        .env_remove("TMUX");
    command.env("TERM", "xterm");
    command
}

fn peer_warm() {
    let directory = tempfile::tempdir().expect("a directory");
    let start = tmux(directory.path(), &["new-session", "-d", "sleep 100000"]).status();
    if !start.is_ok_and(|status| status.success()) {
        return line("  tmux list-sessions", "tmux is not installed", "a peer");
    }
    let mut walls: Vec<_> = (0..rounds(200))
        .map(|_| cost(&mut tmux(directory.path(), &["list-sessions"])).wall)
        .collect();
    let _ = tmux(directory.path(), &["kill-server"]).status();
    line("  tmux list-sessions", &format!("{:.3} ms", ms(median(&mut walls))), "a peer");
}

/// From no agent to the verb's exit.
fn cold(floor: &Path) {
    let project = Project::new(THREE);
    let (mut ours, mut least, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    let directory = tempfile::tempdir().expect("a directory");
    for round in 0..rounds(60) + 3 {
        let verb = cost(&mut in_project(&project, &["status", "--json"]));
        let base = cost(&mut floor_command(floor, &project));
        assert!(verb.status.success() && base.status.success());
        let peer = cost(&mut tmux(directory.path(), &["new-session", "-d", "sleep 100000"]));
        if peer.status.success() {
            let _ = tmux(directory.path(), &["kill-server"]).status();
        }
        project.home.run(&["daemon", "down"]).exits(0);
        if round < 3 {
            continue; // warm-up
        }
        ours.push(verb.wall);
        least.push(base.wall);
        if peer.status.success() {
            peers.push(peer.wall);
        }
    }
    let (verb, base) = (median(&mut ours), median(&mut least));
    line(
        "cold start: no agent, to the verb's exit",
        &format!(
            "{:.3} ms, floor {:.3} ms: {:.2} x",
            ms(verb),
            ms(base),
            verb.as_secs_f64() / base.as_secs_f64()
        ),
        "at most 6 x",
    );
    if !peers.is_empty() {
        line(
            "  tmux new-session -d, no server",
            &format!("{:.3} ms", ms(median(&mut peers))),
            "a peer",
        );
    }
}

/// 200 verbs at the same instant.
fn herd() {
    const VERBS: usize = 200;
    let project = Project::new(THREE);
    let all_at_once = || {
        let begun = Instant::now();
        let children: Vec<_> = (0..VERBS)
            .map(|_| {
                let mut command = in_project(&project, &["status", "--json"]);
                command.env_remove("LD_LIBRARY_PATH");
                command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs")
            })
            .collect();
        let mut agents = Vec::new();
        let mut succeeded = 0;
        for child in children {
            let output = child.wait_with_output().expect("it ends");
            succeeded += usize::from(output.status.success());
            let status: serde_json::Value =
                serde_json::from_slice(&output.stdout).unwrap_or_default();
            agents.push(status["agent"]["pid"].as_u64());
        }
        agents.sort_unstable();
        agents.dedup();
        (begun.elapsed(), succeeded, agents.len())
    };
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    let (mut least, mut most) = (VERBS, 0);
    for _ in 0..rounds(20) {
        project.home.run(&["daemon", "down"]).exits(0);
        let (wall, succeeded, agents) = all_at_once();
        cold.push(wall);
        least = least.min(succeeded);
        most = most.max(agents);
        warm.push(all_at_once().0);
    }
    let (cold, warm) = (median(&mut cold), median(&mut warm));
    line(
        "200 verbs at once, no agent",
        &format!("{least} succeed, {most} agent(s)"),
        "200 / 1 in each round",
    );
    line(
        "  wall",
        &format!(
            "{:.1} ms, warm {:.1} ms: {:.2} x",
            ms(cold),
            ms(warm),
            cold.as_secs_f64() / warm.as_secs_f64()
        ),
        "at most 3 x",
    );
}

/// 50 ready services, nothing to do for 30 seconds.
fn idle() {
    let toml: String = (0..50)
        .map(|n| {
            format!(
                "[services.s{n}]\nrun = [\"sleep\", \"100000\"]\nready = {{ settle = \"0s\" }}\n"
            )
        })
        .collect();
    let project = Project::new(&toml);
    project.run(&["up"]).exits(0);
    let processes = project.home.processes();
    let is = |command: &str, face: &str| command.starts_with("hearth") && command.contains(face);
    let agent = project.home.agent_pid().expect("an agent lives");
    let shims: Vec<_> = processes
        .iter()
        .filter(|process| is(&process.command, " shim "))
        .map(|process| process.id.pid)
        .collect();
    assert_eq!(shims.len(), 50);
    // What follows the last verb (its connection's end) is over when the agent sleeps.
    std::thread::sleep(Duration::from_secs(2));
    let switches = |pid: u32| {
        number(pid, "voluntary_ctxt_switches:") + number(pid, "nonvoluntary_ctxt_switches:")
    };
    let all = || switches(agent) + shims.iter().map(|pid| switches(*pid)).sum::<u64>();
    let before = all();
    std::thread::sleep(Duration::from_secs(30));
    line("idle 30 s, 50 ready services", &format!("{} wakeups", all() - before), "0");
    line(
        "  agent RSS",
        &format!("{:.1} MB", number(agent, "VmRSS:") as f64 / 1024.0),
        "at most 10 MB",
    );
    let mut anonymous: Vec<_> = shims.iter().map(|pid| number(*pid, "RssAnon:")).collect();
    line(
        "  RssAnon of a shim, median",
        &format!("{} KB", median(&mut anonymous)),
        "at most 300 KB",
    );
}
