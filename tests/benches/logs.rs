//! What logs cost: a loud service beside a pipe into `cat`, and reading the end of a long log.
//!
//! `cargo bench -p hearth-tests --bench logs` builds with the release profile and prints a line a
//! figure; `-- throughput reading` runs only what is named, `HEARTH_BENCH_ROUNDS` sets the number of
//! pairs. It takes 2 GiB of disk below the temporary directory at a time. Nothing fails on a slow
//! machine but a log that is not complete.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use hearth_process::facts::parent_of;
use hearth_tests::measure::{
    build, cost, floor_command, in_project, line, median, ms, number, rounds, wanted,
};
use hearth_tests::{Project, files_below};

/// 1 GiB of lines of 100 bytes.
const BYTES: u64 = 1 << 30;

fn main() {
    let programs = build();
    if wanted("throughput") {
        throughput(&programs.join("lines"));
    }
    if wanted("reading") {
        reading(&programs);
    }
}

/// A oneshot that writes all of it: `up` returns when it has exited and its log is complete.
fn throughput(lines: &Path) {
    let project = Project::new(&format!(
        "[services.out]\nkind = \"oneshot\"\nrun = [\"{}\", \"{BYTES}\"]\n\
         log = {{ max_size = \"2GB\", keep = 2 }}\n",
        lines.display()
    ));
    project.run(&["daemon", "up"]).exits(0);
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds(11) {
        // Who goes first in one pair goes second in the next.
        let (verb, base) = if round % 2 == 0 {
            let verb = under_hearth(&project);
            (verb, into_cat(&project, lines))
        } else {
            let base = into_cat(&project, lines);
            (under_hearth(&project), base)
        };
        if round == 0 {
            continue; // warm-up
        }
        ratios.push((verb.as_secs_f64() / base.as_secs_f64() * 1000.0) as u64);
        ours.push(verb);
        theirs.push(base);
    }
    let (verb, base) = (median(&mut ours), median(&mut theirs));
    line(
        "1 GiB of 100-byte lines to the complete log",
        &format!(
            "{:.0} ms, `writer | cat > file` {:.0} ms: {:.2} x ({:.2} x pairwise)",
            ms(verb),
            ms(base),
            verb.as_secs_f64() / base.as_secs_f64(),
            median(&mut ratios) as f64 / 1000.0
        ),
        "at most 1.1 x",
    );
    memory_and_cpu(&project);
}

/// How long until it is complete. The log is removed again.
fn under_hearth(project: &Project) -> Duration {
    let verb = cost(&mut in_project(project, &["up"]));
    assert!(verb.status.success());
    take_down(project);
    verb.wall
}

fn take_down(project: &Project) {
    let logs = project.home.path("logs");
    let written = files_below(&logs).into_iter().filter(|path| path.extension().unwrap() == "log");
    let size: u64 = written.map(|path| fs::metadata(path).expect("a log").len()).sum();
    assert_eq!(size, BYTES, "the log is complete");
    project.run(&["down"]).exits(0);
    fs::remove_dir_all(logs).expect("removed");
}

fn into_cat(project: &Project, lines: &Path) -> Duration {
    let file = project.dir().join("cat.log");
    let script = format!("{} {BYTES} | cat > {}", lines.display(), file.display());
    let base = cost(Command::new("sh").args(["-c", &script]));
    assert!(base.status.success());
    assert_eq!(fs::metadata(&file).expect("a file").len(), BYTES);
    fs::remove_file(file).expect("removed");
    base.wall
}

/// Once more, looked at 100 times a second meanwhile.
fn memory_and_cpu(project: &Project) {
    let lines = format!("lines {BYTES}");
    let agent = project.home.agent_pid().expect("an agent lives");
    let mut up = project.start(&["up"]);
    let shim = loop {
        let processes = project.home.processes();
        let service = processes.iter().find(|process| process.command.ends_with(&lines));
        if let Some(shim) = service.and_then(|service| parent_of(service.id.pid)) {
            break shim;
        }
        thread::yield_now();
    };
    let before = ticks(agent);
    let (mut highest, mut anonymous, mut spent) = (0, 0, 0);
    loop {
        let now = number(shim, "VmHWM:");
        if now == 0 {
            break;
        }
        highest = highest.max(now);
        anonymous = anonymous.max(number(shim, "RssAnon:"));
        spent = ticks(agent) - before;
        thread::sleep(Duration::from_millis(10));
    }
    while up.line().is_some() {}
    up.finish().exits(0);
    take_down(project);
    line("  the shim's memory, at its highest", &format!("{highest} KB"), "less than 2048 KB");
    line("    of it anonymous", &format!("{anonymous} KB"), "");
    line("  the agent's CPU time meanwhile", &format!("{spent} ticks of 10 ms"), "0");
}

/// User and system time of a process (proc_pid_stat(5), fields 14 and 15).
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum()
}

/// The end of a log of 1 GiB, in turn with the floor.
fn reading(programs: &Path) {
    let lines: PathBuf = programs.join("lines");
    let project = Project::new(&format!(
        "[services.out]\nrun = \"{} {BYTES}; read x < gate; {} 100000; read x < gate\"\n\
         ready = {{ settle = \"0s\" }}\nlog = {{ max_size = \"2GB\", keep = 2 }}\n",
        lines.display(),
        lines.display()
    ));
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    await_size(&project, BYTES);
    // What is written after a pause is what is asked for by time.
    thread::sleep(Duration::from_millis(200));
    gate.open();
    await_size(&project, BYTES + 100_000);
    let since = project.run(&["logs", "-n", "1000", "--json"]).exits(0).json_lines();
    let since = since[0]["at"].as_str().expect("a time").to_owned();
    let found = project.run(&["logs", "--since", &since]).exits(0).stdout;
    assert_eq!(found.lines().count(), 1000, "what is since {since}");
    let floor = programs.join("floor");
    pairs(&project, &floor, "`logs -n 100` of 1 GiB", &["logs", "-n", "100"], "at most 3 x");
    let words = ["logs", "--since", &since];
    pairs(&project, &floor, "`logs --since`, the last 1,000 lines of 1 GiB", &words, "at most 8 x");
    project.run(&["down"]).exits(0);
}

fn await_size(project: &Project, size: u64) {
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let log = || files_below(&project.home.path("logs")).into_iter().find(is_log);
    while log().is_none_or(|log| fs::metadata(log).map_or(0, |found| found.len()) < size) {
        thread::sleep(Duration::from_millis(10));
    }
}

fn pairs(project: &Project, floor: &Path, what: &str, words: &[&str], goal: &str) {
    let (mut ours, mut least, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds(200) + 10 {
        let verb = cost(&mut in_project(project, words));
        let base = cost(&mut floor_command(floor, project));
        assert!(verb.status.success() && base.status.success());
        if round < 10 {
            continue; // warm-up
        }
        ratios.push((verb.wall.as_secs_f64() / base.wall.as_secs_f64() * 1000.0) as u64);
        ours.push(verb.wall);
        least.push(base.wall);
    }
    let (verb, base) = (median(&mut ours), median(&mut least));
    line(
        what,
        &format!(
            "{:.3} ms, floor {:.3} ms: {:.2} x ({:.2} x pairwise)",
            ms(verb),
            ms(base),
            verb.as_secs_f64() / base.as_secs_f64(),
            median(&mut ratios) as f64 / 1000.0
        ),
        goal,
    );
}
